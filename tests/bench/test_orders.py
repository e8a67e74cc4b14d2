from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from astrosage.bench.orders import order, ordered, original
from astrosage.bench.question import Question

names = st.text(min_size=1, max_size=8)


@given(names, st.integers(2, 10), st.integers(0, 40), st.integers(0, 3))
def test_an_order_is_a_permutation_and_always_the_same(
    name: str, options: int, which: int, seed: int
) -> None:
    found = order(name, options, which, seed)
    assert sorted(found) == list(range(options))
    assert found == order(name, options, which, seed)


@given(names, st.integers(2, 10), st.integers(0, 5), st.integers(0, 3))
def test_within_a_round_each_option_stands_at_each_letter_once(
    name: str, options: int, around: int, seed: int
) -> None:
    rounds = [order(name, options, around * options + k, seed) for k in range(options)]
    for place in range(options):
        assert Counter(r[place] for r in rounds) == Counter(range(options))


@given(st.integers(2, 10).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n - 1))), names,
       st.integers(0, 30), st.integers(0, 3))  # fmt: skip
def test_key_and_choice_move_with_the_options(
    sizes: tuple[int, int], name: str, which: int, seed: int
) -> None:
    options, key = sizes
    question = Question(name, "Which?", tuple(f"option {i}" for i in range(options)), key)
    asked = ordered(question, which, seed)
    assert asked.answer is not None
    assert asked.choices[asked.answer] == question.choices[key]
    for place, text in enumerate(asked.choices):
        chosen = original(question, place, which, seed)
        assert chosen is not None
        assert question.choices[chosen] == text
    assert original(question, None, which, seed) is None


def test_the_first_order_is_the_file_s_own() -> None:
    question = Question("q", "Which?", ("a", "b", "c"), None)
    assert ordered(question, 0, 5) is question
    assert ordered(question, 1, 5).choices == ("b", "c", "a")
    assert ordered(question, 1, 5).answer is None


def test_later_rounds_depend_on_the_seed() -> None:
    assert len({order("q", 6, 6, seed) for seed in range(20)}) > 10
