from __future__ import annotations

import itertools
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from astrosage.generate import balance
from astrosage.generate.likeness import Asked

SETS = st.lists(
    st.tuples(
        st.integers(1, 30).map("x".__mul__),
        st.lists(st.integers(1, 30).map("y".__mul__), min_size=3, max_size=3),
    ),
    max_size=60,
)


@settings(deadline=None)
@given(SETS)
def test_what_remains_tells_no_key_by_length(questions: list[tuple[str, list[str]]]) -> None:
    out = balance.surplus(questions)
    kept = [q for i, q in enumerate(questions) if i not in out]
    for leading in balance.leads(kept):
        assert not balance.is_bias(leading, len(kept)) or not leading
    if not any(balance.is_bias(n, len(questions)) for n in balance.leads(questions)):
        assert out == set()


def test_chance() -> None:
    assert not balance.is_bias(1, 1)
    assert not balance.is_bias(2, 2)
    assert balance.is_bias(3, 3)
    assert not balance.is_bias(300, 1200)
    assert balance.is_bias(340, 1200)
    # The exact tail and the normal one agree where they meet.
    limits = [
        max(c for c in range(total + 1) if not balance.is_bias(c, total)) for total in (100, 101)
    ]
    assert abs(limits[0] - limits[1]) <= 1


@settings(deadline=None)
@given(st.integers(), st.integers(1, 80))
def test_keys_are_even_at_every_length_of_the_set(seed: int, count: int) -> None:
    keys = Counter(itertools.islice(balance.letters(seed), count))
    assert max(keys.values()) - min(keys[x] for x in balance.LETTERS) <= 1


@settings(deadline=None)
@given(st.sampled_from("ABCD"), st.text(max_size=5), st.integers())
def test_the_right_option_stands_at_its_letter(key: str, name: str, seed: int) -> None:
    options = balance.arranged("right", ["x", "y", "z"], key, name, seed)
    assert options["ABCD".index(key)] == "right"
    assert sorted(options) == ["right", "x", "y", "z"]


def test_questions_that_are_alike() -> None:
    equal, near = Asked(nearly=False), Asked(nearly=True)
    for asked in (equal, near):
        asked.add("one", "Why do massive stars end their lives as supernovae?")
        assert asked.like("why do massive  stars end their lives as supernovae") == "one"
        assert asked.like("Why do planets orbit?") is None
    assert near.like("Why do massive stars end their lives as bright supernovae?") == "one"
    assert equal.like("Why do massive stars end their lives as bright supernovae?") is None
