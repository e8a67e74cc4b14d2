"""``astroctl status``."""

from __future__ import annotations

import time
from typing import Any

import click

from astroctl.cli.command import command as make
from astroctl.cli.options import (
    output_option,
    run_argument,
    run_options,
    where_from,
    where_options,
)
from astroctl.cli.output import ago, duration, emit, size, table


@make("status", "astroctl status astro-mini --watch")
@run_argument(required=False)
@run_options
@where_options
@click.option("-w", "--watch", is_flag=True, help="Go on until the run is over.")
@output_option
def command(
    name: str | None,
    namespace: str | None,
    storage: str | None,
    watch: bool,
    output: str,
    **where: Any,
) -> None:
    """Show what a run is doing; without a name, the run submitted last.

    Reads the run directory and asks the cluster, and works when the cluster is gone. On Kubernetes
    it also says why a run is pending.
    """
    from astroctl.runs.find import find
    from astroctl.runs.state import view

    record = find(name, namespace, storage, where_from(where))
    if watch:
        from astroctl.cli.follow import follow

        state = follow(record)
    else:
        state = view(record)
    emit(output, state.to_dict(), lambda: describe(state))


def describe(state: Any) -> str:
    """A run's state for people."""
    progress = state.progress
    lines = [f"{state.record.key}: {state.phase}" + (f" ({state.note})" if state.note else "")]
    if state.error:
        lines.append(f"error: {state.error['message']}")
        if state.error.get("hint"):
            lines.append(f"hint: {state.error['hint']}")
    if progress.get("total"):
        from astroctl.cli.follow import progress_line

        lines.append(progress_line(state))
    if stages := progress.get("stages"):
        rows = [
            [s["name"], s.get("kind"), s["phase"], duration(s.get("seconds")), _peak(s)]
            for s in stages
        ]
        lines += ["", table(["STAGE", "KIND", "PHASE", "TIME", "PEAK MEMORY"], rows), ""]
    lines += _kubernetes(state)
    facts = [
        ("attempt", progress.get("attempt")),
        ("tokens", f"{progress['tokens']:,}" if progress.get("tokens") else None),
        ("checkpoint", progress.get("checkpoint")),
        ("cost", f"{progress['costUSD']:.2f} USD" if "costUSD" in progress else None),
        ("heartbeat", _heartbeat(progress)),
        ("job", f"{state.job.status} {state.record.submission_id}".strip()),
        ("directory", state.record.uri),
    ]
    lines += [f"{k:<11}{v}" for k, v in facts if v is not None]
    if state.hint:
        lines.append(f"next: {state.hint}")
    return "\n".join(lines)


def _kubernetes(state: Any) -> list[str]:
    """Conditions, RayJobs and events, where there are any."""
    lines: list[str] = []
    for headers, rows in (
        (
            ["CONDITION", "STATUS", "REASON", "MESSAGE"],
            [[c["type"], c["status"], c["reason"], c.get("message")] for c in state.conditions],
        ),
        (
            ["RAYJOB", "ATTEMPT", "STATE", "STAGES", "CLUSTER"],
            [
                [r["name"], r["attempt"], r["state"], ", ".join(r["stages"]), r.get("cluster")]
                for r in state.ray_jobs
            ],
        ),
        (
            ["EVENT", "AGE", "OBJECT", "MESSAGE"],
            [[e["reason"], e["age"], e["object"], e["message"]] for e in state.events],
        ),
    ):
        if rows:
            lines += [table(headers, rows), ""]
    return lines


def _peak(stage: dict[str, Any]) -> str | None:
    peak = stage.get("peakMemoryBytes")
    return size(peak) if peak else None


def _heartbeat(progress: dict[str, Any]) -> str | None:
    beat = progress.get("heartbeat")
    return ago(max(0.0, time.time() - beat)) if beat else None
