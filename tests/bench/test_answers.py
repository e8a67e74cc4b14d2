import pytest

from astrosage.bench.answers import choose, parse

CHOICES = ("Mars", "Venus", "Jupiter's moon", "Mars and Venus")


@pytest.mark.parametrize(
    ("text", "chosen", "outcome"),
    [
        ("B", 1, "letter"),
        ("b.", 1, "letter"),
        ("(C)", 2, "letter"),
        ("**A**", 0, "letter"),
        ("B. Venus", 1, "letter"),
        ("The answer is C.", 2, "letter"),
        ("Answer: D", 3, "letter"),
        ("I first thought the answer is A, but the answer is B", 1, "letter"),
        ("<think>Surely A. The answer is A.</think>\n\nB", 1, "letter"),
        (r"\boxed{C}", 2, "letter"),
        ("Venus", 1, "text"),
        ("It is Venus, of course.", 1, "text"),
        ("Mars and Venus", 3, "text"),
        ("A or B", None, "unparsable"),
        ("E", None, "unparsable"),
        ("", None, "unparsable"),
        ("I'm sorry, I cannot help with that", None, "refused"),
        ("A star is a ball of gas", None, "unparsable"),
    ],
)
def test_parse(text: str, chosen: int | None, outcome: str) -> None:
    parsed = parse(text, CHOICES)
    assert (parsed.chosen, parsed.outcome) == (chosen, outcome)


def test_normalising_keeps_long_options_from_being_held_back() -> None:
    scores, choices = [-4.0, -6.0], ["ab", "abcdefgh"]
    assert choose(scores, choices, normalized=False) == 0
    assert choose(scores, choices, normalized=True) == 1
    assert choose([-1.0, -1.0], ["a", "b"], normalized=False) == 0
