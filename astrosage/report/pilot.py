"""What a pilot has found: accuracy and loss over tokens, and what ten times more would buy."""

from __future__ import annotations

import math

from astrosage.pilot.results import AHEAD, Found, Losses, Scores, find
from astrosage.report.curve import Mark, curve_chart, short
from astrosage.report.facts import RunFacts
from astrosage.report.protocol import METHOD_NAMES, with_interval
from astrosage.report.text import (
    NONE,
    Html,
    duration,
    join,
    number,
    percent,
    probability,
    table,
    tag,
)

_TOKENS = "training tokens of the corpus, logarithmic"


def section(facts: RunFacts) -> Html:
    """Table, curves and prediction; empty where the run is no pilot."""
    found = find(facts)
    if found is None:
        return Html("")
    charts = [_loss_chart(x, found) for x in found.losses]
    charts += [_score_chart(x, found) for x in found.scores]
    return join(
        [
            tag("p", _introduction(found)),
            _table(found),
            tag("div", *charts, class_="charts"),
            tag("h3", f"What {AHEAD:g} times the corpus would likely buy"),
            *(tag("p", line) for line in outlook(found)),
        ]
    )


def outlook(found: Found) -> list[str]:
    """The prediction in sentences, each with its interval."""
    lines = [
        f"{score.set}, {_method(score)}: {_gain(score)}" for score in found.scores if score.line
    ]
    lines += [
        f"validation loss of {loss.stage}: {number(loss.curve.ahead.value, 4)} "
        f"[{number(loss.curve.ahead.low, 4)}, {number(loss.curve.ahead.high, 4)}] nats, from "
        f"{number(loss.parts[-1].loss[loss.stage], 4)}"
        for loss in found.losses
        if loss.curve
    ]
    if found.hours is not None:
        cost = f"{duration(3600 * found.hours)} of this cluster"
        if found.usd is not None:
            cost += f", ${found.usd:,.2f}"
        lines.append(f"for {short(found.ahead)} tokens: {cost}")
    few = max((len(s.parts) for s in found.scores), default=len(found.parts))
    if few < 3:
        lines.append(
            "With two points, how much trainings scatter about the line is not in the intervals; a "
            "third fraction would say."
        )
    return lines


def _method(score: Scores) -> str:
    return METHOD_NAMES[score.method].lower()


def _gain(score: Scores) -> str:
    assert score.line is not None
    gain, ahead = score.line.gain, score.line.ahead
    verdict = "" if gain.low > 0 or gain.high < 0 else "; the data do not tell it from nothing"
    return (
        f"{100 * gain.value:+.1f} points [{100 * gain.low:+.1f}, {100 * gain.high:+.1f}], to "
        f"{percent(ahead.value)} [{percent(ahead.low)}, {percent(ahead.high)}]{verdict}"
    )


def _introduction(found: Found) -> str:
    corpus = " and ".join(found.pilot.corpus)
    done = sum(p.finished for p in found.parts)
    waiting = "" if done == len(found.pilot.fractions) else f" {done} are finished so far."
    return (
        f"The same recipe on {len(found.pilot.fractions)} nested parts of {corpus}, with the same "
        f"held-out texts and questions for all.{waiting} Intervals are at 95 %: they hold what the "
        "choice of questions leaves open and how far trainings scatter about the line."
    )


def _table(found: Found) -> Html:
    columns = [f"{s.set}, {_method(s)}" for s in found.scores]
    losses = [f"Validation loss, {x.stage}" for x in found.losses]
    head = ["Part", "Corpus tokens", "Tokens seen", "Hours", "USD", *losses, *columns]
    rows = []
    for part in found.parts:
        row = [
            percent(part.fraction, 0 if part.fraction >= 0.01 else 2),
            short(part.tokens),
            short(part.learnt),
            NONE if part.hours is None else f"{part.hours:.2f}",
            NONE if part.usd is None else f"{part.usd:,.2f}",
            *(number(part.loss.get(x.stage), 4) for x in found.losses),
            *(_cell(score, part.fraction) for score in found.scores),
        ]
        rows.append(row)
    return table("Parts of the corpus", head, rows, numeric=tuple(range(1, len(head))))


def _cell(score: Scores, fraction: float) -> str:
    for i, part in enumerate(score.parts):
        if part.fraction == fraction:
            own = score.scores[i]
            p = ""
            if score.baseline:
                p = f", {probability(score.p(i))}"
            return f"{with_interval(own)}{p}"
    return NONE


def _loss_chart(loss: Losses, found: Found) -> Html:
    marks = [Mark(p.tokens, p.loss[loss.stage]) for p in loss.parts]
    ahead = None
    if loss.curve:
        ahead = Mark(found.ahead, *vars(loss.curve.ahead).values())
    words = ", ".join(f"{number(m.y, 4)} at {short(m.x)}" for m in marks)
    return curve_chart(
        f"pilot-loss-{loss.stage}",
        f"Validation loss of {loss.stage} over the size of the corpus",
        f"In nats: {words}.",
        marks,
        _TOKENS,
        loss.curve.at if loss.curve else None,
        ahead,
    )


def _score_chart(score: Scores, found: Found) -> Html:
    marks = [
        Mark(p.tokens, *(100 * s[k] for k in ("accuracy", "low", "high")))
        for p, s in zip(score.parts, score.scores, strict=True)
    ]
    curve, ahead = None, None
    if score.line:
        slope, end = 100 * score.line.per_tenfold.value, 100 * score.line.ahead.value
        ahead = Mark(found.ahead, *(100 * v for v in vars(score.line.ahead).values()))

        def curve(x: float) -> float:
            return end + slope * math.log10(x / found.ahead)

    words = ", ".join(f"{m.y:.1f} % at {short(m.x)}" for m in marks)
    return curve_chart(
        f"pilot-{score.stage}-{score.set}-{score.method}",
        f"Accuracy on {score.set}, {_method(score)}",
        f"Accuracy: {words}.",
        marks,
        _TOKENS,
        curve,
        ahead,
        100 * score.baseline["accuracy"] if score.baseline else None,
        " %",
    )
