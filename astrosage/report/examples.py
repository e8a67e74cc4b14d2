"""Some questions that the model won or lost against the baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from astrosage.report.facts import StageFacts
from astrosage.report.scores import METHOD_NAMES
from astrosage.report.text import Html, join, tag

_SHOWN = 3
_LETTERS = "ABCDEFGHIJ"


def section(stage: StageFacts) -> Html:
    """Questions gained and lost, of each set's main method; empty without a baseline."""
    parts = []
    for item in stage.summary.get("sets") or []:
        method = item.get("headline")
        records = [
            r
            for r in stage.records
            if r.get("set") == item.get("name") and r.get("method") == method and r.get("baseline")
        ]
        gained = [r for r in records if _correct(r, "model") and not _correct(r, "baseline")]
        lost = [r for r in records if _correct(r, "baseline") and not _correct(r, "model")]
        where = f"{item.get('name')}, {METHOD_NAMES.get(str(method), str(method)).lower()}"
        parts += [_list("Gained", where, gained), _list("Lost", where, lost)]
    return join(parts)


def _correct(record: Mapping[str, Any], role: str) -> bool:
    return bool((record.get(role) or {}).get("correct"))


def _list(word: str, where: str, records: Sequence[Mapping[str, Any]]) -> Html:
    if not records:
        return Html("")
    title = f"{word}: {min(_SHOWN, len(records))} of {len(records)} ({where})"
    return join([tag("h3", title), *(_question(r) for r in spread(records))])


def spread(records: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """A few records from over the whole list, always the same ones."""
    if len(records) <= _SHOWN:
        return list(records)
    return [records[i * len(records) // _SHOWN] for i in range(_SHOWN)]


def _question(record: Mapping[str, Any]) -> Html:
    options = []
    for i, choice in enumerate(record.get("choices") or []):
        right = i == record.get("answer")
        marks = [
            tag("span", role, class_=f"mark {role}")
            for role in ("model", "baseline")
            if (record.get(role) or {}).get("chosen") == i
        ]
        text = f"{_LETTERS[i]}. {choice}" + (" ✓" if right else "")
        options.append(tag("li", text, *marks, class_="right" if right else None))
    return tag("article", tag("p", record.get("question")), tag("ul", *options))
