from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astrosage.data.clean import clean, clean_text
from astrosage.data.records import Record


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("a\r\nb\rc\u2028d\fe", "a\nb\nc\nd\ne"),
        ("a  \t\nb\u00a0\n", "a\nb"),
        ("\n\n  a", "  a"),
        ("e\u0301", "\u00e9"),
        ("a\x00\x07b\ufeff\ud83dc", "abc"),
        ("e\x00\u0301", "\u00e9"),
        ("a\n \n\nb", "a\n\n\nb"),
        ("tab\there", "tab\there"),
        (" \n\t", ""),
    ],
)
def test_cleaning(raw: str, cleaned: str) -> None:
    assert clean_text(raw) == cleaned


@given(st.text(st.characters(), max_size=60))
def test_cleaning_is_idempotent_encodable_and_normal(text: str) -> None:
    once = clean_text(text)
    assert clean_text(once) == once
    once.encode()
    assert unicodedata.is_normalized("NFC", once)
    assert all(line == line.rstrip() for line in once.split("\n"))


def test_messages_lose_white_space_around_them() -> None:
    record = Record("a", "f", 1, messages=({"role": "user", "content": "\n  Why?\r\n"},))
    assert clean(record).messages == ({"role": "user", "content": "Why?"},)
