"""``astroctl submit``: a whole run file, or what training, preparing or scoring needs of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from astroctl.cli.command import Command, Decorator, Group, all_of
from astroctl.cli.options import (
    complete_stages,
    namespace_option,
    output_option,
    set_option,
    target_from,
    target_options,
)

_submit_options: Decorator = all_of(
    # Not required by click, so that the group can be called for its subcommands without it.
    click.option("-f", "--file", type=click.Path(dir_okay=False), help="The run file.  [required]"),
    set_option,
    target_options,
    namespace_option,
    click.option("--follow", is_flag=True, help="Show progress until the run is over."),
    click.option(
        "--dry-run", is_flag=True, help="Print the job and what would run; start nothing."
    ),
    click.option(
        "--fork",
        metavar="NEW",
        help="Make a new run NEW of the changed file; it takes over what is finished and unchanged "
        "in the run that the file names.",
    ),
    output_option,
)


@click.group(
    "submit",
    cls=Group,
    invoke_without_command=True,
    example="astroctl submit -f job.yaml\nastroctl submit train -f job.yaml --follow",
)
@_submit_options
@click.pass_context
def command(context: click.Context, /, **options: Any) -> None:
    """Start a run: every stage of the file, or those of a subcommand."""
    if context.invoked_subcommand is None:
        _run(context, None, None, None, options)
    elif options["file"]:
        raise click.UsageError("put the options after the subcommand", context)


@command.command(
    "train",
    cls=Command,
    example="astroctl submit train -f job.yaml --until cpt --follow",
)
@_submit_options
@click.option("--until", metavar="STAGE", shell_complete=complete_stages, help="End here.")
@click.option(
    "--only",
    metavar="STAGE",
    shell_complete=complete_stages,
    help="Run this one; its inputs must be finished in the run of that name.",
)
@click.pass_context
def train(context: click.Context, /, until: str | None, only: str | None, **options: Any) -> None:
    """Train the file's models, with all that this needs and all that scores them."""
    if until and only:
        raise click.UsageError("give --until or --only, not both", context)
    if only and options["fork"]:
        raise click.UsageError("give --only or --fork, not both", context)
    _run(context, "train", until, only, options)


@command.command("prepare", cls=Command, example="astroctl submit prepare -f job.yaml --follow")
@_submit_options
@click.pass_context
def prepare(context: click.Context, /, **options: Any) -> None:
    """Make the token shards of the file's prepare stages."""
    _run(context, "prepare", None, None, options)


@command.command("generate", cls=Command, example="astroctl submit generate -f job.yaml --follow")
@_submit_options
@click.pass_context
def generate(context: click.Context, /, **options: Any) -> None:
    """Write what the file's generate stages write."""
    _run(context, "generate", None, None, options)


@command.command("merge", cls=Command, example="astroctl submit merge -f job.yaml --follow")
@_submit_options
@click.pass_context
def merge(context: click.Context, /, **options: Any) -> None:
    """Merge what the file's merge stages merge, with all that this needs."""
    _run(context, "merge", None, None, options)


@command.command("bench", cls=Command, example="astroctl submit bench -f job.yaml --follow")
@_submit_options
@click.pass_context
def bench(context: click.Context, /, **options: Any) -> None:
    """Score what the file's bench stages score, with all that this needs."""
    _run(context, "bench", None, None, options)


def _run(
    context: click.Context,
    kind: str | None,
    until: str | None,
    only: str | None,
    options: dict[str, Any],
) -> None:
    if not options["file"]:
        raise click.UsageError("Missing option '-f' / '--file'.", context)
    from astroctl.cli.submitting import forked, show_plan, start
    from astroctl.runs.choose import runs_on
    from astrosage.spec import graph
    from astrosage.spec.load import load

    runs = runs_on(target_from(options))
    job = load(options["file"], options["overrides"])
    job = runs.place(job, options["namespace"], Path(options["file"]).resolve().parent)
    if options["fork"]:
        job = forked(job, options["fork"])
    stages = graph.select(job, kind, until, only) if kind else graph.order(job)
    if options["dry_run"]:
        show_plan(job, stages, runs, options["output"])
    else:
        start(job, stages, runs, options, only=bool(only))
