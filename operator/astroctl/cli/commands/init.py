"""``astroctl init``."""

from __future__ import annotations

import re
from pathlib import Path

import click

from astroctl.cli.command import command as make


@make("init", "astroctl init job.yaml --name my-field")
@click.argument("file", default="job.yaml", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--name", help="The run's name  [default: the file's name]")
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
def command(file: Path, name: str | None, force: bool) -> None:
    """Write a commented run file to start from."""
    from astroctl.cli.output import say
    from astroctl.cli.run_file import TEMPLATE
    from astrosage.errors import ConflictError, StorageError
    from astrosage.plan.machine import Machine
    from astrosage.spec.load import load

    if file.exists() and not force:
        raise ConflictError(f"{file} exists already", "name another file, or replace it: --force")
    workers = 2 if Machine.here().cpus >= 2 else 1
    text = TEMPLATE.format(name=name or _name_from(file), workers=workers)
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StorageError(
            f"{file} cannot be written: {error.strerror}", "name a file in a folder that exists"
        ) from None
    try:
        load(file)
    except Exception:
        file.unlink()
        raise
    say(f"wrote {file}; put your data in place, then: astroctl validate -f {file}")


def _name_from(file: Path) -> str:
    """A valid run name out of a file's name."""
    name = re.sub(r"[^a-z0-9]+", "-", file.stem.lower()).strip("-")[:40].strip("-")
    return name if name and name[0].isalpha() else "my-run"
