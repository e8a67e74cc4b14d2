"""The section that a reader looks for first: accuracy, paired tests, topics, perplexity."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from astrosage.report import protocol, service, specialising
from astrosage.report.charts import Bar, Group, interval_chart
from astrosage.report.facts import StageFacts
from astrosage.report.protocol import METHOD_NAMES, ROLES, with_interval
from astrosage.report.text import (
    Html,
    count,
    escape,
    join,
    number,
    probability,
    table,
    tag,
)

__all__ = ["METHOD_NAMES", "headline", "section", "verdict", "with_interval"]
_EXPLAINED = {
    "likelihood": "the option with the highest summed log-probability after the question",
    "likelihood_normalized": "the same divided by the option's length in characters, so that long "
    "options are not held back",
    "letter": "the option whose letter is likeliest after a prompt that shows all options",
    "generation": "the option that the model's own written answer names (greedy decoding)",
}
SIGNIFICANT = 0.05


def section(stage: StageFacts) -> Html:
    """All that a bench stage found."""
    summary = stage.summary
    sets = summary.get("sets") or []
    parts: list[Any] = [tag("h3", f"Stage {stage.name}"), _names(summary), _methods(sets)]
    tests = sum(1 for item in sets for _ in _tested(item))
    for i, item in enumerate(sets):
        if not item.get("scored", True):
            parts.append(_unscored(summary, item))
            continue
        words = tag("div", *(_paired(t, tests) for t in _tested(item)), _caveats(item, tests))
        parts.append(tag("div", _chart(stage, i, item), words, class_="charts"))
        topics = protocol.breakdown(item, "topic", "by topic")
        parts += [_score_table(item), topics, protocol.section(item)]
    more = [specialising.section(summary), service.section(summary)]
    return join([*parts, _heldout(summary), *more])


def _unscored(summary: Mapping[str, Any], item: Mapping[str, Any]) -> Html:
    file = (summary.get("predictions") or {}).get("file", "predictions.jsonl")
    return tag(
        "p",
        tag("strong", f"{item.get('name')}: not scored. "),
        f"Its {count(item.get('questions'))} questions have no keys. The model's answers are in ",
        tag("code", file),
        ", for those who have the keys.",
    )


def headline(stage: StageFacts, *, of_several: bool = False) -> Html:
    """The main results of a bench stage, a sentence each; empty where there are none.

    Args:
        stage: The stage.
        of_several: Say which model it is of.
    """
    whose = f" of {stage.summary.get('model')}" if of_several else ""
    sets = (stage.summary.get("sets") or [])[:3]
    return join([*(_accuracy_headline(item, whose) for item in sets), _perplexity(stage, whose)])


def _accuracy_headline(item: Mapping[str, Any], whose: str) -> Html:
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
            f"({probability(paired.get('pHolm', paired.get('p')))})"
        )
    return tag("p", tag("strong", f"Accuracy{whose} "), text + ".", class_="headline")


def _perplexity(stage: StageFacts, whose: str) -> Html:
    heldout = stage.summary.get("heldout") or {}
    model, base = heldout.get("model"), heldout.get("baseline")
    if not model:
        return Html("")
    text = number(model.get("perplexity"), 4)
    if base:
        text += f", against {number(base.get('perplexity'), 4)} for the baseline"
    text += f", on {count(model.get('tokens'))} tokens of held-out text."
    return tag("p", tag("strong", f"Perplexity{whose} "), text, class_="headline")


def verdict(paired: Mapping[str, Any]) -> str:
    """What the paired test allows to say, corrected for how many there are."""
    p, better, worse = paired.get("p"), paired.get("better", 0), paired.get("worse", 0)
    p = paired.get("pHolm", p)
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
                missing = _missing(score) if method == "generation" else ""
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


def _missing(score: Mapping[str, Any]) -> str:
    """Answers without a choice, by what they were."""
    found = f"{score.get('unparsable', 0)} / {score.get('refused', 0)}"
    more = [f"{score[k]} {k}" for k in ("cut", "failed") if score.get(k)]
    return ", ".join([found, *more])


def _tested(item: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for method, result in (item.get("methods") or {}).items():
        if result.get("paired"):
            yield method, result["paired"]


def _paired(tested: tuple[str, Mapping[str, Any]], tests: int) -> Html:
    method, paired = tested
    corrected = ""
    if "pHolm" in paired and tests > 1:
        corrected = f"; corrected for {tests} tests, {probability(paired['pHolm'])}"
    difference = (
        f" The difference is {specialising.points(paired)} points (95\u00a0% interval)."
        if "difference" in paired
        else ""
    )
    return tag(
        "p",
        tag("strong", f"{METHOD_NAMES.get(method, method)}: {verdict(paired)}. "),
        f"The model is right on {count(paired.get('better'))} questions that the baseline gets "
        f"wrong, and wrong on {count(paired.get('worse'))} that the baseline gets right (exact "
        f"McNemar test, two-sided, {probability(paired.get('p'))}{corrected}).{difference}",
    )


def _caveats(item: Mapping[str, Any], tests: int) -> Html:
    notes = []
    tested = [paired for _, paired in _tested(item)]
    if any("pHolm" in paired for paired in tested):
        if tests > 1:
            notes.append("Corrected by Holm's method for all tests of the stage.")
    elif tested:
        notes.append("Each test stands alone; none is corrected for how many there are.")
    if item.get("withEqualOptions"):
        notes.append(
            f"{count(item['withEqualOptions'])} questions have two options that say the same; "
            "either counts where one of them is the key."
        )
    return tag("p", " ".join(notes), class_="soft") if notes else Html("")


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
