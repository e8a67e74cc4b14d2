"""Accuracy against cost as AstroMLab draws it; shown only where a cost is known."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from astrosage.report.facts import StageFacts
from astrosage.report.protocol import METHOD_NAMES
from astrosage.report.published import ALL, POINTS_PER_TENFOLD_COST, SCORES, VALIDATED, Published
from astrosage.report.scatter import Level, scatter_chart
from astrosage.report.text import Html, count, join, money, number, percent, table, tag
from astrosage.report.tradeoff import Scored, frontier, slope

# Published scores that are drawn, far enough apart to be read; all are in the table.
_DRAWN = ("AstroSage-70B", "AstroSage-8B", "Llama 3.1 8B", "InternLM 2.5 7B", "ChatGLM3-6B")


def section(stage: StageFacts) -> Html:
    """The chart of each scored question set of a stage; empty where no cost is known."""
    sets = [s for s in stage.summary.get("sets") or [] if s.get("methods")]
    parts = [_set(stage, i, item) for i, item in enumerate(sets)]
    shown = [part for part in parts if part]
    if not shown:
        return Html("")
    return join([tag("h3", f"Stage {stage.name}"), *shown, _account(stage.summary), _published()])


def _set(stage: StageFacts, index: int, item: Mapping[str, Any]) -> Html:
    models = list(_models(stage.summary, item))
    if not models:
        return Html("")
    with_cost = [_as_scored(p) for p in SCORES if p.questions == ALL and p.usd_per_100k_tokens]
    best = frontier([*models, *with_cost])
    found = slope([*models, *with_cost])
    method = METHOD_NAMES.get(str(item.get("headline")), str(item.get("headline"))).lower()
    words = "; ".join(
        f"{m.name}: {percent(m.accuracy)} at {money(m.usd)} for 0.1 M tokens" for m in models
    )
    own = f"{count(item.get('questions'))} questions of {item.get('name')} ({method})"
    notes = [
        f"Points are scores on {own}. Lines at the right are published scores on the "
        f"{ALL:,} questions of AstroMLab-1, other questions than these: they show a scale, not a "
        f"rank. Scores on its validated {VALIDATED:,} questions are in the table only.",
        f"Grey slope: {POINTS_PER_TENFOLD_COST} points for ten times the cost, as among the models "
        "of 2024 (AstroMLab 1).",
    ]
    if found is not None:
        notes.append(f"These points: {found:+.1f} points for ten times the cost.")
    chart = scatter_chart(
        f"cost-{stage.name}-{index}",
        f"Accuracy and cost, {item.get('name')}",
        words,
        [*models, *with_cost],
        best,
        _levels(),
        POINTS_PER_TENFOLD_COST / 100,
    )
    return tag("div", chart, tag("p", " ".join(notes), class_="soft"), class_="charts")


def _models(summary: Mapping[str, Any], item: Mapping[str, Any]) -> Iterator[Scored]:
    result = (item.get("methods") or {}).get(item.get("headline")) or {}
    cost = summary.get("cost") or {}
    for role in ("baseline", "model"):
        score, usd = result.get(role), (cost.get(role) or {}).get("usdPer100kTokens")
        if score and isinstance(usd, int | float) and math.isfinite(usd) and usd > 0:
            name = str(summary.get(role)).rstrip("/").rsplit("/", 1)[-1]
            accuracy, low, high = (float(score[k]) for k in ("accuracy", "low", "high"))
            yield Scored(f"{role}: {name}", role, float(usd), accuracy, low, high)


def _as_scored(found: Published) -> Scored:
    assert found.usd_per_100k_tokens
    share = found.accuracy / 100
    return Scored(found.name, "chance", found.usd_per_100k_tokens, share, share, share)


def _levels() -> list[Level]:
    """Some published scores without a cost, over their whole range."""
    return [
        Level(f"{p.accuracy:.1f} {p.name}", p.accuracy / 100)
        for p in SCORES
        if p.questions == ALL and p.name in _DRAWN and not p.usd_per_100k_tokens
    ]


def _account(summary: Mapping[str, Any]) -> Html:
    cost = summary.get("cost") or {}
    rows = []
    for role in ("baseline", "model"):
        found = cost.get(role)
        if found:
            tokens = found.get("tokens") or {}
            rows.append(
                (
                    role.capitalize(),
                    money(found.get("usd")),
                    _small_money(found.get("usdPer100kTokens")),
                    count(tokens.get("prompt")),
                    count(tokens.get("completion")),
                    count(tokens.get("reasoning")),
                )
            )
    return table(
        "What answering the questions cost",
        ("Model", "This benchmark", "0.1 M tokens", "Tokens read", "Written", "Of them thoughts"),
        rows,
        numeric=(1, 2, 3, 4, 5),
    )


def _small_money(value: Any) -> str:
    return f"${number(value, 3)}" if isinstance(value, int | float) else money(value)


def _published() -> Html:
    rows: Sequence[tuple[Any, ...]] = [
        (p.name, f"{p.accuracy:.1f}", count(p.questions), p.source) for p in SCORES
    ]
    inner = table(
        "Published scores on AstroMLab-1; rows with another number of questions cannot be compared",
        ("Model", "Accuracy, %", "Questions", "Source"),
        rows,
        numeric=(1, 2),
    )
    return tag("details", tag("summary", "Published scores and their sources"), inner)
