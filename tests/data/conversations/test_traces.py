from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astrosage.data.conversations.traces import Answer, checked, has_marks, parted
from astrosage.errors import DataError

WHERE = "a.jsonl, line 2, messages[1]"


@pytest.mark.parametrize(
    ("content", "kept", "thought", "text"),
    [
        ("So.", "So.", "", "So."),
        ("<think>\nHm.\n</think>\n\nSo.", None, "Hm.", "So."),
        ("<think>Hm.</think>So.", None, "Hm.", "So."),
        ("\n<think>\n\n</think>\n\nSo.", None, "", "So."),
        ("Hm.\n</think>\n\nSo.", "<think>\nHm.\n</think>\n\nSo.", "Hm.", "So."),
        ("The mark <think> opens it.", None, "", "The mark <think> opens it."),
    ],
)
def test_what_is_taken(content: str, kept: str | None, thought: str, text: str) -> None:
    found = checked(content, WHERE)
    assert found == (content if kept is None else kept)
    assert parted(found) == Answer(thought, text)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("<think>\nHm.", "`<think>` is never closed"),
        ("<think>a</think>b<think>c</think>d", "several `<think>`"),
        ("<think>a <think> b</think>c", "several `<think>`"),
        ("a</think>b</think>c", "several `<think>`"),
        ("Sure. <think>a</think>b", "`<think>` does not begin the answer"),
        ("<think>a</think>\n\n", "no answer follows the reasoning"),
    ],
)
def test_what_is_refused(content: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        checked(content, WHERE)
    assert caught.value.message.startswith(WHERE)
    assert "onError: skip" in caught.value.hint


@given(st.lists(st.sampled_from(["<think>", "</think>", "a", " ", "\n"]), max_size=8).map("".join))
def test_what_is_taken_has_one_trace_or_none(content: str) -> None:
    try:
        found = checked(content, WHERE)
    except DataError:
        return
    assert checked(found, WHERE) == found
    thought, text = parted(found)
    assert "</think>" not in thought + text
    assert has_marks(found) == ("</think>" in content)
    assert not thought or has_marks(found)
