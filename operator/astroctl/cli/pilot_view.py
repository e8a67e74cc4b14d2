"""A pilot's findings in the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from astroctl.cli.closing import METHODS, accuracy
from astroctl.cli.output import table
from astrosage.pilot.results import AHEAD, Found, Scores
from astrosage.report.curve import short
from astrosage.report.pilot import outlook


def text(found: Found) -> str:
    """Tables of the parts and of each question set, and the prediction."""
    return "\n\n".join(_blocks(found))


def _blocks(found: Found) -> Iterator[str]:
    losses = [x.stage for x in found.losses]
    rows: list[list[object]] = [
        [
            f"{part.fraction:.4g}",
            short(part.tokens),
            short(part.learnt),
            None if part.hours is None else f"{part.hours:.2f}",
            None if part.usd is None else f"{part.usd:.2f}",
            *(f"{part.loss[s]:.4f}" if s in part.loss else None for s in losses),
        ]
        for part in found.parts
    ]
    heads = ["PART", "CORPUS TOKENS", "TOKENS SEEN", "HOURS", "USD"]
    yield table([*heads, *(f"VALIDATION LOSS ({s})" for s in losses)], rows)
    for scores in found.scores:
        yield _scores(scores)
    lines = "\n".join(f"  {line}" for line in outlook(found))
    yield f"{AHEAD:g} times the corpus would likely give (95 % intervals)\n{lines}"


def _scores(scores: Scores) -> str:
    rows: list[list[object]] = []
    if scores.baseline:
        rows.append(["baseline", accuracy(scores.baseline), None, None])
    for i, part in enumerate(scores.parts):
        pair = p = None
        if scores.baseline:
            pair, p = f"{scores.better[i]}/{scores.worse[i]}", f"{scores.p(i):.3g}"
        rows.append([f"{part.fraction:.4g}", accuracy(scores.scores[i]), pair, p])
    title = f"{scores.set}, {METHODS.get(scores.method, scores.method)}"
    return f"{title}\n{table(['PART', 'ACCURACY', 'BETTER/WORSE', 'P'], rows)}"
