"""What the shipped sample data promises: it is whole, balanced, and does not give itself away."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from astrosage.data.decontaminate import words
from astrosage.data.deduplicate import record_key
from astrosage.data.records import Record
from astrosage.data.sources import check_source, read_records
from astrosage.spec.stages import Source

DATA = Path(__file__).parents[2] / "examples" / "data"
ARTICLES, HELD_OUT = Source(path=f"{DATA}/articles/*.md"), Source(path=f"{DATA}/heldout/*.md")
CHATS = Source(path=f"{DATA}/chat*.jsonl")
Gram = tuple[str, ...]


def grams(text: str, n: int) -> set[Gram]:
    found = words(text)
    return {tuple(found[i : i + n]) for i in range(len(found) - n + 1)}


@pytest.fixture(scope="module")
def quiz() -> list[dict[str, Any]]:
    files = sorted(DATA.glob("quiz*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


@pytest.fixture(scope="module")
def articles() -> list[Record]:
    return list(read_records(ARTICLES, "text", "articles"))


@pytest.fixture(scope="module")
def held_out() -> list[Record]:
    return list(read_records(HELD_OUT, "text", "heldout"))


@pytest.fixture(scope="module")
def chats() -> list[Record]:
    return list(read_records(CHATS, "chat", "chats"))


@pytest.fixture(scope="module")
def training(articles: list[Record], chats: list[Record]) -> list[str]:
    return [text for record in (*articles, *chats) for text in record.texts]


def right_option(question: dict[str, Any]) -> str:
    return str(question["choices"]["ABCD".index(question["answer"])])


def test_counts(articles: list[Record]) -> None:
    assert len(articles) == 60
    assert sum(len(words(r.text)) for r in articles) >= 15_000
    assert check_source(HELD_OUT, "text", "heldout") >= 5
    assert check_source(CHATS, "chat", "chats") >= 300


def test_articles_have_titles_and_are_of_a_size(
    articles: list[Record], held_out: list[Record]
) -> None:
    for record in (*articles, *held_out):
        assert record.text.startswith("# "), record.id
        assert 200 <= len(words(record.text)) <= 400, record.id


def test_nothing_stands_twice(
    articles: list[Record], held_out: list[Record], chats: list[Record]
) -> None:
    keys = Counter(record_key(r) for r in (*articles, *held_out, *chats))
    assert set(keys.values()) == {1}


def test_chats_are_made_from_part_of_the_articles(articles: list[Record]) -> None:
    lines = [json.loads(x) for f in DATA.glob("chat*.jsonl") for x in f.read_text().splitlines()]
    used = {line["article"] for line in lines}
    known = {r.id.removesuffix(".md") for r in articles}
    assert used < known


def test_reasoning_follows_the_system_prompt(chats: list[Record]) -> None:
    reasoning = 0
    for record in chats:
        first = record.messages[0]
        asked = first["role"] == "system" and first["content"] == "Reasoning: on"
        for message in record.messages:
            if message["role"] == "assistant":
                has = message["content"].startswith("<think>\n")
                assert has is asked, record.where
                assert message["content"].count("</think>\n\n") == int(has), record.where
                reasoning += has
    assert reasoning >= 50


def test_questions_are_whole(quiz: list[dict[str, Any]], articles: list[Record]) -> None:
    known = {r.id.removesuffix(".md") for r in articles}
    assert len(quiz) == 240
    assert len({q["id"] for q in quiz}) == 240
    for question in quiz:
        assert len({c.casefold() for c in question["choices"]}) == 4, question["id"]
        assert question["article"] in known, question["id"]
        assert question["explanation"].strip(), question["id"]
        assert question["topic"].strip(), question["id"]


def test_keys_are_balanced(quiz: list[dict[str, Any]]) -> None:
    assert Counter(q["answer"] for q in quiz) == {"A": 60, "B": 60, "C": 60, "D": 60}
    assert set(Counter(q["topic"] for q in quiz).values()) == {60}


def test_length_does_not_give_the_right_option_away(quiz: list[dict[str, Any]]) -> None:
    longest = shortest = 0
    ratios = []
    for question in quiz:
        lengths = sorted(len(c) for c in question["choices"])
        right = len(right_option(question))
        longest += right == lengths[-1] > lengths[-2]
        shortest += right == lengths[0] < lengths[1]
        ratios.append(4 * right / sum(lengths))
    # Guessing the longest or the shortest option must not beat chance, 0.25, by much.
    assert 0.15 <= longest / len(quiz) <= 0.33
    assert 0.15 <= shortest / len(quiz) <= 0.33
    assert 0.95 <= sum(ratios) / len(ratios) <= 1.05


@pytest.mark.parametrize("field", ["question", "explanation"])
def test_no_stem_or_explanation_shares_eight_words_with_training(
    quiz: list[dict[str, Any]], training: list[str], field: str
) -> None:
    known = set().union(*(grams(text, 8) for text in training))
    shared = {q["id"]: hit for q in quiz if (hit := grams(q[field], 8) & known)}
    assert not shared


def test_no_right_option_shares_six_words_with_training(
    quiz: list[dict[str, Any]], training: list[str]
) -> None:
    known = set().union(*(grams(text, 6) for text in training))
    shared = {q["id"]: hit for q in quiz if (hit := grams(right_option(q), 6) & known)}
    assert not shared


def test_no_short_stem_stands_whole_in_training(
    quiz: list[dict[str, Any]], training: list[str]
) -> None:
    bodies = [f" {' '.join(words(text))} " for text in training]
    for question in quiz:
        stem = f" {' '.join(words(question['question']))} "
        assert not any(stem in body for body in bodies), question["id"]


def test_held_out_articles_share_no_sentence_with_training(
    held_out: list[Record], training: list[str]
) -> None:
    known = set().union(*(grams(text, 8) for text in training))
    shared = {r.id: hit for r in held_out if (hit := grams(r.text, 8) & known)}
    assert not shared
