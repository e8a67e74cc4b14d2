from __future__ import annotations

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
    seen = Deduplicator()
    assert [seen.is_new(k) for k in (b"a", b"b", b"a")] == [True, True, False]
    assert b"a" in seen
    assert b"c" not in seen
