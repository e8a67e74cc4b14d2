from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astrosage.generate import checks


@pytest.mark.parametrize(
    "text",
    [
        "According to the article, why do stars shine?",
        "What does this paper show?",
        "What did the authors find?",
        "As shown in Figure 3, what follows?",
        "By eq. (4), what is the mass?",
        "What is described above?",
        "In this work, what was measured?",
        "Which value does the study give?",
        "What does the passage say of novae?",
        "Which of the numbers in the table is largest?",
        "What does the white paper say?",
        "Based on the provided information, which is it?",
    ],
)
def test_what_points_to_its_source(text: str) -> None:
    assert checks.mention("plain", text) is not None


@pytest.mark.parametrize(
    "text",
    [
        "What does the study of pulsars tell of gravity?",
        "What is heated by the passage of a shock?",
        "Which elements stand left in a periodic table?",
        "How is the cross section of a neutrino measured?",
        "Why does a figure of eight appear in the analemma?",
        "Which paper-thin disks are stable?",
        "What is the text-book value of the solar mass?".replace("the text-book", "the usual"),
    ],
)
def test_what_does_not(text: str) -> None:
    assert checks.mention(text) is None


def test_options() -> None:
    assert checks.fault_of_options("a", ["b", "c", "d"]) is None
    assert "equal" in str(checks.fault_of_options("a", ["b", "c", " A "]))
    assert "not four" in str(checks.fault_of_options("a", ["b", "c"]))
    for other in ("All of the above", "none of these", "Both A and B"):
        assert "about the others" in str(checks.fault_of_options("a", ["b", "c", other]))


def test_lengths() -> None:
    same = ["a star of ten", "a star of two", "a star of six"]
    assert checks.fault_of_lengths("a star of one", same, 1.5) is None
    assert checks.fault_of_lengths("5 km", ["12,000 km", "7 km", "9 km"], 1.1) is None
    assert "times as long" in str(checks.fault_of_lengths("a star of one" * 3, same, 2.0))
    assert "stands out" in str(checks.fault_of_lengths("a star of one and two", same, 2.0))
    long = [option * 2 for option in same]
    assert "stands out" in str(checks.fault_of_lengths("a star of one one", long, 2.0))


@settings(deadline=None)
@given(st.lists(st.text("abc ", min_size=1, max_size=40), min_size=4, max_size=4))
def test_lengths_do_not_depend_on_the_order_of_the_wrong_options(options: list[str]) -> None:
    correct, *wrong = options
    found = checks.fault_of_lengths(correct, wrong, 1.5)
    assert found == checks.fault_of_lengths(correct, wrong[::-1], 1.5)


def test_a_stem_that_holds_its_answer() -> None:
    wrong = ["a dwarf", "a giant", "a comet"]
    assert checks.gives_away("Is it a Nova, or what?", "a nova", wrong)
    assert not checks.gives_away("Which is larger, a nova or a comet?", "a nova", wrong)
    assert not checks.gives_away("What is it?", "a nova", wrong)


TEXT = "First come words.\n\nStars—hot balls of gas—shine, since they fuse.\n\nThen they end."


def test_support_is_the_text_s_own_paragraph() -> None:
    whole = "Stars—hot balls of gas—shine, since they fuse."
    assert checks.supporting("stars - hot balls of gas - shine since", TEXT) == whole
    assert (
        checks.supporting("since they fuse. Then they end.", TEXT) == f"{whole}\n\nThen they end."
    )
    assert checks.supporting("Stars are cold balls of gas", TEXT) is None
    assert checks.supporting("they fuse", TEXT) is None, "too short to tell"


@settings(deadline=None)
@given(st.lists(st.text("abc ", min_size=1, max_size=30), min_size=1, max_size=5), st.data())
def test_every_run_of_words_of_a_text_is_found_in_it(parts: list[str], data: st.DataObject) -> None:
    text = "\n\n".join(parts)
    words = text.split()
    begin = data.draw(st.integers(0, len(words)))
    run = words[begin : begin + data.draw(st.integers(5, 30))]
    found = checks.supporting(" ".join(run), text)
    if len(run) >= 5:
        assert found is not None
        assert checks.is_in(checks.words(" ".join(run)), checks.words(found))
