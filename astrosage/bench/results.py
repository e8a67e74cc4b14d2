"""From raw results to judged records."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from astrosage.bench import answers
from astrosage.bench.answers import Answer
from astrosage.bench.calibration import softmax
from astrosage.bench.inputs import NamedSet
from astrosage.bench.orders import order, ordered, original
from astrosage.bench.question import LETTERS, Question
from astrosage.bench.tasks import SHUFFLED, Done, Role, Task
from astrosage.endpoints.usage import Usage
from astrosage.errors import DataError

__all__ = ["METHODS", "ROLES", "Collected", "NamedSet", "judge", "records"]
METHODS = ("likelihood", "likelihood_normalized", "letter", "generation")
ROLES: tuple[Role, ...] = ("model", "baseline")


class Collected:
    """Raw results by role and kind of work, put where they belong as they come.

    Attributes:
        usage: Tokens by role and kind of work.
        seconds: Workers' time by role and kind of work.
    """

    def __init__(self) -> None:
        self._values: dict[tuple[str, str, int], dict[int, Any]] = {}
        self.usage: dict[tuple[str, str], Usage] = {}
        self.seconds: dict[tuple[str, str], float] = {}

    def add(self, done: Done) -> None:
        """Take a task's results."""
        task = done.task
        self.put(task, done.values)
        key = (task.role, task.work)
        self.usage[key] = self.usage.get(key, Usage()) + done.usage
        self.seconds[key] = self.seconds.get(key, 0.0) + done.seconds

    def put(self, task: Task, values: Sequence[Any]) -> None:
        """Take a task's results without its account."""
        kept = self._values.setdefault((task.role, task.work, task.order), {})
        kept.update(zip(task.items, values, strict=True))

    def get(self, role: Role, work: str, which: int = 0) -> list[Any]:
        """All results of a kind in the order of the inputs; empty where none was asked for."""
        kept = self._values.get((role, work, which), {})
        return [kept[i] for i in sorted(kept)]

    def orders(self, role: Role, work: str) -> int:
        """In how many orders of the options a kind of work was done."""
        return sum((r, w) == (role, work) for r, w, _ in self._values)


def records(
    sets: Sequence[NamedSet], collected: Collected, seed: int = 0
) -> Iterator[dict[str, Any]]:
    """One record for each set, method and question, with what each model did.

    Args:
        sets: The question sets.
        collected: Raw results.
        seed: As that of the orders of options.

    Raises:
        DataError: If a model gave log-probabilities that are not numbers.
    """
    start = 0
    for item in sets:
        for method in METHODS:
            raw = {role: _by_order(collected, role, method) for role in ROLES}
            for i, question in enumerate(item.questions, start):
                judged = {
                    r: _judge_all(question, method, [found[i] for found in raw[r]], seed)
                    for r in ROLES
                    if raw[r]
                }
                if judged:
                    yield _record(item.name, method, question) | judged
        start += len(item.questions)


def _by_order(collected: Collected, role: Role, method: str) -> list[list[Any]]:
    """A method's raw results, for each order of the options all questions."""
    work = method.removesuffix("_normalized")
    return [collected.get(role, work, k) for k in range(collected.orders(role, work))]


def _record(set_name: str, method: str, question: Question) -> dict[str, Any]:
    return {
        "set": set_name,
        "method": method,
        "id": question.id,
        "topic": question.topic,
        "year": question.year,
        "question": question.question,
        "choices": list(question.choices),
        "answer": question.answer,
    }


def _judge_all(question: Question, method: str, raw: Sequence[Any], seed: int) -> dict[str, Any]:
    """What a model did with a question in the file's order of options, and in the others."""
    found = judge(question, method, raw[0])
    if method in SHUFFLED and len(raw) > 1:
        found["orders"] = [_in_order(question, method, r, k, seed) for k, r in enumerate(raw)]
    return found


def _in_order(question: Question, method: str, raw: Any, which: int, seed: int) -> dict[str, Any]:
    asked = ordered(question, which, seed)
    judged = judge(asked, method, raw)
    place = judged["chosen"]
    return {
        "order": list(order(question.id, len(question.choices), which, seed)),
        "letter": None if place is None else LETTERS[place],
        "key": None if asked.answer is None else LETTERS[asked.answer],
        "chosen": original(question, place, which, seed),
        "correct": judged["correct"],
    }


def judge(question: Question, method: str, raw: Any) -> dict[str, Any]:
    """What one model did with one question by one method; ``correct`` is None without a key."""
    judged = _written(question, raw) if method == "generation" else _scored(question, method, raw)
    right = question.is_right(judged["chosen"]) if question.answer is not None else None
    return judged | {"correct": right}


def _written(question: Question, raw: Answer | str) -> dict[str, Any]:
    answer = raw if isinstance(raw, Answer) else Answer(raw)
    parsed = answers.read(answer, question.choices)
    found = {"text": answer.text, "outcome": parsed.outcome, "chosen": parsed.chosen}
    if answer.limited:
        found["limited"] = True
    if answer.reasoning_tokens:
        found["reasoningTokens"] = answer.reasoning_tokens
    if answer.problem is not None:
        found["problem"] = answer.problem
    return found


def _scored(question: Question, method: str, raw: Sequence[float]) -> dict[str, Any]:
    if not all(map(math.isfinite, raw)):
        raise DataError(
            f"question {question.id}: the model's log-probabilities are {raw}, not all numbers",
            "the model's weights are broken; look at its training loss",
        )
    normalized = method == "likelihood_normalized"
    chosen = answers.choose(raw, question.choices, normalized=normalized)
    values = answers.compared(raw, question.choices, normalized=normalized)
    return {
        "scores": [round(s, 6) for s in raw],
        "chosen": chosen,
        "confidence": round(softmax(values)[chosen], 6),
    }
