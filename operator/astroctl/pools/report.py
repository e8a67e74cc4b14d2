"""What simulations came to: plain data, and a table that compares the ways of scaling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from astroctl.cli.output import table
from astroctl.pools.simulate import Assumptions, Result
from astrosage.units import format_seconds

TITLES = {
    "gangs": "whole gangs (this policy)",
    "pods": "pod at a time (an autoscaler)",
    "fixed": "fixed at maximum",
}


def percentile(ascending: Sequence[float], share: float) -> float | None:
    """The value that so large a share does not exceed; None of nothing (nearest rank)."""
    if not ascending:
        return None
    return ascending[max(0, math.ceil(share * len(ascending) - 1e-9) - 1)]


def figures(result: Result) -> dict[str, Any]:
    """One result as plain data: hours, seconds, USD."""
    return {
        "way": result.way,
        "jobs": result.jobs,
        "finished": result.finished,
        "neverFit": len(result.rejected),
        "unfinished": result.jobs - result.finished - len(result.rejected),
        "gpuHoursPaid": round(result.paid / 3600, 2),
        "gpuHoursUsed": round(result.used / 3600, 2),
        "gpuHoursLost": round((result.used - result.useful) / 3600, 2),
        "gpuHoursStranded": round(result.stranded / 3600, 2),
        "utilisation": round(result.useful / result.paid, 4) if result.paid else None,
        "costUSD": None if result.money is None else round(result.money, 2),
        "waitSeconds": {
            name: percentile(result.waits, share)
            for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0))
        },
        "scaleUps": result.ups,
        "scaleDowns": result.downs,
        "nodesAdded": result.nodes_added,
        "peakNodes": result.peak_nodes,
        "preemptions": result.preemptions,
        "deadlocksBroken": result.gave_up,
        "lastJobEndsSeconds": result.ended,
    }


def report(results: Sequence[Result], assumptions: Assumptions) -> dict[str, Any]:
    """All results as plain data, with what was assumed."""
    rejected = results[0].rejected if results else {}
    return {
        "assumptions": {
            "periodSeconds": assumptions.period,
            "preemptionsPerHour": assumptions.preemptions_per_hour,
            "checkpointSeconds": assumptions.checkpoint_seconds,
            "estimates": assumptions.estimates,
            "patienceSeconds": assumptions.patience,
            "seed": assumptions.seed,
        },
        "results": [figures(r) for r in results],
        "neverFit": [{"id": name, "why": why} for name, why in rejected.items()],
    }


def text(data: dict[str, Any]) -> str:
    """The same for people."""
    results = data["results"]
    rows: list[list[object]] = [
        [title, *(show(r) for r in results)] for title, show in _ROWS if _worth(show, results)
    ]
    lines = [table(["", *(TITLES[r["way"]] for r in results)], rows)]
    never = data["neverFit"]
    for job in never[:3]:
        lines.append(f"never fits: {job['id']}: {job['why']}")
    if len(never) > 3:
        lines.append(f"never fit: {len(never) - 3} more jobs")
    return "\n".join(lines)


def _hours(name: str) -> Any:
    return lambda r: f"{r[name]:,.0f}"


def _wait(name: str) -> Any:
    def show(result: dict[str, Any]) -> str | None:
        seconds = result["waitSeconds"][name]
        return None if seconds is None else format_seconds(seconds)

    return show


def _count(name: str) -> Any:
    return lambda r: f"{r[name]:,}"


def _worth(show: Any, results: Sequence[dict[str, Any]]) -> bool:
    return any(show(r) not in (None, "0") for r in results)


_ROWS: list[tuple[str, Any]] = [
    ("jobs finished", _count("finished")),
    ("jobs that never fit", _count("neverFit")),
    ("jobs unfinished", _count("unfinished")),
    ("GPU-hours paid", _hours("gpuHoursPaid")),
    ("GPU-hours used", _hours("gpuHoursUsed")),
    ("  of them lost to preemption", _hours("gpuHoursLost")),
    ("GPU-hours held by half a job", _hours("gpuHoursStranded")),
    (
        "utilisation",
        lambda r: None if r["utilisation"] is None else f"{100 * r['utilisation']:.1f} %",
    ),
    ("cost, USD", lambda r: None if r["costUSD"] is None else f"{r['costUSD']:,.0f}"),
    ("wait p50", _wait("p50")),
    ("wait p90", _wait("p90")),
    ("wait p99", _wait("p99")),
    ("wait at most", _wait("max")),
    ("last job ends after", lambda r: format_seconds(r["lastJobEndsSeconds"])),
    ("scale-ups", _count("scaleUps")),
    ("scale-downs", _count("scaleDowns")),
    ("nodes added", _count("nodesAdded")),
    ("nodes at most", _count("peakNodes")),
    ("preemptions", _count("preemptions")),
    ("deadlocks broken", _count("deadlocksBroken")),
]
