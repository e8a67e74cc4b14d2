"""``astroctl data``."""

from __future__ import annotations

from pathlib import Path

import click

from astroctl.cli.command import Command, Group
from astroctl.cli.options import output_option


@click.group("data", cls=Group, example="astroctl data fetch --to data/astronomy")
def command() -> None:
    """Bring texts to train on."""


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
