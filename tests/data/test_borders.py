from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astrosage.data.borders import Borders
from astrosage.data.tokenise import load_tokenizer

TOKENS = ["<|im_start|>", "<|im_end|>"]
CONTROL = re.compile("|".join(map(re.escape, TOKENS)))


@pytest.fixture(scope="module")
def backend(tiny_model: Path) -> Any:
    return load_tokenizer(tiny_model).backend_tokenizer


def ids(backend: Any, text: str) -> list[int]:
    return list(backend.encode(text, add_special_tokens=False).ids)


@given(
    parts=st.lists(st.sampled_from([*TOKENS, "a", "star", " ", "\n", "ing", "é"]), min_size=1),
    cuts=st.sets(st.integers(1, 30), max_size=4),
)
def test_a_beginning_has_so_many_tokens_or_it_is_not_told(
    backend: Any, parts: list[str], cuts: set[int]
) -> None:
    text = "".join(parts)
    ends = sorted(end for end in cuts if end <= len(text))
    whole = ids(backend, text)
    for end in ends:
        found = Borders(backend, CONTROL, TOKENS).find(text, whole, [end])
        own = ids(backend, text[:end])
        if found is not None:
            assert whole[: found[0]] == own
        elif CONTROL.match(text) and not any(
            mark.start() < end < mark.end() for mark in CONTROL.finditer(text)
        ):
            assert whole[: len(own)] != own


def test_ends_in_a_row(backend: Any) -> None:
    text = "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb, c<|im_end|>"
    ends = [text.rindex("b,"), len(text)]
    found = Borders(backend, CONTROL, TOKENS).find(text, ids(backend, text), ends)
    assert found == [len(ids(backend, text[:end])) for end in ends]


@pytest.mark.parametrize("text", ["a star", "a <|im_end|>"])
def test_what_cannot_be_told(backend: Any, text: str) -> None:
    assert Borders(backend, CONTROL, TOKENS).find(text, ids(backend, text), [1]) is None


def test_a_token_across_the_end_is_seen(backend: Any) -> None:
    text = "<|im_start|>The sta"
    whole = ids(backend, f"{text}r")
    assert whole[: len(ids(backend, text))] != ids(backend, text)
    assert Borders(backend, CONTROL, TOKENS).find(f"{text}r", whole, [len(text)]) is None
