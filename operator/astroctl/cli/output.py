"""Print data as a table, JSON or YAML. Messages go to standard error, data to standard output."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import click

from astrosage.units import format_bytes, format_seconds


def emit(output: str, data: Any, text: Callable[[], str]) -> None:
    """Print data in the wanted form.

    Args:
        output: ``table``, ``json`` or ``yaml``.
        data: Plain data.
        text: Makes the text for people; called only if wanted.
    """
    if output == "json":
        click.echo(json.dumps(data, indent=2, ensure_ascii=False))
    elif output == "yaml":
        import yaml

        click.echo(yaml.safe_dump(data, sort_keys=False, allow_unicode=True), nl=False)
    else:
        click.echo(text())


def say(message: str) -> None:
    """A message for people."""
    click.echo(message, err=True)


def warn(messages: Sequence[str]) -> None:
    """Warnings for people."""
    for message in messages:
        say(f"warning: {message}")


def table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns, left-aligned; absent values are shown as ``-``."""
    cells = [list(headers), *[["-" if c in (None, "") else str(c) for c in row] for row in rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(headers))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in cells]
    return "\n".join(line.rstrip() for line in lines)


def duration(seconds: float | None) -> str:
    """Seconds as ``45s``, ``3m12s``, ``2h05m``."""
    return "-" if seconds is None else format_seconds(seconds)


def size(count: float | None) -> str:
    """Bytes as ``1.5 GiB``."""
    return "-" if count is None else format_bytes(count)


def ago(seconds: float) -> str:
    """How long ago, in words."""
    return f"{duration(seconds)} ago"
