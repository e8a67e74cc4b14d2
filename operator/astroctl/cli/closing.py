"""What is shown when a run is done: its scores, its report, and what to type next."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from astroctl.cli.output import table
from astroctl.runs.registry import Record
from astrosage.errors import NotFoundError
from astrosage.runs.directory import RunDirectory

_METHODS = {
    "likelihood": "likelihood",
    "likelihood_normalized": "likelihood, per character",
    "generation": "generated answer",
}


def summaries(directory: RunDirectory) -> dict[str, dict[str, Any]]:
    """``stage -> summary`` of every finished bench stage."""
    found = {}
    for stage in directory.job().spec.stages:
        if stage.kind == "bench" and directory.finished(stage) is not None:
            try:
                found[stage.name] = directory.stage(stage.name).storage.read_json(
                    "bench/summary.json"
                )
            except NotFoundError:
                continue
    return found


def scores(summary: dict[str, Any]) -> str:
    """Accuracy with its interval, against the baseline; perplexity on held-out text."""
    text = table(
        ["questions", "method", "baseline", "model", "better/worse", "p"], list(_rows(summary))
    )
    heldout = summary.get("heldout")
    if heldout:
        base = heldout.get("baseline")
        before = f"{base['perplexity']:.2f} -> " if base else ""
        text += (
            f"\nperplexity on held-out text: {before}{heldout['model']['perplexity']:.2f} "
            f"({heldout['model']['tokens']} tokens)"
        )
    return text


def _rows(summary: dict[str, Any]) -> Iterator[list[object]]:
    for item in summary["sets"]:
        for method, result in item["methods"].items():
            paired = result.get("paired")
            yield [
                f"{item['name']} ({item['questions']})",
                _METHODS.get(method, method),
                accuracy(result.get("baseline")),
                accuracy(result["model"]),
                f"{paired['better']}/{paired['worse']}" if paired else None,
                f"{paired['p']:.3g}" if paired else None,
            ]


def accuracy(score: dict[str, Any] | None) -> str:
    """``46.2 % [39.5, 53.0]``: an accuracy always carries its 95 % interval."""
    if not score:
        return "-"
    return f"{score['accuracy']:.1%} [{score['low']:.1%}, {score['high']:.1%}]".replace("%", " %")


def closing(record: Record, directory: RunDirectory) -> str:
    """The whole closing text of a run that succeeded."""
    found = summaries(directory)
    parts = [
        f"{stage}: {s.get('model')}"
        + (f" against {s['baseline']}" if s.get("baseline") else "")
        + f" (accuracy with 95 % interval, McNemar's exact test)\n{scores(s)}"
        for stage, s in found.items()
    ]
    for stage in found:
        storage = directory.stage(stage).storage
        if storage.exists("bench/report.html"):
            parts.append(f"report: {storage.path('bench/report.html')}")
    parts.append("next:\n  " + "\n  ".join(next_commands(record, directory, bool(found))))
    return "\n\n".join(parts)


def next_commands(record: Record, directory: RunDirectory, scored: bool) -> list[str]:
    """The three commands that make sense now."""
    job = directory.job()
    models = [s for s in job.spec.stages if s.kind in ("train", "merge") and directory.finished(s)]
    name = record.called
    commands = [f"astroctl report {name} --open"] if scored else []
    if models:
        commands += [f"astroctl serve {name}", 'astroctl ask "What is a Cepheid?"']
    commands += [f"astroctl status {name}", f"astroctl logs {name}", "astroctl list"]
    return commands[:3]
