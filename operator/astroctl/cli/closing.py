"""What is shown when a run is done: its scores, its report, and what to type next."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from astroctl.cli.output import table
from astroctl.runs.registry import Record
from astrosage.errors import NotFoundError
from astrosage.runs.directory import RunDirectory

METHODS = {
    "likelihood": "likelihood",
    "likelihood_normalized": "likelihood, per character",
    "letter": "likelihood of the letter",
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
    """Accuracy with its interval, against the baseline; perplexity; gains, losses and cost."""
    return "\n".join(_lines(summary))


def _lines(summary: dict[str, Any]) -> Iterator[str]:
    rows = list(_rows(summary))
    if rows:
        p = "p (Holm)" if _tests(summary) > 1 else "p"
        yield table(["questions", "method", "baseline", "model", "better/worse", p], rows)
    heldout = summary.get("heldout")
    if heldout:
        base = heldout.get("baseline")
        before = f"{base['perplexity']:.2f} -> " if base else ""
        yield (
            f"perplexity on held-out text: {before}{heldout['model']['perplexity']:.2f} "
            f"({heldout['model']['tokens']} tokens)"
        )
    yield from specialising(summary)
    yield from _remarks(summary)


def specialising(summary: dict[str, Any]) -> Iterator[str]:
    """What is gained inside the field next to what is lost outside, where that was measured."""
    found = summary.get("specialising") or {}
    if "outside" not in found:
        return
    rows: list[list[object]] = []
    methods = dict.fromkeys(m for side in found.values() for m in side["accuracy"])
    for method in methods:
        sides = [found.get(s, {}).get("accuracy", {}).get(method) for s in ("inside", "outside")]
        rows.append([METHODS.get(method, method), *(_points(s) for s in sides)])
    texts = [(found.get(s) or {}).get("heldout") for s in ("inside", "outside")]
    if any(texts):
        rows.append(["perplexity, ratio to the baseline", *(_ratio(t) for t in texts)])
    yield "what specialising costs (points of accuracy, model minus baseline, 95 % interval)"
    yield table(["", "gain inside", "loss outside"], rows)


def _points(found: dict[str, Any] | None) -> str | None:
    if not found:
        return None
    value, low, high = (100 * found[k] for k in ("difference", "low", "high"))
    return f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"


def _ratio(found: dict[str, Any] | None) -> str | None:
    if not found:
        return None
    ratio = found["perplexityRatio"]
    if ratio["low"] is None:
        return f"{ratio['value']:.3f}"
    return f"{ratio['value']:.3f} [{ratio['low']:.3f}, {ratio['high']:.3f}]"


def _remarks(summary: dict[str, Any]) -> Iterator[str]:
    predictions = summary.get("predictions")
    if predictions:
        yield (
            f"{', '.join(predictions['sets'])}: not scored, since the file has no keys; "
            f"{predictions['answers']} answers are in bench/{predictions['file']}: send them to "
            "those who have the keys"
        )
    service = summary.get("service") or {}
    if service.get("changed"):
        yield "the service's model or fingerprint changed while it was scored: see the report"
    if service.get("failed"):
        yield f"{service['failed']} requests got no answer and count as wrong"
    cost = summary.get("cost") or {}
    if cost.get("usdPer100kTokens") is not None:
        usd = (cost.get("model") or {}).get("usd")
        spent = f"${usd:.4g} for the questions, " if usd is not None else ""
        yield f"cost: {spent}${cost['usdPer100kTokens']:.4g} for 0.1 M tokens"


def _tests(summary: dict[str, Any]) -> int:
    return sum(bool(m.get("paired")) for s in summary["sets"] for m in s["methods"].values())


def _rows(summary: dict[str, Any]) -> Iterator[list[object]]:
    several = _tests(summary) > 1
    for item in summary["sets"]:
        for method, result in item["methods"].items():
            paired = result.get("paired")
            yield [
                f"{item['name']} ({item['questions']})",
                METHODS.get(method, method),
                accuracy(result.get("baseline")),
                accuracy(result["model"]),
                f"{paired['better']}/{paired['worse']}" if paired else None,
                _p(paired, several) if paired else None,
            ]


def _p(paired: dict[str, Any], several: bool) -> str:
    """The p-value, and if there are several that corrected for their number."""
    adjusted = f" ({paired['pHolm']:.3g})" if several and "pHolm" in paired else ""
    return f"{paired['p']:.3g}{adjusted}"


def accuracy(score: dict[str, Any] | None) -> str:
    """``46.2 % [39.5, 53.0]``: an accuracy always carries its 95 % interval."""
    if not score:
        return "-"
    return f"{score['accuracy']:.1%} [{score['low']:.1%}, {score['high']:.1%}]".replace("%", " %")


def closing(record: Record, directory: RunDirectory) -> str:
    """The whole closing text of a run that succeeded."""
    if (pilot := _pilot(directory)) is not None:
        commands = (
            f"  astroctl report {record.called} --open\n  astroctl pilot show {record.called}"
        )
        return f"{pilot}\n\nnext:\n{commands}"
    found = summaries(directory)
    parts = [
        f"{stage}: {s.get('model')}"
        + (f" against {s['baseline']}" if s.get("baseline") else "")
        + f" (accuracy with 95 % interval, McNemar's exact test)\n{scores(s)}"
        for stage, s in found.items()
    ]
    parts += list(_generated(directory))
    if not parts:
        parts = [f"{record.called} succeeded", *_prepared(directory)]
    for stage in found:
        storage = directory.stage(stage).storage
        if storage.exists("bench/report.html"):
            parts.append(f"report: {storage.path('bench/report.html')}")
    parts.append("next:\n  " + "\n  ".join(next_commands(record, directory, bool(found))))
    return "\n\n".join(parts)


def _prepared(directory: RunDirectory) -> Iterator[str]:
    """A line for each finished prepare stage: what is left, and what there is to learn from."""
    for stage in directory.job().spec.stages:
        made = directory.finished(stage) if stage.prepare is not None else None
        if made is not None:
            report, splits = made["report"], made["splits"]
            yield (
                f"{stage.name}: {report['kept']:,} of {report['records']:,} records kept; "
                f"{splits['train']['tokens']:,} tokens in {splits['train']['sequences']:,} "
                f"sequences to train on, {splits['validation']['tokens']:,} for validation"
            )


def _generated(directory: RunDirectory) -> Iterator[str]:
    """A line for each finished generate stage, and where its file is."""
    from astrosage.report.generated import in_words
    from astrosage.runs.directory import ARTEFACTS
    from astrosage.spec.generate import PRODUCTS

    for stage in directory.job().spec.stages:
        made = directory.finished(stage) if stage.generate is not None else None
        if stage.generate is not None and made is not None:
            kind = stage.generate.kind
            place = f"{ARTEFACTS['generate']}/{PRODUCTS[kind]}"
            file = directory.stage(stage.name).storage.path(place)
            yield f"{stage.name}: {in_words(made['report'], kind)}\n{file}"


def _pilot(directory: RunDirectory) -> str | None:
    """What a pilot has found; None where the run is none."""
    from astroctl.cli.pilot_view import text
    from astrosage.pilot import results
    from astrosage.report.facts import gather

    found = results.find(gather(directory, {}))
    return None if found is None else text(found)


def next_commands(record: Record, directory: RunDirectory, scored: bool) -> list[str]:
    """The three commands that make sense now."""
    job = directory.job()
    models = [s for s in job.spec.stages if s.kind in ("train", "merge") and directory.finished(s)]
    name = record.called
    commands = [f"astroctl report {name} --open"] if scored else []
    if models:
        commands += [f"astroctl serve {name}", 'astroctl ask "What is a Cepheid?"']
    else:
        packed = (s for s in job.spec.stages if s.kind == "prepare" and directory.finished(s))
        commands += [f"astroctl data inspect {name} --stage {s.name}" for s in packed][:1]
    commands += [f"astroctl status {name}", f"astroctl logs {name}", "astroctl list"]
    return commands[:3]
