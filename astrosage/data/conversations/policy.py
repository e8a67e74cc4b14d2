"""What a stage wants of reasoning: traces kept or dropped, system prompts that switch them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from astrosage.data.conversations.messages import Message, is_learnt
from astrosage.data.conversations.traces import has_marks, parted
from astrosage.data.records import Record
from astrosage.spec.chat import Chat, State, reasoning_switch, with_system_prompt

# How system messages of known data sets switch reasoning, by their first line in lower case.
_KNOWN: dict[str, State] = {
    "detailed thinking on": "on",
    "detailed thinking off": "off",
    reasoning_switch("on").lower(): "on",
    reasoning_switch("off").lower(): "off",
}
_OTHER: dict[State, State] = {"on": "off", "off": "on"}


class Policy:
    """Brings records into the form that the stage asks for.

    Args:
        options: What it asks for.

    Attributes:
        counts: ``traces``: answers with a trace; ``tracesDropped``: those that lost it;
            ``emptyTraces``: answers with marks and nothing between them; ``switchedOn``,
            ``switchedOff``: records that were given a system prompt; ``offWithTrace``: records
            that say ``off`` and have a trace, which is dropped; ``onWithoutTrace``: records that
            say ``on`` and have none, which become ``off``; ``systemMerged``: records whose system
            message went into the first user turn; ``unweighted``: answers that their record shows
            but does not want learnt.
    """

    def __init__(self, options: Chat) -> None:
        self._options, self._reasoning = options, options.reasoning
        self._known = dict(_KNOWN)
        for state in _OTHER:
            self._known[self._reasoning.prompt(state).strip().lower()] = state
        self.counts: Counter[str] = Counter()

    def apply(self, record: Record) -> Record:
        """The record as the stage wants it."""
        messages = [dict(m) for m in record.messages]
        stated = record.reasoning or self._recorded(messages)
        has_trace = self._count(messages)
        switches = self._reasoning.switch != "asRecorded"
        drops = self._reasoning.traces == "drop"
        if has_trace and (drops or (switches and stated == "off")):
            self.counts["offWithTrace"] += not drops
            messages = self._without_traces(messages)
            has_trace = False
            stated = stated and "off"
        if switches:
            messages = self._switched(messages, stated, has_trace, drops)
        elif drops and self._recorded(messages) == "on":
            messages = self._reversed(messages)
        if self._options.system == "merge":
            messages = self._merged(messages)
        return replace(record, messages=tuple(messages))

    def _count(self, messages: list[Message]) -> bool:
        """Whether what is learnt has a trace."""
        answers = [m for m in messages if m["role"] == "assistant"]
        thoughtful = [bool(parted(m["content"]).thought) for m in answers]
        learnt = [t for m, t in zip(answers, thoughtful, strict=True) if is_learnt(m)]
        self.counts["traces"] += sum(thoughtful)
        marked = sum(has_marks(m["content"]) for m in answers)
        self.counts["emptyTraces"] += marked - sum(thoughtful)
        self.counts["unweighted"] += len(answers) - len(learnt)
        return any(learnt[-1:] if self._options.learn == "last" else learnt)

    def _recorded(self, messages: list[Message]) -> State | None:
        """What the system message says, if it says anything."""
        if not messages or messages[0]["role"] != "system":
            return None
        return self._known.get(_first_line(messages[0]).lower())

    def _without_traces(self, messages: list[Message]) -> list[Message]:
        result = []
        for message in messages:
            if message["role"] == "assistant" and has_marks(message["content"]):
                thought, text = parted(message["content"])
                self.counts["tracesDropped"] += bool(thought)
                message = {**message, "content": text}
            result.append(message)
        return result

    def _switched(
        self, messages: list[Message], stated: State | None, has_trace: bool, dropped: bool
    ) -> list[Message]:
        """With the system prompt of its state, where it has one."""
        state = stated
        if state is None and self._reasoning.switch == "all":
            state = "on" if has_trace else "off"
        if state is None:
            return messages
        if state == "on" and not has_trace:
            self.counts["onWithoutTrace"] += not dropped
            state = "off"
        self.counts["switchedOn" if state == "on" else "switchedOff"] += 1
        return self._prompted(messages, self._reasoning.prompt(state))

    def _reversed(self, messages: list[Message]) -> list[Message]:
        """Whose recorded ``on`` is turned to ``off`` in its own words, since its traces went."""
        line = _first_line(messages[0])
        own = line.lower() == self._reasoning.prompt_on.strip().lower()
        off = self._reasoning.prompt_off if own else f"{line[: -len('on')]}off"
        self.counts["switchedOff"] += 1
        return self._prompted(messages, off)

    def _prompted(self, messages: list[Message], prompt: str) -> list[Message]:
        """With this system prompt, in place of a switch that is there."""
        if self._recorded(messages):
            system, *messages = messages
            rest = system["content"].strip().partition("\n")[2].strip()
            messages = [{**system, "content": rest}] * bool(rest) + messages
        return with_system_prompt(messages, prompt)

    def _merged(self, messages: list[Message]) -> list[Message]:
        if messages[0]["role"] != "system":
            return messages
        self.counts["systemMerged"] += 1
        system, user, *others = messages
        text = "\n\n".join(t for t in (system["content"], user["content"]) if t)
        return [{**user, "content": text}, *others]


def _first_line(message: Message) -> str:
    return message["content"].strip().partition("\n")[0].strip()
