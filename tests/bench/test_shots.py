from __future__ import annotations

import random

import pytest

from astrosage.bench import prompts
from astrosage.bench.question import Question
from astrosage.bench.shots import Shots
from astrosage.errors import DataError, SpecError


def dev(count: int = 8) -> list[Question]:
    return [
        Question(f"d{i}", f"What is thing {i}?", ("this", "that"), i % 2, topic=f"topic {i % 2}")
        for i in range(count)
    ]


ASKED = Question("q", "Why?", ("yes", "no"), 0)


def test_the_same_seed_gives_the_same_examples_whatever_the_file_s_order() -> None:
    turned = random.Random(0).sample(dev(), 8)
    first = Shots(dev(), 3, 7).before(ASKED).shots
    assert first == Shots(turned, 3, 7).before(ASKED).shots
    assert len(first) == 3
    assert len({Shots(dev(), 3, seed).before(ASKED).shots for seed in range(20)}) > 5


def test_examples_are_of_the_question_s_topic_if_there_are_enough() -> None:
    question = Question("q", "Why?", ("yes", "no"), 0, topic="topic 1")
    assert {s.topic for s in Shots(dev(), 4, 0).before(question).shots} == {"topic 1"}
    assert {s.topic for s in Shots(dev(), 5, 0).before(question).shots} == {"topic 0", "topic 1"}


def test_an_example_that_is_scored_is_refused() -> None:
    same = Question("x", "what IS thing 3", ("That.", "this"), 0)
    with pytest.raises(DataError, match="question `d3` is scored too, as `x`") as caught:
        Shots(dev(), 2, 0, "spec.stages[0].bench.shotsFrom").refuse_scored([ASKED, same])
    assert caught.value.message.startswith("spec.stages[0].bench.shotsFrom: ")
    assert "remove it from the examples" in caught.value.hint
    other_options = Question("x", "What is thing 3?", ("a planet", "a star"), 0)
    Shots(dev(), 2, 0).refuse_scored([ASKED, other_options])


def test_too_few_and_keyless_examples_are_refused() -> None:
    with pytest.raises(SpecError, match="8 questions, 9 examples are wanted"):
        Shots(dev(), 9, 0)
    with pytest.raises(DataError, match="no keys"):
        Shots([Question("d", "Why?", ("a", "b"), None)], 1, 0)


def test_each_method_shows_examples_in_its_own_form() -> None:
    shot = Question("s", "What shines?", ("A stone", "A star"), 1)
    question = Question("q", "Why?", ("yes", "no"), 0, shots=(shot,))
    assert prompts.cloze(question) == (
        "Question: What shines?\nAnswer: A star\n\nQuestion: Why?\nAnswer:"
    )
    assert prompts.lettered(question) == (
        "What shines?\nA. A stone\nB. A star\nAnswer: B\n\nWhy?\nA. yes\nB. no\nAnswer:"
    )
    chat = prompts.conversation(question)
    assert [m["role"] for m in chat] == ["user", "assistant", "user"]
    assert chat[1]["content"] == "B"
    text = prompts.multiple_choice_completion(question)
    assert text.count("Answer with the letter only.\n\nAnswer:") == 2
    assert "Answer: B\n\nQuestion: Why?" in text
