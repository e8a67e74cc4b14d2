"""``astroctl pilot``: the same recipe on parts of its corpus, before the bill for the whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from astroctl.cli.command import Command, Group
from astroctl.cli.options import (
    complete_stages,
    namespace_option,
    output_option,
    run_argument,
    run_options,
    set_option,
    target_from,
    target_options,
    where_from,
    where_options,
)


@click.group(
    "pilot",
    cls=Group,
    invoke_without_command=True,
    example="astroctl pilot -f job.yaml --fractions 0.03,0.1,0.3,1 --follow\n"
    "astroctl pilot show astro-mini-pilot",
)
@click.option(
    "-f", "--file", type=click.Path(dir_okay=False), help="The recipe's run file.  [required]"
)
@click.option(
    "--fractions",
    default="0.03,0.1,0.3,1",
    metavar="A,B,…",
    help="Parts of the corpus; each is part of the next.",
)
@click.option(
    "--corpus",
    multiple=True,
    metavar="STAGE",
    shell_complete=complete_stages,
    help="Prepare stage that is taken in parts; may be repeated  [default: what continued "
    "pre-training learns from, else all that a training does]",
)
@click.option(
    "--name", metavar="NAME", help="The pilot's name  [default: the recipe's with -pilot]"
)
@set_option
@target_options
@namespace_option
@click.option("--follow", is_flag=True, help="Show progress until the run is over.")
@click.option("--dry-run", is_flag=True, help="Print the job and what would run; start nothing.")
@output_option
@click.pass_context
def command(context: click.Context, /, **options: Any) -> None:
    """Run one recipe on nested parts of its corpus, to see what more data would buy.

    Makes one run of the run file, in which the stages that see the corpus, and all that follow
    from them, are there once a part. Stages that all parts share run once; the same questions and
    held-out texts judge all of them.
    """
    if context.invoked_subcommand is not None:
        if options["file"]:
            raise click.UsageError("`show` takes a run's name, not --file", context)
        return
    if not options["file"]:
        raise click.UsageError("Missing option '-f' / '--file'.", context)
    from astroctl.cli.submitting import show_plan, start
    from astroctl.runs.choose import runs_on
    from astrosage.pilot.expand import expand, fractions_of
    from astrosage.spec import graph
    from astrosage.spec.load import load

    fractions = fractions_of(options.pop("fractions"))
    runs = runs_on(target_from(options))
    job = load(options["file"], options["overrides"])
    job = expand(job, fractions, options.pop("corpus"), options.pop("name"))
    job = runs.place(job, options["namespace"], Path(options["file"]).resolve().parent)
    stages = graph.order(job)
    if options["dry_run"]:
        show_plan(job, stages, runs, options["output"])
    else:
        start(job, stages, runs, options)


@command.command("show", cls=Command, example="astroctl pilot show astro-mini-pilot -o json")
@run_argument(required=False)
@run_options
@where_options
@output_option
def show(
    name: str | None, namespace: str | None, storage: str | None, output: str, **where: Any
) -> None:
    """Show what a pilot has found, finished or not: points, curves and the prediction."""
    from astroctl.cli.output import emit
    from astroctl.cli.pilot_view import text
    from astroctl.runs.choose import runs_of
    from astroctl.runs.find import find
    from astrosage.errors import DataError, SpecError
    from astrosage.pilot import results
    from astrosage.pilot.expand import Pilot
    from astrosage.report.facts import gather

    record = find(name, namespace, storage, where_from(where))
    facts = gather(runs_of(record).directory(record), {})
    if Pilot.of(facts.job) is None:
        raise SpecError(
            f"run {record.called} is no pilot", "make one with `astroctl pilot -f job.yaml`"
        )
    found = results.find(facts)
    if found is None:
        raise DataError(
            f"pilot {record.called}: no part of the corpus is prepared yet",
            f"look again later; `astroctl status {record.called}` says how far it is",
        )
    emit(output, found.to_dict(), lambda: text(found))
