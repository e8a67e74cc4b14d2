"""``astroctl pools simulate``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from astroctl.cli.command import command as make
from astroctl.cli.options import output_option

EXAMPLE = """
astroctl pools simulate trace.csv --generate 1000
astroctl pools simulate trace.csv --pools pools.yaml
"""


@make("simulate", EXAMPLE)
@click.argument("trace", type=click.Path(dir_okay=False))
@click.option(
    "--pools", "pools_file", type=click.Path(dir_okay=False), help="GPUNodePools as YAML documents."
)
@click.option(
    "--generate",
    type=click.IntRange(1),
    metavar="JOBS",
    help="Make up a trace of so many jobs and write it first.",
)
@click.option(
    "--days",
    type=click.FloatRange(0, min_open=True),
    default=7.0,
    help="Time that a made-up trace spans.",
)
@click.option("--seed", type=int, default=0, help="Of a made-up trace and of preemptions.")
@click.option(
    "--way",
    "ways",
    type=click.Choice(["gangs", "pods", "fixed"]),
    multiple=True,
    help="Simulate only this; may be repeated  [default: all]",
)
@click.option(
    "--preemptions-per-hour",
    type=click.FloatRange(0),
    default=0.0,
    help="How often a spot node is taken away.",
)
@click.option(
    "--checkpoint-seconds",
    type=click.FloatRange(0),
    default=600.0,
    help="An interrupted job loses what it did since its last checkpoint.",
)
@click.option(
    "--estimates",
    type=click.FloatRange(0),
    default=2.0,
    help="Jobs have a deadline so many times their duration; 0: no job has one.",
)
@click.option(
    "--patience-seconds",
    type=click.FloatRange(0, min_open=True),
    default=3600.0,
    help="Way `pods`: after so long a job with only some of its pods is taken down.",
)
@click.option(
    "--period-seconds",
    type=click.FloatRange(0, min_open=True),
    default=10.0,
    help="Time between two looks at the cluster.",
)
@output_option
def command(
    trace: str,
    pools_file: str | None,
    generate: int | None,
    days: float,
    seed: int,
    ways: tuple[Any, ...],
    output: str,
    **options: Any,
) -> None:
    """Replay a trace of jobs through the pool policy, on simulated nodes.

    TRACE is a CSV file with the columns id, arrival (seconds), gpus, duration (seconds), and
    optionally pods, priority, spot, preemptions, pool, accelerator. Compares the policy, which
    scales for whole jobs, with an autoscaler that sees one pending pod at a time and with pools
    of fixed size: GPU-hours and money paid, utilisation, how long jobs wait.
    """
    from astroctl.cli.output import emit, say
    from astroctl.pools import report
    from astroctl.pools.documents import read_pools
    from astroctl.pools.facts import pool_state
    from astroctl.pools.simulate import Assumptions, simulate
    from astroctl.pools.trace import generate as make_up
    from astroctl.pools.trace import read, write
    from astrosage.errors import ConflictError, SpecError

    if pools_file is None and generate is None:
        raise SpecError("--pools is missing", "name a YAML file of GPUNodePools")
    pools = [pool_state(pool) for pool in read_pools(pools_file)] if pools_file else []
    if generate is not None:
        if Path(trace).exists():
            raise ConflictError(f"{trace} is there already", "name another file, or delete it")
        write(trace, make_up(generate, seed=seed, days=days))
        say(f"wrote {generate} jobs to {trace}")
    if not pools:
        return
    assumptions = Assumptions(
        period=options["period_seconds"],
        preemptions_per_hour=options["preemptions_per_hour"],
        checkpoint_seconds=options["checkpoint_seconds"],
        estimates=options["estimates"] or None,
        patience=options["patience_seconds"],
        seed=seed,
    )
    results = simulate(read(trace), pools, ways or ("gangs", "pods", "fixed"), assumptions)
    data = report.report(results, assumptions)
    emit(output, data, lambda: report.text(data))
