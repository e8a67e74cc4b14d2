"""Loss and throughput of each train stage."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

from astrosage.report.charts import Line, Point, line_chart, stacked
from astrosage.report.facts import StageFacts
from astrosage.report.text import Html, count, join, number, percent, table, tag
from astrosage.spec.stages import TrainSpec

Lines = Sequence[dict[str, Any]]
_STEP = "optimizer step"
_STYLES = ("s1", "s2", "s3", "s4", "s5", "s6")
_PHASES = ("data", "forward", "backward", "optimizer", "checkpoint", "validation")
_LARGEST_LOSS = math.log(1e6)


def section(stage: StageFacts) -> Html:
    """Curves and closing figures of a train stage."""
    lines = stage.metrics
    title = f"Stage {stage.name}: {_words(stage)}"
    if not lines:
        return join([tag("h3", title), tag("p", f"No steps yet ({stage.phase}).", class_="soft")])
    charts = [chart(stage.name, lines) for chart in (_loss, _speed, _sources, _time, _gradient)]
    tables = [_validation_table(lines), _figures(stage)]
    return join([tag("h3", title), tag("div", *charts, class_="charts"), *tables])


def _loss(name: str, lines: Lines) -> Html:
    loss, validation = series(lines, "loss"), series(lines, "validationLoss")
    return line_chart(
        f"loss-{name}",
        f"Loss, {name}",
        f"Training loss {_change(loss)}; validation loss {_change(validation)}.",
        [
            Line("training", "model", loss),
            Line("validation", "validation", validation, marks=True),
        ],
        _STEP,
    )


def _speed(name: str, lines: Lines) -> Html:
    speed = series(lines, "tokensPerSecond")
    return line_chart(
        f"speed-{name}",
        f"Throughput, {name}",
        f"Non-padding tokens a second, {_middle(speed)} in the median.",
        [Line("tokens per second", "model", speed)],
        _STEP,
    )


def _sources(name: str, lines: Lines) -> Html:
    """Validation loss of each held-out source, where there is more than one."""
    found = nested(lines, "validationLosses")
    if len(found) < 2:
        return Html("")
    shown = list(found.items())[: len(_STYLES)]
    left_out = len(found) - len(shown)
    words = "; ".join(f"{source} {_change(points)}" for source, points in shown)
    return line_chart(
        f"sources-{name}",
        f"Validation loss by source, {name}" + (f" (first {len(shown)})" if left_out else ""),
        f"Validation loss of {words}.",
        [
            Line(source, style, points, marks=True)
            for style, (source, points) in zip(_STYLES, shown, strict=False)
        ],
        _STEP,
    )


def _time(name: str, lines: Lines) -> Html:
    """What each step's time went to, one band on the other."""
    found = nested(lines, "seconds")
    steps = sorted({x for points in found.values() for x, _ in points})
    if not steps:
        return Html("")
    whole = {phase: dict(points) for phase, points in found.items()}
    phases = [p for p in (*_PHASES, *(p for p in found if p not in _PHASES)) if p in found]
    bands = [
        (phase, style, [(x, whole[phase].get(x, 0.0)) for x in steps])
        for phase, style in zip(phases, _STYLES, strict=False)
    ]
    return line_chart(
        f"time-{name}",
        f"Seconds a step, {name}",
        f"Where the time of all steps went: {_shares(found)}.",
        stacked(bands),
        _STEP,
    )


def _gradient(name: str, lines: Lines) -> Html:
    norm = series(lines, "gradientNorm")
    return line_chart(
        f"gradient-{name}",
        f"Gradient norm, {name}",
        f"Global gradient norm before clipping, {_change(norm)}.",
        [Line("gradient norm", "model", norm)],
        _STEP,
    )


def _validation_table(lines: Lines) -> Html:
    """First and last loss and perplexity of each held-out source, and of all together."""
    found = nested(lines, "validationLosses")
    whole = series(lines, "validationLoss")
    if not found or not whole:
        return Html("")
    rows = [
        (source, number(first, 4), number(last, 4), _perplexity(first), _perplexity(last))
        for source, first, last in (
            (source, points[0][1], points[-1][1])
            for source, points in [*found.items(), ("all tokens", whole)]
        )
    ]
    return table(
        f"Validation at step {count(whole[0][0])} and at step {count(whole[-1][0])}",
        ("Source", "Loss, first", "Loss, last", "Perplexity, first", "Perplexity, last"),
        rows,
        numeric=(1, 2, 3, 4),
    )


def _words(stage: StageFacts) -> str:
    body = stage.stage.body
    assert isinstance(body, TrainSpec)
    names = {"cpt": "continued pre-training", "sft": "supervised fine-tuning"}
    return f"{names[body.objective]} on {body.data}"


def _figures(stage: StageFacts) -> Html:
    body, last = stage.stage.body, stage.metrics[-1]
    assert isinstance(body, TrainSpec)
    loss = series(stage.metrics, "loss")
    validation = series(stage.metrics, "validationLoss")
    rows: list[tuple[str, Any]] = [
        ("Steps", f"{count(last.get('step'))} of {count(last.get('total'))} ({stage.phase})"),
        ("Tokens seen", count(_latest(stage.metrics, "tokens"))),
        ("Training loss", _change(loss)),
        ("Validation loss", _change(validation)),
        ("Validation perplexity", _perplexities(validation)),
        ("Time of the steps", _shares(nested(stage.metrics, "seconds"))),
        ("Throughput", f"{_middle(series(stage.metrics, 'tokensPerSecond'))} tokens/s (median)"),
        ("MFU", _mfu(stage)),
        ("Peak learning rate", f"{body.learning_rate:g}, {body.schedule}"),
        ("Global batch", f"{body.global_batch_size} sequences"),
        ("Precision", f"{_precision(stage)}, ZeRO stage {body.zero.stage}, seed {body.seed}"),
    ]
    return tag("dl", *(join([tag("dt", k), tag("dd", v)]) for k, v in rows if v))


def _precision(stage: StageFacts) -> str:
    """What was computed with; a processor without bf16 computes in fp32 whatever was asked for."""
    body = stage.stage.body
    assert isinstance(body, TrainSpec)
    return str(stage.entry.get("precision") or body.precision)


def _mfu(stage: StageFacts) -> str:
    """Median MFU with what it was divided by; nothing where that is not known."""
    found = series(stage.metrics, "mfu")
    source = stage.entry.get("mfuPeak")
    if not found or not source:
        return ""
    return f"{percent(statistics.median(y for _, y in found))} of {source} per worker (median)"


def series(lines: Lines, name: str) -> list[Point]:
    """A field over the steps."""
    return [
        (float(line["step"]), float(line[name]))
        for line in lines
        if isinstance(line.get(name), int | float) and isinstance(line.get("step"), int | float)
    ]


def nested(lines: Lines, name: str) -> dict[str, list[Point]]:
    """The numbers of a field that is an object, each over the steps."""
    found: dict[str, list[Point]] = {}
    for line in lines:
        values, step = line.get(name), line.get("step")
        if isinstance(values, dict) and isinstance(step, int | float):
            for key, value in values.items():
                if isinstance(value, int | float):
                    found.setdefault(str(key), []).append((float(step), float(value)))
    return found


def _shares(found: dict[str, list[Point]]) -> str:
    """How the time of all steps is divided, in words."""
    sums = {phase: sum(y for _, y in points) for phase, points in found.items()}
    whole = sum(sums.values()) or 1.0
    return ", ".join(f"{phase} {percent(seconds / whole)}" for phase, seconds in sums.items())


def _perplexity(loss: float) -> str:
    """e to the power of a loss; in words where that is beyond any use."""
    return number(math.exp(loss), 4) if loss < _LARGEST_LOSS else "over a million"


def _latest(lines: Lines, name: str) -> Any:
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


def _perplexities(points: Sequence[Point]) -> str:
    if not points:
        return ""
    ends = dict.fromkeys((points[0], points[-1]))
    return ", ".join(f"{_perplexity(loss)} at step {count(step)}" for step, loss in ends)


def _middle(points: Sequence[Point]) -> str:
    return count(statistics.median(y for _, y in points)) if points else "not measured"
