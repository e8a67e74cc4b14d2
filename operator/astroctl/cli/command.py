"""How every command is made: an example in its help, a variable for every option."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from astroctl.cli.group import debug_option, write_example


def _show_variables(command: click.Command) -> None:
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            parameter.show_envvar = True


class Command(click.Command):
    """A command whose help ends with an example.

    Args:
        example: One or more command lines.
        arguments: As click's.
    """

    def __init__(self, *arguments: Any, example: str, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.example = example
        self.params.append(debug_option())
        _show_variables(self)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the arguments; an error knows of which command, so that its hint names that."""
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            error.ctx = error.ctx or ctx
            raise

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the example."""
        write_example(self.example, formatter)


class Group(click.Group):
    """A group of such commands."""

    command_class = Command

    def __init__(self, *arguments: Any, example: str, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.example = example
        _show_variables(self)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the example."""
        write_example(self.example, formatter)


Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def command(name: str, example: str) -> Callable[[Callable[..., Any]], Command]:
    """Make a command of a function."""
    return click.command(name, cls=Command, example=example)


def all_of(*decorators: Decorator) -> Decorator:
    """Several decorators as one, in reading order."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate
