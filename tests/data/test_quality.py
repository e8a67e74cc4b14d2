from __future__ import annotations

from typing import Any

import pytest

from astrosage.data.cleaning import Cleaner
from astrosage.data.quality import c4, gopher
from astrosage.data.records import Record
from astrosage.data.repetition import repetition
from astrosage.spec.clean import C4, Clean, Gopher, Repetition
from tests.tiny import TEXT

GOOD = " ".join([*TEXT, "And so it is to be that we have them."])


def test_prose_passes_all() -> None:
    assert gopher(GOOD, Gopher(min_words=20)) is None
    assert repetition(GOOD, Repetition()) is None
    assert c4(GOOD, C4()) == (GOOD, 0, None)


@pytest.mark.parametrize(
    ("text", "options", "reason"),
    [
        ("the and", {}, "tooFewWords"),
        ("the and of it", {"maxWords": 3, "minWords": 1}, "tooManyWords"),
        ("a b c d e " * 20, {}, "meanWordLength"),
        ("the and # long word " * 20, {}, "symbols"),
        ("the and word... " * 20, {}, "symbols"),
        ("- the longest word\n" * 20, {}, "bulletLines"),
        ("the and word star cloud planet comet moon orbit light…\n" * 20, {}, "ellipsisLines"),
        ("the and 1234 5678 " * 20, {}, "alphabeticWords"),
        ("star cloud planet " * 20, {}, "stopWords"),
    ],
)
def test_gopher(text: str, options: dict[str, Any], reason: str) -> None:
    assert gopher(text, Gopher.model_validate(options)) == reason


NUMBERED = " ".join(f"word{i}" for i in range(300))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"same\nsame\nsame\n{NUMBERED[:20]}", "duplicateLines"),
        (f"{NUMBERED[:50]}\nx\ny\nz\nu\n{NUMBERED[:50]}", "duplicateLineCharacters"),
        ("one\ntwo\n\none\ntwo\n\nthree\nfour\nfive\nsix\nseven\neight", "duplicateParagraphs"),
        (" ".join(f"{NUMBERED[i * 8 : i * 8 + 7]}a red star" for i in range(20)), "top2gram"),
        (f"{NUMBERED} {NUMBERED[:700]}", "duplicate5grams"),
    ],
)
def test_repetition(text: str, reason: str) -> None:
    assert repetition(text, Repetition()) == reason


def test_a_word_in_several_repeated_ngrams_counts_once() -> None:
    phrase = "aaaa bbbb cccc dddd eeee ffff"
    text = f"{phrase} {NUMBERED[:170]} {phrase}"
    share = len(phrase.replace(" ", "")) / len(text)
    others = [1.0] * 5
    for bound, expected in ((share + 0.01, None), (share - 0.01, "duplicate5grams")):
        assert repetition(text, Repetition(max_duplicate_ngrams=[bound, *others])) == expected


def test_c4_drops_lines_and_documents() -> None:
    text = "Menu\nThis line is a whole sentence.\nAnother line of this kind, too!\nNot a sentence"
    assert c4(text, C4(min_sentences=2)) == (
        "This line is a whole sentence.\nAnother line of this kind, too!",
        2,
        None,
    )
    assert c4(text, C4())[2] == "tooFewSentences"
    assert c4("Lorem ipsum dolor sit amet.", C4())[2] == "loremIpsum"
    assert c4("It is {x}, they say.", C4(refuse_braces=True))[2] == "braces"
    assert c4("Please enable JavaScript to see this.", C4(min_sentences=0))[0] == ""


def test_what_is_refused_is_counted_by_reason_with_a_sample() -> None:
    options = {"quality": {"gopher": {"enabled": True}, "repetition": {"enabled": True}}}
    cleaner = Cleaner(Clean.model_validate(options), "clean")
    assert cleaner.apply(Record("a", "f", 1, text="Too short.")) is None
    told = cleaner.to_dict()
    assert told["dropped"] == {"gopher.tooFewWords": 1}
    assert told["samples"][0]["after"] == "(dropped: gopher.tooFewWords)"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"minWords": 9, "maxWords": 3}, "`minWords` is over `maxWords`"),
        ({"minMeanWord": 9, "maxMeanWord": 3}, "`minMeanWord` is over `maxMeanWord`"),
        ({"minWord": 9}, "did you mean `minWords`"),
    ],
)
def test_thresholds_that_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Gopher.model_validate(options)
