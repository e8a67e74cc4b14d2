"""The section that a reader looks for first: accuracy, paired tests, topics, perplexity."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from astrosage.report.charts import Bar, Group, interval_chart
from astrosage.report.facts import StageFacts
from astrosage.report.text import (
    Html,
    count,
    escape,
    join,
    number,
    percent,
    probability,
    table,
    tag,
)

METHOD_NAMES = {
    "likelihood": "Likelihood",
    "likelihood_normalized": "Likelihood per character",
    "generation": "Generated answer",
}
_EXPLAINED = {
    "likelihood": "the option with the highest summed log-probability after the question",
    "likelihood_normalized": "the same divided by the option's length in characters, so that long "
    "options are not held back",
    "generation": "the option that the model's own written answer names (greedy decoding)",
}
ROLES = ("baseline", "model")
SIGNIFICANT = 0.05


def section(stage: StageFacts) -> Html:
    """All that a bench stage found."""
    summary = stage.summary
    sets = summary.get("sets") or []
    parts: list[Any] = [tag("h3", f"Stage {stage.name}"), _names(summary), _methods(sets)]
    for i, item in enumerate(sets):
        words = tag("div", *map(_paired, _tested(item)), _caveats(item))
        parts.append(tag("div", _chart(stage, i, item), words, class_="charts"))
        parts += [_score_table(item), _topics(item)]
    return join([*parts, _heldout(summary)])


def headline(stage: StageFacts) -> Html:
    """The main results of a bench stage, a sentence each; empty where there are none."""
    return join(
        [*map(_accuracy_headline, (stage.summary.get("sets") or [])[:3]), _perplexity(stage)]
    )


def _accuracy_headline(item: Mapping[str, Any]) -> Html:
    method = str(item.get("headline"))
    result = (item.get("methods") or {}).get(method) or {}
    model, base = result.get("model"), result.get("baseline")
    if not model:
        return Html("")
    text = f"{with_interval(model)} on {item.get('name')} ({_lower(method)})"
    if base:
        paired = result.get("paired") or {}
        text += (
            f", against {with_interval(base)} for the baseline: {verdict(paired)} "
            f"({probability(paired.get('p'))})"
        )
    return tag("p", tag("strong", "Accuracy "), text + ".", class_="headline")


def _perplexity(stage: StageFacts) -> Html:
    heldout = stage.summary.get("heldout") or {}
    model, base = heldout.get("model"), heldout.get("baseline")
    if not model:
        return Html("")
    text = number(model.get("perplexity"), 4)
    if base:
        text += f", against {number(base.get('perplexity'), 4)} for the baseline"
    text += f", on {count(model.get('tokens'))} tokens of held-out text."
    return tag("p", tag("strong", "Perplexity "), text, class_="headline")


def with_interval(score: Mapping[str, Any]) -> str:
    """``46.2 % [39.9, 52.5]``: no accuracy without its 95 % interval."""
    low, high = score.get("low"), score.get("high")
    if low is None or high is None:
        return percent(score.get("accuracy"))
    return f"{percent(score.get('accuracy'))} [{100 * low:.1f}, {100 * high:.1f}]"


def verdict(paired: Mapping[str, Any]) -> str:
    """What the paired test allows to say."""
    p, better, worse = paired.get("p"), paired.get("better", 0), paired.get("worse", 0)
    if p is None:
        return "not tested"
    if p >= SIGNIFICANT:
        return "no significant difference"
    return "significantly better" if better > worse else "significantly worse"


def _lower(method: str) -> str:
    return METHOD_NAMES.get(method, method).lower()


def _names(summary: Mapping[str, Any]) -> Html:
    rows = [("Model", summary.get("model")), ("Baseline", summary.get("baseline") or "none")]
    return tag("dl", *(join([tag("dt", k), tag("dd", tag("code", v))]) for k, v in rows))


def _chart(stage: StageFacts, index: int, item: Mapping[str, Any]) -> Html:
    groups, words = [], []
    for method, result in (item.get("methods") or {}).items():
        bars = []
        for role in ROLES:
            score = result.get(role)
            if score:
                value, low, high = (float(score.get(k, 0)) for k in ("accuracy", "low", "high"))
                bars.append(Bar(role, role, value, low, high))
                words.append(f"{_lower(method)}, {role}: {with_interval(score)}")
        groups.append(Group(METHOD_NAMES.get(method, method), bars))
    return interval_chart(
        f"accuracy-{stage.name}-{index}",
        f"Accuracy on {item.get('name')}, {count(item.get('questions'))} questions",
        "Bars with 95 % intervals. " + "; ".join(words),
        groups,
        _chance(stage.records, item.get("name")),
    )


def _chance(records: Sequence[Mapping[str, Any]], name: Any) -> float | None:
    """Expected accuracy of guessing on a set."""
    shares = [1 / len(r["choices"]) for r in records if r.get("set") == name and r.get("choices")]
    return sum(shares) / len(shares) if shares else None


def _methods(sets: Sequence[Mapping[str, Any]]) -> Html:
    used = dict.fromkeys(m for s in sets for m in (s.get("methods") or {}))
    lines = [
        tag("li", tag("strong", METHOD_NAMES[m]), f": {_EXPLAINED[m]}.")
        for m in used
        if m in METHOD_NAMES
    ]
    return tag("ul", *lines, class_="soft") if lines else Html("")


def _score_table(item: Mapping[str, Any]) -> Html:
    rows = []
    for method, result in (item.get("methods") or {}).items():
        for role in ROLES:
            score = result.get(role)
            if score:
                missing = (
                    f"{score.get('unparsable', 0)} / {score.get('refused', 0)}"
                    if method == "generation"
                    else ""
                )
                rows.append(
                    (
                        f"{METHOD_NAMES.get(method, method)}, {role}",
                        f"{count(score.get('correct'))} of {count(score.get('total'))}",
                        with_interval(score),
                        missing,
                    )
                )
    return table(
        f"{item.get('name')}: right answers, with Wilson's 95 % interval",
        ("Method", "Right", "Accuracy, %", "Unreadable / refused"),
        rows,
        numeric=(1, 2, 3),
    )


def _tested(item: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for method, result in (item.get("methods") or {}).items():
        if result.get("paired"):
            yield method, result["paired"]


def _paired(tested: tuple[str, Mapping[str, Any]]) -> Html:
    method, paired = tested
    return tag(
        "p",
        tag("strong", f"{METHOD_NAMES.get(method, method)}: {verdict(paired)}. "),
        f"The model is right on {count(paired.get('better'))} questions that the baseline gets "
        f"wrong, and wrong on {count(paired.get('worse'))} that the baseline gets right (exact "
        f"McNemar test, two-sided, {probability(paired.get('p'))}).",
    )


def _caveats(item: Mapping[str, Any]) -> Html:
    notes = []
    if list(_tested(item)):
        notes.append("Each test stands alone; none is corrected for how many there are.")
    if item.get("withEqualOptions"):
        notes.append(
            f"{count(item['withEqualOptions'])} questions have two options that say the same; "
            "either counts where one of them is the key."
        )
    return tag("p", " ".join(notes), class_="soft") if notes else Html("")


def _topics(item: Mapping[str, Any]) -> Html:
    topics = item.get("topics") or []
    if not topics:
        return Html("")
    both = any(t.get("baseline") for t in topics)
    roles = ROLES if both else ("model",)
    rows = [
        (
            t.get("topic"),
            count(t.get("questions")),
            *(with_interval(t.get(role) or {}) for role in roles),
        )
        for t in topics
    ]
    method = str(item.get("headline") or "likelihood")
    return table(
        f"{item.get('name')} by topic ({_lower(method)}): accuracy in %, with 95 % interval",
        ("Topic", "Questions", *(r.capitalize() for r in roles)),
        rows,
        numeric=(1, 2, 3),
    )


def _heldout(summary: Mapping[str, Any]) -> Html:
    heldout = summary.get("heldout") or {}
    rows = [
        (
            escape(role.capitalize()),
            number(found.get("perplexity"), 4),
            number(found.get("bitsPerByte"), 4),
            count(found.get("tokens")),
            count(found.get("documents")),
        )
        for role in ROLES
        if (found := heldout.get(role))
    ]
    if not rows:
        return Html("")
    return table(
        "Held-out text: lower is better; bits per byte also compares models with other tokenizers",
        ("Model", "Perplexity per token", "Bits per byte", "Tokens", "Documents"),
        rows,
        numeric=(1, 2, 3, 4),
    )
