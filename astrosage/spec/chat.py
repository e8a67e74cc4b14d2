"""What a prepare stage may be told about conversations, and how reasoning is switched and marked.

The marks and the switch are those of the endpoint, of benchmarks and of training alike, so that a
model is asked in the words that it was trained with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import Field

from astrosage.spec.base import SpecModel

THINK_OPEN, THINK_CLOSE = "<think>", "</think>"
"""Between these a model writes its reasoning, before the answer."""

State = Literal["on", "off"]
Layout = Literal["auto", "messages", "sharegpt", "alpaca", "nemotron", "openhermes"]
"""How a record of `format: chat` holds a conversation."""


def reasoning_switch(state: str) -> str:
    """The system prompt that asks for reasoning (``on``) or for none (``off``)."""
    return f"Reasoning: {state}"


def with_system_prompt(messages: Sequence[Mapping[str, str]], prompt: str) -> list[dict[str, str]]:
    """The messages with a system prompt, before their own system message if they have one."""
    copied = [dict(message) for message in messages]
    if copied and copied[0]["role"] == "system":
        copied[0]["content"] = f"{prompt}\n\n{copied[0]['content']}"
        return copied
    return [{"role": "system", "content": prompt}, *copied]


class Reasoning(SpecModel):
    """What becomes of reasoning traces, and which system prompt says that there is one."""

    traces: Literal["keep", "latest", "drop"] = "keep"
    """`<think>…</think>` before an answer: `keep` as recorded; `latest`: learnt with its answer but
    not shown before later ones, as clients send a conversation back without it; `drop`: neither."""
    switch: Literal["asRecorded", "flagged", "all"] = "asRecorded"
    """Which records get `promptOn` or `promptOff` as (the beginning of) their system message, in
    place of a switch that they have: none; those that say which they are (a field `reasoning: on`
    or `off`, or a system message that begins with a known switch); or all, the others by whether
    an answer has a trace."""
    prompt_on: Annotated[str, Field(min_length=1)] = reasoning_switch("on")
    """The system prompt of records with traces; Llama-Nemotron models know `detailed thinking
    on`."""
    prompt_off: Annotated[str, Field(min_length=1)] = reasoning_switch("off")
    """The system prompt of records without; for Llama-Nemotron `detailed thinking off`."""

    def prompt(self, state: State) -> str:
        """The system prompt of a state."""
        return self.prompt_on if state == "on" else self.prompt_off


class Chat(SpecModel):
    """How conversations become training sequences."""

    learn: Literal["all", "last"] = "all"
    """Which of the assistant's turns are learnt, but for those with `weight: 0`."""
    over_long: Literal["cut", "drop"] = "cut"
    """A conversation over `pack.sequenceLength` loses its last turns (`cut`), or is left out
    (`drop`); a first answer that is too long is left out in any case. Both are counted."""
    system: Literal["keep", "merge"] = "keep"
    """`merge` puts the system message at the head of the first user turn, for templates that take
    no system message (Gemma)."""
    reasoning: Reasoning = Reasoning()
    """Reasoning traces, and the system prompts that switch them."""
