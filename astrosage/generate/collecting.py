"""What is made of the drafts: chats as they come, questions once the whole set is known."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import IO, Any

from astrosage.generate import balance
from astrosage.generate.asking import Draft, Outcome
from astrosage.generate.checks import supporting
from astrosage.generate.likeness import Asked
from astrosage.generate.parsing import Grades
from astrosage.generate.passages import Passage
from astrosage.generate.rules import Fault
from astrosage.spec.chat import THINK_CLOSE, THINK_OPEN
from astrosage.spec.generate import GenerateSpec

GRADES = ("correctness", "standalone", "pertinence", "overall")
_SAMPLES = 3


class Collector:
    """Takes outcomes in order and writes what is taken, and what is not with its reason.

    Args:
        spec: The stage's spec.
        taken: Where records go, a line of JSON each.
        rejected: Where the rest goes.

    Attributes:
        counts: Passages and items by what became of them.
        reasons: What was not taken, by reason.
        grades: Given grades by their name and value.
        samples: The first few that were taken, and the first few of each reason.
        keys: Of questions: how many keys stand at each letter.
        lengths: Of questions: how many keys are the longest, and the shortest, option.
    """

    def __init__(self, spec: GenerateSpec, taken: IO[str], rejected: IO[str]) -> None:
        self._spec, self._taken, self._rejected = spec, taken, rejected
        self._asked = Asked(nearly=spec.kind == "questions")
        self._held: list[Draft] = []
        self.counts: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.grades: dict[str, Counter[str]] = {name: Counter() for name in GRADES}
        self.samples: dict[str, list[dict[str, Any]]] = {}
        self.keys: Counter[str] = Counter()
        self.lengths = (0, 0)

    def add(self, outcome: Outcome) -> None:
        """What came of a passage."""
        self.counts["passages"] += 1
        if outcome.fault is not None:
            self.counts["passagesWithout"] += 1
            self._reject(outcome.fault, outcome.passage, None, None)
        for draft in outcome.drafts:
            self._draft(draft)

    def close(self) -> None:
        """All passages are done: questions are arranged and written."""
        if self._spec.kind != "questions":
            return
        options = [(d.item["correct"], d.item["wrong"]) for d in self._held]
        out = balance.surplus(options)
        keys = balance.letters(self._spec.seed)
        for i, draft in enumerate(self._held):
            if i in out:
                told = "the right option is the longest, or shortest, more often than by chance"
                self._reject(Fault("lengthBias", told), draft.passage, draft.item, draft.grades)
                continue
            key = next(keys)
            self.keys[key] += 1
            self._take(_question(draft, key, self._spec.seed))
        self.lengths = balance.leads([o for i, o in enumerate(options) if i not in out])

    def _draft(self, draft: Draft) -> None:
        self.counts["items"] += 1
        if draft.grades is not None:
            self.counts["graded"] += 1
            for name in GRADES:
                self.grades[name][f"{getattr(draft.grades, name):g}"] += 1
        fault = draft.fault
        if fault is None and (twin := self._asked.like(draft.item["question"])) is not None:
            fault = Fault("repeated", f"as {twin}")
        if fault is not None:
            self._reject(fault, draft.passage, draft.item, draft.grades)
            return
        self._asked.add(_name(draft), draft.item["question"])
        if self._spec.kind == "questions":
            self._held.append(draft)
        else:
            self._take(_chat(draft))

    def _take(self, record: dict[str, Any]) -> None:
        self.counts["accepted"] += 1
        self._sample("accepted", record)
        self._taken.write(json.dumps(record, ensure_ascii=False) + "\n")

    def _reject(
        self,
        fault: Fault,
        passage: Passage,
        item: Mapping[str, Any] | None,
        grades: Grades | None,
    ) -> None:
        self.reasons[fault.reason] += 1
        record = {
            "reason": fault.reason,
            "detail": fault.detail,
            **_origin(passage),
            **({"item": dict(item)} if item is not None else {}),
            **({"grades": grades.model_dump()} if grades is not None else {}),
        }
        self._sample(fault.reason, record)
        self._rejected.write(json.dumps(record, ensure_ascii=False) + "\n")

    def _sample(self, what: str, record: dict[str, Any]) -> None:
        found = self.samples.setdefault(what, [])
        if len(found) < _SAMPLES:
            found.append(record)


def _name(draft: Draft) -> str:
    return f"{draft.passage.id}-{draft.number + 1}"


def _chat(draft: Draft) -> dict[str, Any]:
    """A record of training data, as a prepare stage reads it."""
    answer = draft.item["answer"]
    if draft.reasoned:
        answer = f"{THINK_OPEN}\n{draft.item['reasoning']}\n{THINK_CLOSE}\n\n{answer}"
    return {
        "id": _name(draft),
        "messages": [
            {"role": "user", "content": draft.item["question"]},
            {"role": "assistant", "content": answer},
        ],
        "reasoning": "on" if draft.reasoned else "off",
        "license": draft.passage.license,
        "provenance": _provenance(draft),
    }


def _question(draft: Draft, key: str, seed: int) -> dict[str, Any]:
    """A question in this project's layout, as a bench stage reads it."""
    item, name = draft.item, _name(draft)
    return {
        "id": name,
        "question": item["question"],
        "choices": balance.arranged(item["correct"], item["wrong"], key, name, seed),
        "answer": key,
        "explanation": item["explanation"],
        "support": supporting(item["support"], draft.passage.text),
        "article": draft.passage.record,
        "license": draft.passage.license,
        "provenance": _provenance(draft),
    }


def _provenance(draft: Draft) -> dict[str, Any]:
    graded = {"grader": draft.grader, "grades": draft.grades.model_dump()} if draft.grades else {}
    return {**_origin(draft.passage), "writer": draft.writer, **graded}


def _origin(passage: Passage) -> dict[str, Any]:
    return {
        "passage": passage.digest,
        "record": passage.record,
        "source": passage.source,
        "line": passage.line,
    }
