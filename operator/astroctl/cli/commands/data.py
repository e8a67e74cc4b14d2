"""``astroctl data``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from astroctl.cli.command import Command, Group
from astroctl.cli.options import (
    output_option,
    run_argument,
    run_options,
    where_from,
    where_options,
)


@click.group("data", cls=Group, example="astroctl data fetch --to data/astronomy")
def command() -> None:
    """Bring texts to train on, and see what became of them."""


@command.command(
    "fetch",
    cls=Command,
    example="astroctl data fetch --to data/astronomy\n"
    "astroctl data fetch --mirror /mnt/copies --only star-formation-notes",
)
@click.option(
    "--to",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("data/astronomy"),
    help="The folder to write.",
)
@click.option(
    "--mirror",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    help="Take copies from this folder, not from the internet.",
)
@click.option("--only", multiple=True, metavar="NAME", help="One of the texts; may be repeated.")
@output_option
def fetch(folder: Path, mirror: Path | None, only: tuple[str, ...], output: str) -> None:
    """Bring the openly licensed astronomy set, verified by hash.

    OpenStax Astronomy 2e (CC BY 4.0), Notes on Star Formation (CC0) and the LSST observing strategy
    white paper (MIT), each at a fixed commit, with an ATTRIBUTION.md; all of it or nothing is
    written. Prints the sources for a run file.
    """
    import yaml

    from astroctl.cli.output import emit, say
    from astroctl.datasets.catalogue import ASTRONOMY
    from astroctl.datasets.fetch import fetch as bring
    from astrosage.errors import SpecError
    from astrosage.spec.base import did_you_mean

    names = {text.name: text for text in ASTRONOMY}
    for name in only:
        if name not in names:
            raise SpecError(f"--only: there is no text `{name}`", did_you_mean(name, names))
    chosen = [text for text in ASTRONOMY if not only or text.name in only]
    made = bring(chosen, folder, mirror, say)
    sources = yaml.safe_dump({"sources": made["sources"]}, sort_keys=False)
    emit(output, made, lambda: f"# {folder}: {len(made['files'])} files\n{sources}".rstrip())


@command.command(
    "inspect",
    cls=Command,
    example="astroctl data inspect astro-mini\n"
    "astroctl data inspect astro-mini --stage chat --record 0\n"
    "astroctl data inspect astro-mini --pack 3 --split validation",
)
@run_argument()
@run_options
@where_options
@click.option("--stage", metavar="NAME", help="A prepare stage  [default: the only one]")
@click.option(
    "--split", type=click.Choice(["train", "validation"]), default="train", help="Of its records."
)
@click.option("--record", metavar="ID|N", help="A record, by its id or its number.")
@click.option("--pack", type=int, metavar="N", help="A training sequence, by its number from 0.")
@output_option
def inspect(
    name: str,
    namespace: str | None,
    storage: str | None,
    stage: str | None,
    split: str,
    record: str | None,
    pack: int | None,
    output: str,
    **where: Any,
) -> None:
    """Show records and packs of a prepared stage as the model will see them.

    What is learnt is green, or stands between brackets where there are no colours. Without --record
    and --pack: the splits and their first records.
    """
    from astroctl.cli.output import emit
    from astroctl.datasets.inspect import inspect as ask
    from astroctl.datasets.inspect import shown, stage_of
    from astroctl.runs.choose import runs_of
    from astroctl.runs.find import find

    if record is not None and pack is not None:
        raise click.UsageError("give --record or --pack, not both")
    known = find(name, namespace, storage, where_from(where))
    directory = runs_of(known).directory(known)
    chosen = stage_of(directory.job(), stage)
    answer = ask(directory.uri, chosen, split, record, pack)
    emit(output, answer, lambda: shown(answer, colour=sys.stdout.isatty()))
