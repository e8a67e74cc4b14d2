from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from astrosage.data.deduplicate import Deduplicator, record_key
from astrosage.data.records import Record


def text(value: str) -> Record:
    return Record("x", "f", 1, text=value)


def chat(*turns: tuple[str, str]) -> Record:
    return Record("x", "f", 1, messages=tuple({"role": r, "content": c} for r, c in turns))


@given(st.lists(st.text(st.characters(categories=["L", "N"]), min_size=1), min_size=1))
def test_case_and_white_space_do_not_count(parts: list[str]) -> None:
    spaced = "\n\t ".join(parts)
    assert record_key(text(f" {spaced} ")) == record_key(text(" ".join(parts)))
    assert record_key(text(spaced.casefold())) == record_key(text(spaced))


def test_other_words_other_borders_other_roles_differ() -> None:
    records = [
        text("a star"),
        text("astar"),
        text("a star."),
        chat(("user", "a"), ("assistant", "star")),
        chat(("user", "a star"), ("assistant", "star")),
        chat(("system", "a"), ("assistant", "star")),
    ]
    assert len({record_key(r) for r in records}) == len(records)


def test_id_and_place_do_not_count() -> None:
    assert record_key(Record("a", "f", 1, "x")) == record_key(Record("b", "g", 2, "x"))


def test_only_the_first_is_new() -> None:
    a, b, c = (record_key(Record("x", "f", 1, text)) for text in "abc")
    seen = Deduplicator()
    assert [seen.is_new(k) for k in (a, b, a)] == [True, True, False]
    assert a in seen
    assert c not in seen


def test_keys_that_begin_alike_are_told_apart() -> None:
    one, other = bytes(16), bytes(8) + b"x" * 8
    seen = Deduplicator()
    assert [seen.is_new(k) for k in (one, other, one, other)] == [True, True, False, False]


def test_another_process_goes_on_with_those_that_count(tmp_path: Path) -> None:
    keys = [record_key(Record("x", "f", 1, str(n))) for n in range(300)]
    first = Deduplicator(tmp_path / "seen")
    assert all(first.is_new(k) for k in keys[:150])
    assert first.stored() == 150
    assert all(first.is_new(k) for k in keys[150:200])
    again = Deduplicator(tmp_path / "seen")
    again.restore(150)
    assert [again.is_new(k) for k in keys] == [False] * 150 + [True] * 150


def test_many_at_once_are_as_one_after_the_other() -> None:
    keys = [record_key(Record("x", "f", 1, str(n))) for n in range(100)]
    seen = Deduplicator()
    seen.add_many(np.frombuffer(b"".join(keys), np.uint8).reshape(-1, 16))
    assert len(seen) == 100
    assert not any(seen.is_new(k) for k in keys)
