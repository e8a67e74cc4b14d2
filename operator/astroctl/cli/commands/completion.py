"""``astroctl completion``."""

from __future__ import annotations

import click

from astroctl.cli.command import command as make


@make("completion", 'eval "$(astroctl completion bash)"')
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print the shell completion script: commands, options, names of runs and stages."""
    from click.shell_completion import get_completion_class

    completer = get_completion_class(shell)
    assert completer is not None
    root = context.find_root().command
    click.echo(completer(root, {}, "astroctl", "_ASTROCTL_COMPLETE").source())
