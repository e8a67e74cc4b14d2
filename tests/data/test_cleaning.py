from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astrosage.data.boilerplate import BoilerplateRemover
from astrosage.data.clean import clean
from astrosage.data.cleaning import Cleaner
from astrosage.data.debris import drop_phrases, drop_sentences
from astrosage.data.mend import drop_invisible, join_hyphenated, mend_mojibake
from astrosage.data.records import Record
from astrosage.errors import SpecError
from astrosage.spec.clean import Boilerplate, Clean
from tests.tiny import TEXT


def record(text: str) -> Record:
    return Record("r", "f", 1, text=text)


def cleaner(**options: Any) -> Cleaner:
    return Cleaner(Clean.model_validate(options), "prepare.clean")


@given(st.text())
def test_without_options_only_what_was_always_done_is_done(text: str) -> None:
    plain = cleaner()
    assert plain.apply(record(text)) == clean(record(text))
    assert plain.to_dict() == {}


LATIN = "é ü ñ ° “quoted” – it’s … fin\ufb01 ×"


@pytest.mark.parametrize("text", ["Ångström", LATIN, "κόσμος 100 °C", "«CAFÉ» stays"])
def test_mojibake_is_mended_and_honest_text_is_not_touched(text: str) -> None:
    assert mend_mojibake(text) == text
    if text == LATIN:
        spoilt = "".join(
            bytes([b]).decode("cp1252") if b not in (0x81, 0x8D, 0x8F, 0x90, 0x9D) else chr(b)
            for b in text.encode()
        )
        assert spoilt != text
        assert mend_mojibake(spoilt) == text
        # The right quotation mark becomes a control, which must not be dropped before.
        assert cleaner(mojibake=True).apply(record(spoilt)) == clean(record(text))


def test_invisible_characters() -> None:
    assert drop_invisible("ga\u00adla\u200bxy\u2060 \u200eleft\u200dright") == "galaxy leftright"
    persian = "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"
    assert drop_invisible(persian) == persian


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a neu-\ntron star", "a neutron\nstar"),
        ("a neu-\n  tron, then\nmore", "a neutron,\nthen\nmore"),
        ("self-consistent; a self-\nconsistent one", "self-consistent; a self-consistent\none"),
        ("the Hertzsprung-\nRussell diagram", "the Hertzsprung-Russell\ndiagram"),
        ("1990-\n2000", "1990-\n2000"),
        ("a list:\n- one\n- two", "a list:\n- one\n- two"),
    ],
)
def test_hyphenation(text: str, expected: str) -> None:
    assert join_hyphenated(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("very very hot", "very very hot"),
        ("the the the the end", "the end"),
        ("a b c d a b c d e", "a b c d e"),
        ("we see a star\n\nwe see a star\n\nand so on", "we see a star\n\nand so on"),
        ("1 0 1 0 1 0 1 0 1 0", "1 0 1 0 1 0 1 0 1 0"),
        ("New York, New York, here", "New York, New York, here"),
    ],
)
def test_immediate_repeats_of_phrases(text: str, expected: str) -> None:
    assert drop_phrases(text, 22)[0] == expected


@given(st.lists(st.sampled_from("abcd"), max_size=40), st.integers(1, 8))
def test_dropping_phrases_keeps_order_and_counts(words: list[str], longest: int) -> None:
    text = " ".join(words)
    kept, dropped = drop_phrases(text, longest)
    assert len(kept.split()) + dropped == len(words)
    remaining = iter(words)
    assert all(word in remaining for word in kept.split())
    assert set(kept.split()) == set(words)


def test_repeated_sentences() -> None:
    loop = "The star is very hot. " * 5 + "Then it cools at 3.5 degrees."
    assert drop_sentences(loop, 2) == (
        "The star is very hot. The star is very hot. Then it cools at 3.5 degrees.",
        3,
    )
    assert drop_sentences("No. No. No. No.", 1) == ("No. No. No. No.", 0)


def test_debris_as_a_whole_is_counted() -> None:
    found = cleaner(debris={"enabled": True})
    text = "A star!!!!!!!!!!!!!! shines shines shines shines at 1000000000000."
    cleaned = found.apply(record(text))
    assert cleaned is not None
    assert cleaned.text == "A star!!! shines at 1000000000000."
    told = found.to_dict()
    assert told["changed"] == {"debris": 1}
    assert told["amounts"] == {"characterRuns": 1, "repeatedPhraseWords": 3}
    (sample,) = told["samples"]
    assert (sample["before"], sample["after"]) == (text, cleaned.text)


def test_boilerplate_is_learnt_from_a_source() -> None:
    notice = "Downloaded from the archive on Monday"
    texts = [f"# The same heading here\n\n{notice}\n\nText {i} says {i}." for i in range(30)]
    found = cleaner(boilerplate={"enabled": True})
    found.learn(found.learnt(map(record, texts)))
    cleaned = found.apply(record(texts[3]))
    assert cleaned is not None
    assert cleaned.text == "# The same heading here\n\n\nText 3 says 3."
    assert found.to_dict()["boilerplate"] == [[notice, 1]]
    found.learn(found.learnt(map(record, texts[:5])))  # the next source has too few documents
    kept = found.apply(record(texts[3]))
    assert kept is not None
    assert notice in kept.text


def test_a_rare_line_is_no_boilerplate() -> None:
    options = Boilerplate(min_documents=2, min_share=0.5)
    remover = BoilerplateRemover.learnt(["one two three"] * 2 + ["else"] * 8, options)
    assert remover.apply("one two three") == ("one two three", 0)


def test_languages_are_kept_or_refused_and_counted() -> None:
    pytest.importorskip("py3langid")
    found = cleaner(languages=["en"])
    assert found.apply(record(TEXT[0])) is not None
    german = "Die Sterne leuchten in der Nacht, und wir sehen sie mit dem Fernrohr."
    assert found.apply(record(german)) is None
    told = found.to_dict()
    assert told["languages"] == {"en": 1, "de": 1}
    assert told["dropped"] == {"language": 1}
    with pytest.raises(SpecError, match=r"languages\[1\]: the language `xx` cannot be") as caught:
        cleaner(languages=["en", "xx"])
    assert "known: " in str(caught.value.hint)


def test_without_the_identifier_the_field_and_the_command_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "py3langid.langid", None)
    with pytest.raises(SpecError, match=r"clean\.languages: .*py3langid") as caught:
        cleaner(languages=["en"])
    assert "astrosage[data]" in str(caught.value.hint)


def test_messages_keep_their_lines() -> None:
    messages = ({"role": "user", "content": "x x x x x x"}, {"role": "assistant", "content": "Ã©"})
    found = cleaner(mojibake=True, debris={"enabled": True}, quality={"gopher": {"enabled": True}})
    cleaned = found.apply(Record("c", "f", 1, messages=messages))
    assert cleaned is not None
    assert cleaned.texts == ("x x x x x x", "é")
