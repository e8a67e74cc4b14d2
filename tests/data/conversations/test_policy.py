from __future__ import annotations

from typing import Any

import pytest

from astrosage.data.conversations.policy import Policy
from astrosage.data.records import Record
from astrosage.spec.chat import Chat

TRACE = "<think>\nHm.\n</think>\n\nSo."


def record(*answers: str, system: str | None = None, flag: Any = None) -> Record:
    messages = [{"role": "system", "content": system}] if system is not None else []
    for answer in answers:
        messages += [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": answer}]
    return Record("c", "c.jsonl", 1, messages=tuple(messages), reasoning=flag)


def apply(chat: Record, **options: Any) -> tuple[str | None, list[str], dict[str, int]]:
    """The system message, the answers, and what was counted."""
    system = options.pop("system", "keep")
    policy = Policy(Chat.model_validate({"reasoning": options, "system": system}))
    messages = policy.apply(chat).messages
    first = messages[0]["content"] if messages[0]["role"] == "system" else None
    answers = [m["content"] for m in messages if m["role"] == "assistant"]
    return first, answers, dict(+policy.counts)


def test_nothing_changes_unless_asked_for() -> None:
    chat = record(TRACE, "So.", system="detailed thinking on", flag="on")
    assert Policy(Chat()).apply(chat) == chat
    assert apply(chat)[2] == {"traces": 1}


def test_dropped_traces_are_counted_and_the_recorded_switch_says_so() -> None:
    chat = record(TRACE, "<think>\n\n</think>\n\nSo.", system="detailed thinking on\n\nBe brief.")
    assert apply(chat, traces="drop") == (
        "detailed thinking off\n\nBe brief.",
        ["So.", "So."],
        {"traces": 1, "tracesDropped": 1, "emptyTraces": 1, "switchedOff": 1},
    )
    assert apply(record(TRACE, system="Be brief."), traces="drop")[0] == "Be brief."
    own = apply(record(TRACE, system="Think!"), traces="drop", promptOn="Think!", promptOff="No.")
    assert own[0] == "No."


@pytest.mark.parametrize(
    ("chat", "system", "counts"),
    [
        (record(TRACE, flag="on"), "Reasoning: on", {"switchedOn": 1}),
        (record("So.", flag="off"), "Reasoning: off", {"switchedOff": 1}),
        (record(TRACE, system="detailed thinking on"), "Reasoning: on", {"switchedOn": 1}),
        (
            record(TRACE, system="detailed thinking on\nBe brief."),
            "Reasoning: on\n\nBe brief.",
            {"switchedOn": 1},
        ),
        (
            record(TRACE, system="Be brief.", flag="on"),
            "Reasoning: on\n\nBe brief.",
            {"switchedOn": 1},
        ),
        (record("So.", flag="on"), "Reasoning: off", {"switchedOff": 1, "onWithoutTrace": 1}),
        (record(TRACE), None, {}),
    ],
)
def test_flagged_records_get_the_prompt_of_their_state(
    chat: Record, system: str | None, counts: dict[str, int]
) -> None:
    found = apply(chat, switch="flagged")
    assert found[0] == system
    found[2].pop("traces", None)
    assert found[2] == counts


def test_a_record_that_says_off_has_no_trace() -> None:
    system, answers, counts = apply(record(TRACE, flag="off"), switch="flagged")
    assert (system, answers) == ("Reasoning: off", ["So."])
    assert counts == {"traces": 1, "tracesDropped": 1, "offWithTrace": 1, "switchedOff": 1}


def test_all_records_by_what_they_have() -> None:
    prompts = {"promptOn": "detailed thinking on", "promptOff": "detailed thinking off"}
    assert apply(record(TRACE), switch="all", **prompts)[0] == "detailed thinking on"
    assert apply(record("So."), switch="all", **prompts)[0] == "detailed thinking off"
    dropped = apply(record(TRACE, flag="on"), switch="all", traces="drop", **prompts)
    assert dropped[0] == "detailed thinking off"
    assert "onWithoutTrace" not in dropped[2]


def test_of_several_answers_one_with_a_trace_is_enough_unless_only_the_last_is_learnt() -> None:
    chat = record(TRACE, "So.")
    assert apply(chat, switch="all")[0] == "Reasoning: on"
    last = Chat.model_validate({"reasoning": {"switch": "all"}, "learn": "last"})
    assert Policy(last).apply(chat).messages[0]["content"] == "Reasoning: off"


def test_an_answer_without_weight_neither_counts_as_learnt_nor_as_reasoning() -> None:
    chat = record(TRACE, "So.")
    chat.messages[1]["weight"] = "0"
    policy = Policy(Chat.model_validate({"reasoning": {"switch": "all"}}))
    made = policy.apply(chat).messages
    assert made[0]["content"] == "Reasoning: off"
    assert made[2]["weight"] == "0"
    assert dict(+policy.counts) == {"traces": 1, "switchedOff": 1, "unweighted": 1}


def test_the_system_message_goes_into_the_first_question() -> None:
    chat = record("So.", system="Be brief.")
    policy = Policy(Chat(system="merge"))
    assert policy.apply(chat).messages[0] == {"role": "user", "content": "Be brief.\n\nWhy?"}
    assert policy.apply(record("So.")) == record("So.")
    assert dict(+policy.counts) == {"systemMerged": 1}
    assert apply(record(TRACE), switch="all", system="merge")[0] is None
