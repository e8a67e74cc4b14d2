"""One passage: what is written from it, checked by rules, and graded by a second model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from pydantic import BaseModel

from astrosage.endpoints.client import Client
from astrosage.endpoints.replies import Reply, chat_reply
from astrosage.endpoints.spending import BudgetReachedError
from astrosage.generate import parsing, prompts
from astrosage.generate.nonsense import Nonsense
from astrosage.generate.parsing import Grades, NonsenseError
from astrosage.generate.passages import Passage
from astrosage.generate.rules import Fault, Rules
from astrosage.spec.generate import GenerateSpec, Grader, Writer

_SHOWN = 4000  # characters of a reply that its writer is shown again
_SAMPLE = 200  # characters of one that stands among what was not taken
Value = TypeVar("Value")


@dataclass(frozen=True)
class Draft:
    """An item that was written.

    Attributes:
        passage: What it was made from.
        number: Which of the passage's items.
        item: As it was written.
        reasoned: Whether thoughts belong to it.
        writer: The writer's model, as the service names it.
        grades: The grader's, if it was graded.
        grader: The grader's model.
        fault: Why it is not taken; None if it is.
    """

    passage: Passage
    number: int
    item: dict[str, Any]
    reasoned: bool
    writer: str
    grades: Grades | None = None
    grader: str | None = None
    fault: Fault | None = None


@dataclass(frozen=True)
class Outcome:
    """What came of a passage.

    Attributes:
        passage: The passage.
        drafts: Its items.
        fault: Why there are none.
    """

    passage: Passage
    drafts: list[Draft] = field(default_factory=list)
    fault: Fault | None = None


class _UnansweredError(Exception):
    """The service gave no answer; its text says what came instead."""


class Asking:
    """Holds the conversations.

    Args:
        spec: The stage's spec.
        rules: What drafts are checked by.
        writer: The service that writes.
        grader: The service that grades; None for none.
        where: The stage's place in the run file.
    """

    def __init__(
        self, spec: GenerateSpec, rules: Rules, writer: Client, grader: Client | None, where: str
    ) -> None:
        self._spec, self._rules = spec, rules
        self._writer, self._grader = writer, grader
        self.nonsense = {
            "writer": Nonsense(f"{where}.writer", spec.writer.model, spec.max_nonsense),
            "grader": Nonsense(
                f"{where}.grader", spec.grader.model if spec.grader else "", spec.max_nonsense
            ),
        }

    async def about(self, passage: Passage) -> Outcome:
        """Write about a passage, check and grade.

        Raises:
            BudgetReachedError: If nothing may be spent any more.
            AstroError: If a service cannot be used.
        """
        spec = self._spec
        reasoned = passage.share("reasoning", spec.seed) < spec.reasoning
        name = "pairs" if spec.kind == "chat" else "questions"
        schema = parsing.Pair if spec.kind == "chat" else parsing.Choice
        try:
            found, model = await self._conversation(
                "writer",
                prompts.writing(spec, passage, reasoned=reasoned),
                prompts.form(spec, reasoned=reasoned),
                lambda text: parsing.items(text, name, schema, spec.items),
            )
        except NonsenseError as error:
            return Outcome(passage, fault=Fault("nonsense", str(error)))
        except _UnansweredError as error:
            return Outcome(passage, fault=Fault("noAnswer", str(error)))
        drafts = [
            Draft(passage, i, _plain(item, reasoned), reasoned, model)
            for i, item in enumerate(found)
        ]
        return Outcome(passage, await _all([self._judged(draft) for draft in drafts]))

    async def _judged(self, draft: Draft) -> Draft:
        fault = self._rules.fault(draft.item, draft.passage, reasoned=draft.reasoned)
        if fault is not None or self._grader is None:
            return replace(draft, fault=fault)
        try:
            grades, model = await self._conversation(
                "grader",
                prompts.grading(self._spec, draft.passage, draft.item),
                prompts.grade_form(),
                parsing.grades,
            )
        except (NonsenseError, _UnansweredError) as error:
            return replace(draft, fault=Fault("notGraded", str(error)))
        assert self._spec.grader is not None
        return replace(draft, grades=grades, grader=model, fault=verdict(grades, self._spec.grader))

    async def _conversation(
        self,
        role: str,
        messages: list[prompts.Message],
        wanted: str,
        read: Callable[[str], Value],
    ) -> tuple[Value, str]:
        """Ask, and once more where the reply cannot be used; with the model that answered."""
        reply = await self._ask(role, messages)
        try:
            found = _read(reply, read)
        except NonsenseError as error:
            shown = reply.text[:_SHOWN]
            reply = await self._ask(role, prompts.again(messages, shown, str(error), wanted))
            try:
                found = _read(reply, read)
            except NonsenseError as second:
                begin = " ".join(reply.text.split())[:_SAMPLE]
                told = f"{second}; the reply begins: {begin or '(nothing)'}"
                self.nonsense[role].note(sample=told)
                raise NonsenseError(told) from None
        self.nonsense[role].note(sample=None)
        return found, reply.model or self._options(role).model

    async def _ask(self, role: str, messages: list[prompts.Message]) -> Reply:
        client = self._writer if role == "writer" else self._grader
        options = self._options(role)
        assert client is not None
        fields = {
            "messages": messages,
            "max_tokens": options.max_new_tokens,
            "temperature": options.temperature,
            "seed": self._spec.seed,
            **options.options,
        }
        body = {name: value for name, value in fields.items() if value is not None}
        prompt = "\n".join(m["content"] for m in messages)
        reply = await client.ask(
            "chat/completions",
            body,
            lambda data: chat_reply(data, prompt, options.max_new_tokens),
        )
        client.check()
        if reply.problem is not None:
            raise _UnansweredError(reply.problem)
        return reply

    def _options(self, role: str) -> Writer | Grader:
        if role == "writer":
            return self._spec.writer
        assert self._spec.grader is not None
        return self._spec.grader


def verdict(grades: Grades, least: Grader) -> Fault | None:
    """The first grade, the overall one first, that is below what is asked."""
    for name in ("overall", "correctness", "standalone", "pertinence"):
        given, wanted = getattr(grades, name), getattr(least, name)
        if given < wanted:
            return Fault("grade", f"{name} {given:g}, at least {wanted:g}: {grades.comment}")
    return None


def _read(reply: Reply, read: Callable[[str], Value]) -> Value:
    try:
        return read(reply.text)
    except NonsenseError as error:
        if reply.limited or reply.thinking:
            raise NonsenseError(f"it was cut off before its end ({error}); be shorter") from None
        raise


def _plain(item: BaseModel, reasoned: bool) -> dict[str, Any]:
    """An item as plain data, without thoughts that nobody asked for."""
    return item.model_dump(exclude_none=True, exclude=None if reasoned else {"reasoning"})


async def _all(asked: Sequence[Coroutine[Any, Any, Value]]) -> list[Value]:
    """All of them; a budget that is used up is told only if nothing worse happened."""
    found = await asyncio.gather(*asked, return_exceptions=True)
    errors = [f for f in found if isinstance(f, BaseException)]
    for error in sorted(errors, key=lambda e: isinstance(e, BudgetReachedError)):
        raise error
    return [f for f in found if not isinstance(f, BaseException)]
