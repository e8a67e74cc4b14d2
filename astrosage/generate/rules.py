"""What an item must satisfy before a grader is asked."""

from __future__ import annotations

from typing import Any, NamedTuple

from astrosage.data.decontaminate import QuestionIndex
from astrosage.generate import checks
from astrosage.generate.passages import Passage
from astrosage.spec.chat import THINK_CLOSE, THINK_OPEN
from astrosage.spec.generate import GenerateSpec


class Fault(NamedTuple):
    """Why something is not taken.

    Attributes:
        reason: The kind, as it is counted.
        detail: What was found, in words.
    """

    reason: str
    detail: str


class Rules:
    """Checks items.

    Args:
        spec: The stage's spec.
        judged_by: The run's evaluation questions; None where nothing is kept apart from them.
    """

    def __init__(self, spec: GenerateSpec, judged_by: QuestionIndex | None = None) -> None:
        self._spec, self._judged_by = spec, judged_by

    def fault(self, item: dict[str, Any], passage: Passage, *, reasoned: bool) -> Fault | None:
        """The first thing that is wrong with an item.

        Args:
            item: As it was written.
            passage: What it was made from.
            reasoned: Whether it must have thoughts.
        """
        if self._spec.kind == "chat":
            return self._of_pair(item, reasoned)
        return self._of_question(item, passage)

    def _of_pair(self, item: dict[str, Any], reasoned: bool) -> Fault | None:
        thoughts = item.get("reasoning") or ""
        if reasoned and not thoughts:
            return Fault("noReasoning", "the answer has no thoughts")
        if found := checks.mention(item["question"], item["answer"], thoughts):
            return Fault("mentionsSource", f"“{found}”")
        if any(mark in item["answer"] + thoughts for mark in (THINK_OPEN, THINK_CLOSE)):
            return Fault("markup", "the answer holds marks of thoughts")
        if self._judged_by is not None:
            for text in (item["question"], f"{thoughts}\n\n{item['answer']}"):
                for needle in self._judged_by.find(text):
                    common = " ".join(needle.words)
                    return Fault("evaluation", f"question {needle.question}: “{common}”")
        return None

    def _of_question(self, item: dict[str, Any], passage: Passage) -> Fault | None:
        stem, correct, wrong = item["question"], item["correct"], item["wrong"]
        if found := checks.mention(stem, correct, *wrong):
            return Fault("mentionsSource", f"“{found}”")
        if found := checks.fault_of_options(correct, wrong):
            return Fault("options", found)
        if found := checks.fault_of_lengths(correct, wrong, self._spec.length_ratio):
            return Fault("lengths", found)
        if checks.gives_away(stem, correct, wrong):
            return Fault("givenAway", f"the question holds “{correct}”")
        if checks.supporting(item["support"], passage.text) is None:
            return Fault("support", "the supporting text does not stand in the article")
        return None
