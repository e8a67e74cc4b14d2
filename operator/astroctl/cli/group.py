"""The root command: subcommands imported when used, errors as one line and an exit code."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from astrosage.errors import AstroError, Interrupted

# name -> (module below astroctl.cli.commands, summary); each module has a command `command`.
COMMANDS: dict[str, tuple[str, str]] = {
    "init": ("init", "Write a run file to start from."),
    "validate": ("validate", "Check a run file and all that it names."),
    "plan": ("plan", "Plan a run's training: memory, time, money."),
    "submit": ("submit", "Start a run: train, prepare, generate, bench."),
    "pilot": ("pilot", "Run a recipe on parts of its corpus first."),
    "list": ("list", "Show runs."),
    "status": ("status", "Show what a run is doing."),
    "logs": ("logs", "Show a run's logs."),
    "stop": ("stop", "Stop a run; it can be resumed."),
    "resume": ("resume", "Go on with a run that stopped or failed."),
    "delete": ("delete", "Remove a run and its directory."),
    "serve": ("serve", "Serve a model behind an OpenAI-compatible endpoint."),
    "ask": ("ask", "Ask a served model."),
    "keys": ("keys", "Make, list and revoke a served model's API keys."),
    "promote": ("promote", "Switch an endpoint to a model that is not worse."),
    "bench": ("bench", "Score a model or an endpoint on questions."),
    "report": ("report", "Write a run's report."),
    "render": ("render", "Print the Kubernetes manifests of a run file."),
    "diff": ("diff", "Compare a run file with the cluster's job."),
    "data": ("data", "Bring texts to train on."),
    "doctor": ("doctor", "Check this machine, or a Kubernetes cluster."),
    "pools": ("pools", "Show, plan and scale pools of GPU nodes."),
    "install": ("install", "Install the operator on a Kubernetes cluster."),
    "down": ("down", "End the local cluster."),
    "config": ("config", "Print the run file's schema."),
    "completion": ("completion", "Print the shell completion script."),
}

EXAMPLE = """
astroctl init job.yaml
astroctl submit train -f job.yaml --follow
"""


class Settings:
    """What applies to the whole process: whether tracebacks are wanted."""

    debug = False


def set_debug(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    """Callback of ``--debug``, which every command takes."""
    Settings.debug = Settings.debug or value


def debug_option() -> click.Option:
    """The ``--debug`` option."""
    return click.Option(
        ["--debug"],
        is_flag=True,
        expose_value=False,
        callback=set_debug,
        show_envvar=True,
        help="Show tracebacks.",
    )


def write_example(example: str, formatter: click.HelpFormatter) -> None:
    """The last section of every help text."""
    with formatter.section("Example"):
        for line in example.strip().splitlines():
            formatter.write(f"{'':{formatter.current_indent}}{line.strip()}\n")


class RootGroup(click.Group):
    """``astroctl``: its commands are modules that are imported when called."""

    def __init__(self) -> None:
        super().__init__(
            name="astroctl",
            help="From a base model and a corpus to a specialised, served and scored model.",
            params=[
                debug_option(),
                click.Option(
                    ["--version"],
                    is_flag=True,
                    is_eager=True,
                    expose_value=False,
                    callback=_print_version,
                    help="Print the version and exit.",
                ),
            ],
            context_settings={
                "auto_envvar_prefix": "ASTROCTL",
                "help_option_names": ["-h", "--help"],
                "max_content_width": 100,
                "show_default": True,
            },
        )

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names, in the order of a run's life."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"astroctl.cli.commands.{COMMANDS[cmd_name][0]}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the example."""
        write_example(EXAMPLE, formatter)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command; a mistyped name is answered with the nearest one."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f" Did you mean `{near[0]}`?" if near else ""
            raise click.UsageError(f"there is no command `{args[0]}`.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def main(  # type: ignore[override]
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> NoReturn:
        """Run, turning every failure into its exit code."""
        Settings.debug = False
        extra["standalone_mode"] = False
        try:
            code = super().main(args=args, prog_name=prog_name or "astroctl", **extra)
        except Exception as error:
            code = report(error)
        sys.exit(code if isinstance(code, int) else 0)


def _print_version(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        from astrosage import __version__

        click.echo(f"astroctl {__version__}")
        context.exit()


def report(error: Exception) -> int:
    """Say what went wrong on standard error; returns the exit code."""
    if Settings.debug and not isinstance(error, click.ClickException | click.Abort):
        traceback.print_exception(error)
    if isinstance(error, click.Abort):
        message, hint, code = "interrupted", "", Interrupted.exit_code
    elif isinstance(error, click.UsageError):
        path = error.ctx.command_path if error.ctx else "astroctl"
        message, hint, code = error.format_message(), f"{path} --help", error.exit_code
    elif isinstance(error, click.ClickException):
        message, hint, code = error.format_message(), "", error.exit_code
    elif isinstance(error, AstroError):
        message, hint, code = error.message, error.hint, error.exit_code
    elif isinstance(error, BrokenPipeError):
        # The reader (`| head`) has seen enough; nothing more may be written, not even on exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    else:
        message = f"{type(error).__name__}: {error}"
        hint = "this is a fault of astroctl; run the command with --debug for the traceback"
        code = 1
    click.echo(f"error: {message}", err=True)
    if hint:
        click.echo(f"hint: {hint}", err=True)
    return code
