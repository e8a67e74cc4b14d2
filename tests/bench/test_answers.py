from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astrosage.bench.answers import Answer, choose, parse, read
from astrosage.bench.questions import LETTERS

CHOICES = ("A star", "Two planets", "The rotation axis stands almost upright", "1.5 kpc")


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("B", 1),
        (" b ", 1),
        ("B.", 1),
        ("(B)", 1),
        ("[C]", 2),
        ("B) Two planets", 1),
        ("B Two planets", 1),
        ("**B**", 1),
        ("**B. Two planets**", 1),
        ("`D`", 3),
        (r"\boxed{C}", 2),
        (r"$\boxed{\text{C}}$", 2),
        ("Option B", 1),
        ("Answer: B", 1),
        ("The answer is B because A is wrong.", 1),
        ("The correct answer is (D).", 3),
        ("The answer is **C**", 2),
        ("The answer is A. No, the answer is B.", 1),
        ("<think>A or B? The answer is A.</think>\n\nB", 1),
        ("C\nExplanation: A and B are wrong.", 2),
        ("A. B stars are hot", 0),
        ("I think it is (C)", 2),
    ],
)
def test_letters(text: str, chosen: int) -> None:
    parsed = parse(text, CHOICES)
    assert (parsed.chosen, parsed.outcome) == (chosen, "letter")


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("A star", 0),
        ("two planets.", 1),
        ("It must be 1.5 kpc from here", 3),
        ("The answer is a star", 0),
        ("The rotation axis stands", 2),
    ],
)
def test_option_texts(text: str, chosen: int) -> None:
    parsed = parse(text, CHOICES)
    assert (parsed.chosen, parsed.outcome) == (chosen, "text")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "A or B",
        "A and B",
        "A, B",
        "A. B. C. D.",
        "(A) or (B)",
        "E",
        "Galaxies",
        "A planet",
        "A star or two planets",
        "B-type stars",
        "The",
    ],
)
def test_what_names_no_one_option_is_unparsable(text: str) -> None:
    parsed = parse(text, CHOICES)
    assert (parsed.chosen, parsed.outcome) == (None, "unparsable")


@pytest.mark.parametrize(
    "text",
    [
        "<think>The answer is A, since",
        "<think>First.</think> <think>The answer is B, but",
        "<think>\nI cannot say which",
    ],
)
def test_an_answer_cut_within_thoughts_is_an_outcome_of_its_own(text: str) -> None:
    parsed = parse(text, CHOICES)
    assert (parsed.chosen, parsed.outcome) == (None, "cut")


def test_what_was_said_before_the_thoughts_counts() -> None:
    assert parse("B. <think>or is it A", CHOICES).chosen == 1


def test_how_an_answer_ended_counts_where_it_chooses_nothing() -> None:
    assert read(Answer("", thinking=True), CHOICES).outcome == "cut"
    assert read(Answer("", problem="an error"), CHOICES).outcome == "failed"
    assert read(Answer("Hm", limited=True), CHOICES).outcome == "unparsable"
    assert read(Answer("B", limited=True), CHOICES).chosen == 1
    assert read("B", CHOICES).chosen == 1


@pytest.mark.parametrize(
    "text", ["I'm sorry, but I", "I cannot answer that.", "As an AI language", "I don\u2019t know"]
)
def test_refusals_are_counted_apart(text: str) -> None:
    assert parse(text, CHOICES) == parse("I cannot say", CHOICES)
    assert parse(text, CHOICES).outcome == "refused"


def test_an_option_inside_another_does_not_count() -> None:
    assert parse("It is 10 kpc across", ("10 kpc across", "10 kpc")).chosen == 0


@given(st.integers(0, 9), st.sampled_from(["{}", "{}.", "({})", "{}) x", "Answer: {}", "**{}**"]))
def test_every_letter_of_ten(index: int, form: str) -> None:
    choices = [f"option text {i}" for i in range(10)]
    assert parse(form.format(LETTERS[index]), choices).chosen == index


@given(st.text(max_size=80), st.lists(st.text(max_size=8), min_size=2, max_size=10))
def test_any_text_is_read_without_failing(text: str, choices: list[str]) -> None:
    parsed = parse(text, choices)
    assert (parsed.chosen is None) == (parsed.outcome in ("refused", "unparsable"))
    assert parsed.chosen is None or 0 <= parsed.chosen < len(choices)


def test_length_normalisation_and_ties() -> None:
    choices = ("a", "a much longer option")
    assert choose([-3.0, -20.0], choices, normalized=False) == 0
    assert choose([-3.0, -20.0], choices, normalized=True) == 1
    assert choose([-2.0, -2.0], ("ab", "cd"), normalized=True) == 0
