from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from hypothesis import given, settings
from hypothesis import strategies as st

from astrosage.serve.text import Detokenizer, ReasoningSplitter, StopScanner
from astrosage.serve.tokens import Tokens
from tests import tiny

# Few letters, so that stop texts and their beginnings are met often.
LETTERS = st.text("ab\n", max_size=30)


@cache
def tokens() -> Tokens:
    folder = Path(mkdtemp(prefix="astrosage-test-"))
    tiny.make_tokenizer(folder)
    return Tokens.load(folder)


def cut(text: str, places: list[int]) -> list[str]:
    edges = [0, *sorted(p % (len(text) + 1) for p in places), len(text)]
    return [text[a:b] for a, b in itertools.pairwise(edges)]


def pieces_of(ids: Iterable[int]) -> list[str]:
    detokenizer = Detokenizer(tokens().decode)
    pieces = [detokenizer.push(i) for i in ids]
    return [*pieces, detokenizer.flush()]


@given(st.text(max_size=40))
@settings(deadline=None)
def test_detokenised_pieces_of_a_text_are_whole_characters(text: str) -> None:
    pieces = pieces_of(tokens().encode(text))
    assert "".join(pieces) == text
    if "\ufffd" not in text:
        assert not any("\ufffd" in piece for piece in pieces)


@given(st.lists(st.integers(0, 511), max_size=80))
@settings(deadline=None)
def test_detokenised_pieces_of_any_tokens_equal_decoding_at_once(ids: list[int]) -> None:
    assert "".join(pieces_of(ids)) == tokens().decode(ids)


def test_detokeniser_holds_a_character_until_its_last_byte() -> None:
    ids = tokens().encode("a🪐b")
    pieces = pieces_of(ids)
    assert len(ids) == 6
    assert pieces == ["a", "", "", "", "🪐", "b", ""]


def test_detokeniser_gives_out_what_never_became_a_character() -> None:
    ids = tokens().encode("🪐")[:-1]
    assert pieces_of(ids)[-1] == tokens().decode(ids) == "\ufffd"


def scan(pieces: list[str], stops: list[str]) -> tuple[str, bool]:
    scanner, out = StopScanner(stops), ""
    for piece in pieces:
        ready, stopped = scanner.push(piece)
        out += ready
        if stopped:
            return out, True
    return out + scanner.flush(), False


def first_complete(text: str, stops: list[str]) -> tuple[str, bool]:
    for end in range(1, len(text) + 1):
        starts = [end - len(s) for s in stops if text[:end].endswith(s)]
        if starts:
            return text[: min(starts)], True
    return text, False


@given(
    LETTERS,
    st.lists(st.text("ab\n", min_size=1, max_size=4), max_size=3),
    st.lists(st.integers(0, 30)),
)
def test_stop_texts_are_found_wherever_the_text_is_cut(
    text: str, stops: list[str], places: list[int]
) -> None:
    assert scan(cut(text, places), stops) == first_complete(text, stops)


def test_nothing_of_a_possible_stop_text_gets_out_early() -> None:
    scanner = StopScanner(["\n\nQ:"])
    assert scanner.push("yes\n") == ("yes", False)
    assert scanner.push("\nQ") == ("", False)
    assert scanner.push("uite") == ("\n\nQuite", False)
    assert scanner.push("\n\nQ: x") == ("", True)


def split(push: Callable[[ReasoningSplitter], list[tuple[str, str]]]) -> tuple[str, str]:
    parts = push(ReasoningSplitter())
    return "".join(p[0] for p in parts), "".join(p[1] for p in parts)


@given(
    st.lists(
        st.sampled_from(["<think>", "</think>", "a", " ", "\n", "<", "<th", "</"]), max_size=12
    ).map("".join),
    st.lists(st.integers(0, 60)),
)
def test_reasoning_is_split_alike_wherever_the_text_is_cut(text: str, places: list[int]) -> None:
    whole = split(lambda s: [s.push(text), s.flush()])
    parts = split(lambda s: [*(s.push(piece) for piece in cut(text, places)), s.flush()])
    assert parts == whole


def test_reasoning_is_only_a_leading_block() -> None:
    assert split(lambda s: [s.push("\n<think>\nwhy\n</think>\n\nso"), s.flush()]) == ("why", "so")
    assert split(lambda s: [s.push("so <think>x</think>"), s.flush()])[1] == "so <think>x</think>"
    assert split(lambda s: [s.push("<think>cut off"), s.flush()]) == ("cut off", "")


def test_reasoning_that_the_prompt_has_opened() -> None:
    splitter = ReasoningSplitter(inside=True)
    assert splitter.push("\nwhy</think>so") == ("why", "so")
