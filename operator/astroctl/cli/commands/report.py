"""``astroctl report``."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from astroctl.cli.command import command as make
from astroctl.cli.options import run_argument, run_options, where_from, where_options

if TYPE_CHECKING:
    from astrosage.runs.directory import RunDirectory


@make(
    "report",
    "astroctl report astro-mini --open\nastroctl report astro-mini --figures paper/figures",
)
@run_argument(required=False)
@run_options
@where_options
@click.option(
    "--output",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write it here  [default: into the run directory]",
)
@click.option("--open", "show", is_flag=True, help="Open it in a browser.")
@click.option(
    "--figures",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Write each figure there as files of its own, instead of the page.",
)
@click.option(
    "--format",
    "formats",
    multiple=True,
    type=click.Choice(["svg", "png", "json"]),
    help="Of the figures; may be repeated  [default: all three]",
)
def command(
    name: str | None,
    namespace: str | None,
    storage: str | None,
    file: Path | None,
    show: bool,
    figures: Path | None,
    formats: tuple[str, ...],
    **where: Any,
) -> None:
    """Write a run's report, one HTML file, from its run directory; prints its path.

    With --figures, its figures for papers and slides: SVG, PNG, and JSON with their numbers.
    """
    from astroctl.runs.choose import runs_of
    from astroctl.runs.find import find
    from astrosage.errors import StorageError
    from astrosage.report.build import build_report

    record = find(name, namespace, storage, where_from(where))
    directory = runs_of(record).directory(record)
    if figures is not None:
        _figures(directory, figures, formats)
        return
    if formats:
        raise click.UsageError("--format is for --figures FOLDER")
    page = build_report(directory)
    if file is None:
        path = _into(directory, page)
    else:
        try:
            file.write_text(page, encoding="utf-8")
        except OSError as error:
            raise StorageError(
                f"{file} cannot be written: {error.strerror}", "name another file"
            ) from None
        path = str(file.absolute())
    click.echo(path)
    if show:
        webbrowser.open(path if "://" in path else f"file://{path}")


def _figures(directory: RunDirectory, folder: Path, formats: tuple[str, ...]) -> None:
    from astrosage.report import figures

    made = figures.write(directory, folder, formats or figures.FORMATS)
    click.echo("\n".join(map(str, made)))
    if not made:
        click.echo("the report has no figures yet: no stage has been trained or scored", err=True)


def _into(directory: RunDirectory, page: str) -> str:
    """Store the page with the last bench; a run without one keeps it at its top."""
    scored = [
        s
        for s in directory.job().spec.stages
        if s.kind == "bench" and directory.finished(s) is not None
    ]
    storage = directory.stage(scored[-1].name).storage if scored else directory.storage
    name = "bench/report.html" if scored else "report.html"
    storage.write_bytes(name, page.encode())
    return storage.path(name)
