"""From raw results to judged records, and from records to a summary."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from astrosage.bench import answers
from astrosage.bench.questions import Question
from astrosage.bench.statistics import mcnemar, wilson
from astrosage.bench.tasks import Role, Task
from astrosage.errors import DataError

METHODS = ("likelihood", "likelihood_normalized", "generation")
ROLES: tuple[Role, ...] = ("model", "baseline")
NO_TOPIC = "(no topic)"


@dataclass(frozen=True)
class NamedSet:
    """A question set as it is scored.

    Attributes:
        name: Its name in tables, unique in the stage.
        path: Its file.
        questions: In the file's order.
    """

    name: str
    path: str
    questions: tuple[Question, ...]


class Collected:
    """Raw results by role and kind of work, put where they belong as they come."""

    def __init__(self) -> None:
        self._values: dict[tuple[str, str], dict[int, Any]] = {}

    def add(self, task: Task, values: Sequence[Any]) -> None:
        """Take a task's results."""
        kept = self._values.setdefault((task.role, task.work), {})
        kept.update(zip(task.items, values, strict=True))

    def get(self, role: Role, work: str) -> list[Any]:
        """All results of a kind in the order of the inputs; empty where none was asked for."""
        kept = self._values.get((role, work), {})
        return [kept[i] for i in sorted(kept)]


def records(sets: Sequence[NamedSet], collected: Collected) -> Iterator[dict[str, Any]]:
    """One record for each set, method and question, with what each model did.

    Raises:
        DataError: If a model gave log-probabilities that are not numbers.
    """
    start = 0
    for item in sets:
        for method in METHODS:
            raw = {role: collected.get(role, method.removesuffix("_normalized")) for role in ROLES}
            for i, question in enumerate(item.questions, start):
                judged = {r: judge(question, method, raw[r][i]) for r in ROLES if raw[r]}
                if judged:
                    yield _record(item.name, method, question) | judged
        start += len(item.questions)


def _record(set_name: str, method: str, question: Question) -> dict[str, Any]:
    return {
        "set": set_name,
        "method": method,
        "id": question.id,
        "topic": question.topic,
        "question": question.question,
        "choices": list(question.choices),
        "answer": question.answer,
    }


def judge(question: Question, method: str, raw: Any) -> dict[str, Any]:
    """What one model did with one question by one method."""
    if method == "generation":
        parsed = answers.parse(raw, question.choices)
        return {
            "text": raw,
            "outcome": parsed.outcome,
            "chosen": parsed.chosen,
            "correct": question.is_right(parsed.chosen),
        }
    if not all(map(math.isfinite, raw)):
        raise DataError(
            f"question {question.id}: the model's log-probabilities are {raw}, not all numbers",
            "the model's weights are broken; look at its training loss",
        )
    chosen = answers.choose(raw, question.choices, normalized=method == "likelihood_normalized")
    return {
        "scores": [round(s, 6) for s in raw],
        "chosen": chosen,
        "correct": question.is_right(chosen),
    }


def summarize_sets(
    sets: Sequence[NamedSet], judged: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Each set's scores by method, paired tests and table of topics."""
    return [_summarize_set(item, [r for r in judged if r["set"] == item.name]) for item in sets]


def _summarize_set(item: NamedSet, judged: Sequence[dict[str, Any]]) -> dict[str, Any]:
    by_method = {m: [r for r in judged if r["method"] == m] for m in METHODS}
    by_method = {m: found for m, found in by_method.items() if found}
    headline = next(
        m for m in ("likelihood_normalized", "likelihood", "generation") if m in by_method
    )
    return {
        "name": item.name,
        "path": item.path,
        "questions": len(item.questions),
        "withEqualOptions": sum(q.has_equal_choices for q in item.questions),
        "headline": headline,
        "methods": {m: _compare(found) for m, found in by_method.items()},
        "topics": _topics(by_method[headline]),
    }


def _compare(judged: Sequence[dict[str, Any]]) -> dict[str, Any]:
    both = all("baseline" in r and "model" in r for r in judged)
    return {
        "model": _score(judged, "model"),
        "baseline": _score(judged, "baseline") if both else None,
        "paired": _paired(judged) if both else None,
    }


def _score(judged: Sequence[dict[str, Any]], role: str) -> dict[str, Any]:
    found = [r[role] for r in judged]
    correct, total = sum(f["correct"] for f in found), len(found)
    low, high = wilson(correct, total)
    outcomes = [f.get("outcome") for f in found]
    return {
        "correct": correct,
        "total": total,
        "accuracy": correct / total,
        "low": low,
        "high": high,
        "unparsable": outcomes.count("unparsable"),
        "refused": outcomes.count("refused"),
    }


def _paired(judged: Sequence[dict[str, Any]]) -> dict[str, Any]:
    pairs = [(r["model"]["correct"], r["baseline"]["correct"]) for r in judged]
    better, worse = pairs.count((True, False)), pairs.count((False, True))
    return {"better": better, "worse": worse, "p": mcnemar(better, worse)}


def _topics(judged: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    names = dict.fromkeys(r["topic"] or NO_TOPIC for r in judged)
    if set(names) == {NO_TOPIC}:
        return []
    rows = []
    for name in sorted(names):
        found = [r for r in judged if (r["topic"] or NO_TOPIC) == name]
        scores = {k: v for k, v in _compare(found).items() if k != "paired"}
        rows.append({"topic": name, "questions": len(found), **scores})
    return rows
