"""Of a question set, what stands behind its accuracy: calibration, letters, orders, years."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from astrosage.report.text import Html, count, join, number, percent, table, tag

ROLES = ("baseline", "model")
METHOD_NAMES = {
    "likelihood": "Likelihood",
    "likelihood_normalized": "Likelihood per character",
    "letter": "Likelihood of the letter",
    "generation": "Generated answer",
}
_SHOWN_YEARS = 12


def with_interval(score: Mapping[str, Any]) -> str:
    """``46.2 % [39.9, 52.5]``: no accuracy without its 95 % interval."""
    low, high = score.get("low"), score.get("high")
    if low is None or high is None:
        return percent(score.get("accuracy"))
    return f"{percent(score.get('accuracy'))} [{100 * low:.1f}, {100 * high:.1f}]"


def section(item: Mapping[str, Any]) -> Html:
    """All that one question set has of it; empty parts are left out."""
    return join([_calibration(item), _bins(item), _shuffled(item), _letters(item), _years(item)])


def _parts(item: Mapping[str, Any], part: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """``("Likelihood, model", part)`` for each method and model that has the part."""
    for method, result in (item.get("methods") or {}).items():
        for role in ROLES:
            found = (result.get(role) or {}).get(part)
            if found:
                yield f"{METHOD_NAMES.get(method, method)}, {role}", found


def _calibration(item: Mapping[str, Any]) -> Html:
    rows = [
        (
            name,
            percent(found.get("confidence")),
            percent(found.get("expectedCalibrationError")),
            number(found.get("brier"), 3),
        )
        for name, found in _parts(item, "calibration")
    ]
    if not rows:
        return Html("")
    return table(
        f"{item.get('name')}: calibration. Confidence is the probability of the choice among the "
        "options; lower errors are better",
        ("Method", "Mean confidence", "Expected calibration error", "Brier score"),
        rows,
        numeric=(1, 2, 3),
    )


def _bins(item: Mapping[str, Any]) -> Html:
    tables = [
        table(
            name,
            ("Confidence", "Questions", "Mean confidence", "Accuracy"),
            [
                (
                    f"{percent(b.get('low'), 0)} to {percent(b.get('high'), 0)}",
                    count(b.get("questions")),
                    percent(b.get("confidence")),
                    percent(b.get("accuracy")),
                )
                for b in found.get("bins") or []
                if b.get("questions")
            ],
            numeric=(1, 2, 3),
        )
        for name, found in _parts(item, "calibration")
    ]
    if not tables:
        return Html("")
    return tag("details", tag("summary", f"{item.get('name')}: confidence and accuracy"), *tables)


def _shuffled(item: Mapping[str, Any]) -> Html:
    rows = [
        (
            name,
            count(found.get("orders")),
            percent(found.get("accuracy")),
            percent(found.get("standardDeviation")),
            f"{percent(found.get('lowest'))} to {percent(found.get('highest'))}",
            with_interval(
                {
                    "accuracy": found.get("stableShare"),
                    "low": found.get("stableLow"),
                    "high": found.get("stableHigh"),
                }
            ),
        )
        for name, found in _parts(item, "shuffled")
    ]
    if not rows:
        return Html("")
    return table(
        f"{item.get('name')}: the same questions with their options in other orders. Stable: the "
        "same option is chosen in every order, in % of the questions",
        ("Method", "Orders", "Mean accuracy", "Spread (s.d.)", "Lowest to highest", "Stable"),
        rows,
        numeric=(1, 2, 3, 4, 5),
    )


def _letters(item: Mapping[str, Any]) -> Html:
    parts = list(_parts(item, "letters"))
    letters = sorted(
        {x for _, found in parts for x in found.get("chosen") or {}}, key=lambda x: (len(x), x)
    )
    rows = []
    for name, found in parts:
        rows.append((name, *_shares(found.get("chosen") or {}, letters)))
    if not rows:
        return Html("")
    right = parts[0][1].get("right") or {}
    rows.append(("Right answers", *_shares(right, letters)))
    return table(
        f"{item.get('name')}: how often each letter was chosen, and how often it was right",
        ("Method", *letters),
        rows,
        numeric=range(1, len(letters) + 1),
    )


def _shares(counts: Mapping[str, int], letters: list[str]) -> list[str]:
    whole = sum(counts.values())
    return [percent(counts.get(x, 0) / whole) if whole else percent(None) for x in letters]


def breakdown(item: Mapping[str, Any], key: str, words: str) -> Html:
    """Accuracy of a question set's parts, by the set's main method; empty without parts.

    Args:
        item: The question set.
        key: What each part is, such as ``topic``.
        words: How they were told apart, such as ``by topic``.
    """
    rows = item.get(f"{key}s") or []
    if not rows:
        return Html("")
    roles = ROLES if any(row.get("baseline") for row in rows) else ("model",)
    cells = [
        (
            r.get(key),
            count(r.get("questions")),
            *(with_interval(r.get(role) or {}) for role in roles),
        )
        for r in rows
    ]
    method = str(item.get("headline") or "likelihood")
    return table(
        f"{item.get('name')} {words} ({METHOD_NAMES.get(method, method).lower()}): accuracy in %, "
        "with 95 % interval",
        (key.capitalize(), "Questions", *(r.capitalize() for r in roles)),
        cells,
        numeric=(1, 2, 3),
    )


def _years(item: Mapping[str, Any]) -> Html:
    found, years = breakdown(item, "year", "by year of the text"), len(item.get("years") or [])
    if years <= _SHOWN_YEARS:
        return found
    return tag("details", tag("summary", f"{item.get('name')}: {years} years"), found)
