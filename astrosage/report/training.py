"""Loss and throughput of each train stage."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from astrosage.report.charts import Line, Point, line_chart
from astrosage.report.facts import StageFacts
from astrosage.report.text import Html, count, join, number, percent, tag
from astrosage.spec.stages import TrainSpec


def section(stage: StageFacts) -> Html:
    """Curves and closing figures of a train stage."""
    lines = stage.metrics
    title = f"Stage {stage.name}: {_words(stage)}"
    if not lines:
        return join([tag("h3", title), tag("p", f"No steps yet ({stage.phase}).", class_="soft")])
    loss, validation = _series(lines, "loss"), _series(lines, "validationLoss")
    speed = _series(lines, "tokensPerSecond")
    charts = [
        line_chart(
            f"loss-{stage.name}",
            f"Loss, {stage.name}",
            f"Training loss {_change(loss)}; validation loss {_change(validation)}.",
            [
                Line("training", "model", loss),
                Line("validation", "validation", validation, marks=True),
            ],
            "optimizer step",
        ),
        line_chart(
            f"speed-{stage.name}",
            f"Throughput, {stage.name}",
            f"Non-padding tokens a second, {_middle(speed)} in the median.",
            [Line("tokens per second", "model", speed)],
            "optimizer step",
        ),
    ]
    return join([tag("h3", title), tag("div", *charts, class_="charts"), _figures(stage)])


def _words(stage: StageFacts) -> str:
    body = stage.stage.body
    assert isinstance(body, TrainSpec)
    names = {"cpt": "continued pre-training", "sft": "supervised fine-tuning"}
    return f"{names[body.objective]} on {body.data}"


def _figures(stage: StageFacts) -> Html:
    body, last = stage.stage.body, stage.metrics[-1]
    assert isinstance(body, TrainSpec)
    loss = _series(stage.metrics, "loss")
    validation = _series(stage.metrics, "validationLoss")
    rows: list[tuple[str, Any]] = [
        ("Steps", f"{count(last.get('step'))} of {count(last.get('total'))} ({stage.phase})"),
        ("Tokens seen", count(_latest(stage.metrics, "tokens"))),
        ("Training loss", _change(loss)),
        ("Validation loss", _change(validation)),
        ("Throughput", f"{_middle(_series(stage.metrics, 'tokensPerSecond'))} tokens/s (median)"),
        ("MFU", _mfu(stage)),
        ("Peak learning rate", f"{body.learning_rate:g}, {body.schedule}"),
        ("Global batch", f"{body.global_batch_size} sequences"),
        ("Precision", f"{body.precision}, ZeRO stage {body.zero.stage}, seed {body.seed}"),
    ]
    return tag("dl", *(join([tag("dt", k), tag("dd", v)]) for k, v in rows if v))


def _mfu(stage: StageFacts) -> str:
    """Median MFU with what it was divided by; nothing where that is not known."""
    found = _series(stage.metrics, "mfu")
    source = stage.entry.get("mfuPeak")
    if not found or not source:
        return ""
    return f"{percent(statistics.median(y for _, y in found))} of {source} per worker (median)"


def _series(lines: Sequence[dict[str, Any]], name: str) -> list[Point]:
    return [
        (float(line["step"]), float(line[name]))
        for line in lines
        if isinstance(line.get(name), int | float) and isinstance(line.get("step"), int | float)
    ]


def _latest(lines: Sequence[dict[str, Any]], name: str) -> Any:
    return next((line[name] for line in reversed(lines) if name in line), None)


def _change(points: Sequence[Point]) -> str:
    if not points:
        return "not measured"
    first, last = points[0], points[-1]
    if len(points) == 1:
        return f"{number(first[1], 4)} at step {count(first[0])}"
    return (
        f"{number(first[1], 4)} at step {count(first[0])}, "
        f"{number(last[1], 4)} at step {count(last[0])}"
    )


def _middle(points: Sequence[Point]) -> str:
    return count(statistics.median(y for _, y in points)) if points else "not measured"
