from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astrosage.data.minhash import Bands, MinHash, jaccard, similarity
from astrosage.data.near import NearDuplicates
from astrosage.data.records import Record
from astrosage.data.shingles import shingles, word_hashes
from astrosage.spec.deduplicate import Near

NEAR = Near(enabled=True)
words = st.lists(st.text("abcdeé", min_size=1, max_size=6), min_size=1, max_size=40)


def text(value: str, name: str = "x") -> Record:
    return Record(name, "f", 1, text=value)


def prose(random_: random.Random, length: int = 200) -> list[str]:
    return [f"w{random_.randrange(5000)}" for _ in range(length)]


def altered(random_: random.Random, original: list[str], wanted: float) -> list[str]:
    """A copy whose 5-grams have about the wanted Jaccard similarity with the original's."""
    copy = list(original)
    places = random_.sample(range(len(copy)), len(copy))
    while jaccard_of(original, copy) > wanted:
        copy[places.pop()] = f"n{random_.randrange(10**6)}"
    return copy


def jaccard_of(one: list[str], other: list[str]) -> float:
    """By Python's own sets."""
    a, b = ({tuple(x[i : i + 5]) for i in range(len(x) - 4)} for x in (one, other))
    return len(a & b) / len(a | b)


@given(words)
def test_case_and_punctuation_do_not_count(parts: list[str]) -> None:
    plain, spelt = " ".join(parts), ", ".join(p.upper() for p in parts) + "."
    assert np.array_equal(word_hashes(plain), word_hashes(spelt))
    assert len(word_hashes(plain)) == len(parts)


@given(words, st.integers(1, 6))
def test_shingles_are_the_different_ngrams(parts: list[str], n: int) -> None:
    width = min(n, len(parts))
    expected = {tuple(parts[i : i + width]) for i in range(len(parts) - width + 1)}
    found = shingles(" ".join(parts), n)
    assert len(found) == len(expected)
    assert (np.diff(found.astype(np.int64)) > 0).all()


def test_blocks_of_a_long_text_end_between_words(monkeypatch: pytest.MonkeyPatch) -> None:
    value = " ".join(f"word{i}" for i in range(1000))
    whole = word_hashes(value)
    monkeypatch.setattr("astrosage.data.shingles._BLOCK", 37)
    assert np.array_equal(word_hashes(value), whole)


def test_signatures_estimate_the_similarity() -> None:
    random_ = random.Random(1)
    minhash = MinHash(1024)
    original = prose(random_, 600)
    for wanted in (0.3, 0.6, 0.9):
        copy = altered(random_, original, wanted)
        one, other = (shingles(" ".join(x), 5) for x in (original, copy))
        assert jaccard(one, other) == pytest.approx(jaccard_of(original, copy), abs=1e-3)
        estimated = similarity(minhash.signature(one), minhash.signature(other)[None])[0]
        assert estimated == pytest.approx(jaccard(one, other), abs=4 * 0.5 / 32)


def test_bands_find_what_is_at_the_threshold() -> None:
    for threshold in (0.5, 0.8, 0.95):
        bands = Bands.for_threshold(threshold, 128)
        assert bands.recall(threshold) >= 0.99
        assert bands.count * bands.rows <= 128
    assert Bands.for_threshold(0.8, 128) == Bands(21, 6)


def planted() -> Iterator[tuple[str, str, float]]:
    """``(original, copy, similarity)`` from 0.5 to 1."""
    random_ = random.Random(7)
    for i in range(300):
        original = prose(random_)
        copy = altered(random_, original, 0.55 + 0.4 * (i % 100) / 100)
        yield " ".join(original), " ".join(copy), jaccard_of(original, copy)


def test_recall_and_precision_on_planted_pairs() -> None:
    pairs = list(planted())
    near = NearDuplicates(NEAR)
    assert all(near.find(text(original)) is None for original, _, _ in pairs)
    found = [near.find(text(copy)) == "near" for _, copy, _ in pairs]
    alike = [s >= 0.8 for _, _, s in pairs]
    recall = sum(f for f, a in zip(found, alike, strict=True) if a) / sum(alike)
    false = sum(f for f, a in zip(found, alike, strict=True) if not a)
    assert sum(alike) >= 90
    assert recall >= 0.98
    assert false == 0  # candidates are verified by their true similarity


def test_recall_and_false_removals_against_an_earlier_run() -> None:
    pairs = list(planted())
    first, second = NearDuplicates(NEAR), NearDuplicates(NEAR)
    for original, _, _ in pairs:
        first.find(text(original))
    for rows in first.signatures():
        second.add_earlier(rows)
    found = [second.find(text(copy)) == "earlier" for _, copy, _ in pairs]
    close = [f for f, (_, _, s) in zip(found, pairs, strict=True) if s >= 0.8]
    far = [f for f, (_, _, s) in zip(found, pairs, strict=True) if s < 0.65]
    assert sum(close) / len(close) >= 0.9
    assert sum(far) / len(far) <= 0.01


def test_the_first_of_a_cluster_stays_and_there_is_no_drift() -> None:
    near = NearDuplicates(Near(enabled=True, threshold=0.6))
    random_ = random.Random(3)
    first = prose(random_)
    second = altered(random_, first, 0.7)
    third = altered(random_, second, 0.7)
    assert jaccard_of(first, third) < 0.6
    found = [near.find(text(" ".join(x), str(i))) for i, x in enumerate((first, second, third))]
    assert found == [None, "near", None]
    clusters = near.clusters()
    assert (clusters["count"], clusters["records"], clusters["sizes"]) == (1, 2, [[2, 1]])
    (largest,) = clusters["largest"]
    assert (largest["kept"]["id"], largest["example"]["id"], largest["size"]) == ("0", "1", 2)
    assert largest["kept"]["text"] == " ".join(first)[:240]


def test_texts_without_words_are_like_nothing() -> None:
    near = NearDuplicates(NEAR)
    assert [near.find(text("...")) for _ in range(2)] == [None, None]
    assert len(near) == 0
    assert list(near.signatures()) == []


def test_short_texts_are_near_when_they_are_the_same_words() -> None:
    near = NearDuplicates(NEAR)
    assert near.find(text("A star.")) is None
    assert near.find(text("a star!")) == "near"
    assert near.find(text("A red star.")) is None
