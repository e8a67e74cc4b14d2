from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astrosage.data.decontaminate import Decontaminator, QuestionIndex, words
from astrosage.data.records import Record
from astrosage.errors import DataError


@dataclass(frozen=True)
class Question:
    question: str
    id: str = "q1"
    choices: tuple[str, ...] = ("in the core", "nowhere")
    answer: int = 0
    explanation: str | None = None


LONG = Question(
    "In which part of a star like the Sun does hydrogen burn to helium during most of its life?",
    explanation="Only there is it hot and dense enough that protons meet often enough to fuse "
    "at the rate needed.",
)
SHORT = Question("Why is the sky dark?", id="q2", choices=("It is not", "Light is late"), answer=1)


def make(*questions: Question, action: str = "remove", ngram: int = 13) -> Decontaminator:
    index = QuestionIndex(ngram)
    index.add(questions, "quiz.jsonl")
    return Decontaminator(index, action)


def text(value: str) -> Record:
    return Record("doc", "a.md", 1, text=value)


def test_words_fold_case_punctuation_and_compatibility_forms() -> None:
    assert words("The Sun\u2019s \ufb01rst 4,880\u00a0km\u2014at \u201cNoon\u201d!") == (
        ["the", "sun", "s", "first", "4", "880", "km", "at", "noon"]
    )


def test_a_paragraph_that_holds_a_stem_is_removed_and_reported() -> None:
    guard = make(LONG)
    held = "Ask: in which part of a star like the SUN, does hydrogen -- burn to helium?"
    cleaned = guard.apply(text(f"# Title\n\nGood text.\n\n{held}\n\nThe end."))
    assert cleaned.text == "# Title\n\nGood text.\n\nThe end."
    assert (guard.documents, guard.paragraphs, guard.words) == (1, 1, len(words(held)))
    (hit,) = guard.hits
    assert (hit.document, hit.question, hit.questions, hit.part) == (
        "doc",
        "q1",
        "quiz.jsonl",
        "stem",
    )
    assert hit.words == "in which part of a star like the sun does hydrogen burn to"


@pytest.mark.parametrize(
    ("held", "part"),
    [
        ("does hydrogen burn to helium during most of its life? In the core.", "stem and answer"),
        ("only there is it hot and dense enough that protons meet often enough", "explanation"),
    ],
)
def test_other_parts_of_a_question_count(held: str, part: str) -> None:
    guard = make(LONG)
    assert guard.apply(text(f"Well: {held} So it is.")).text == ""
    assert [h.part for h in guard.hits] == [part]


def test_a_long_answer_counts_and_wrong_options_do_not() -> None:
    right = "they are so far away that their light has not had the time to reach us"
    wrong = "they are so small that each of them covers less than a point on the sky"
    guard = make(Question("Why?", choices=(wrong, right), answer=1))
    assert guard.apply(text(wrong)).text == wrong
    assert guard.apply(text(right)).text == ""


def test_one_word_fewer_than_the_ngram_is_allowed() -> None:
    guard = make(LONG)
    twelve = "in which part of a star like the sun does hydrogen burn"
    assert guard.apply(text(twelve)).text == twelve
    assert make(LONG, ngram=12).apply(text(twelve)).text == ""


def test_a_short_stem_counts_when_it_stands_whole() -> None:
    guard = make(SHORT)
    assert guard.apply(text("Olbers asked: why is the sky dark at night?")).text == ""
    assert guard.apply(text("Tell me why is the sky so dark")).text != ""


def test_stems_under_five_words_never_count() -> None:
    assert make(Question("What is dark energy?")).apply(text("what is dark energy")).text


def test_every_question_in_a_paragraph_is_reported() -> None:
    guard = make(SHORT, Question("Why does the sky look blue?", id="q3"))
    guard.apply(text("Why is the sky dark? Why does the sky look blue? Why is the sky dark?"))
    assert [h.question for h in guard.hits] == ["q2", "q3"]
    assert guard.paragraphs == 1


def test_fail_stops_with_place_question_and_file() -> None:
    with pytest.raises(DataError) as caught:
        make(SHORT, action="fail").apply(text("Now, why is the sky dark?"))
    assert "a.md, line 1" in caught.value.message
    assert "`q2` of quiz.jsonl" in caught.value.message
    assert "why is the sky dark" in caught.value.message


@pytest.mark.parametrize("action", ["remove", "fail"])
def test_a_chat_that_holds_a_question_always_stops(action: str) -> None:
    messages = (
        {"role": "user", "content": "Why is the sky dark?"},
        {"role": "assistant", "content": "Light is late."},
    )
    with pytest.raises(DataError, match=r"c\.jsonl, line 9: holds evaluation question `q2`"):
        make(SHORT, action=action).apply(Record("c", "c.jsonl", 9, messages=messages))


def test_text_without_questions_is_the_same_object() -> None:
    record = text("A star.\n\nAnother star.")
    assert make(LONG, SHORT).apply(record) is record
    assert make().apply(record) is record


word = st.sampled_from(list("abcde"))


@given(st.lists(word, min_size=1, max_size=14), st.lists(word, max_size=60), st.integers(5, 8))
def test_found_if_and_only_if_a_needle_stands_in_the_text(
    stem: list[str], body: list[str], n: int
) -> None:
    found = QuestionIndex(n)
    found.add([Question(" ".join(stem), choices=("z",))], "f")
    read = [*stem, "z"]
    needles = [read[i : i + n] for i in range(len(read) - n + 1)]
    if 5 <= len(stem) < n:
        needles.append(stem)
    expected = any(
        body[i : i + len(x)] == x for x in needles for i in range(len(body) - len(x) + 1)
    )
    assert bool(found.find(" ".join(body))) is expected


def covering(*questions: Question, coverage: float = 0.5, **options: Any) -> Decontaminator:
    index = QuestionIndex(13, 8, coverage)
    index.add(questions, "quiz.jsonl")
    return Decontaminator(index, "remove", **options)


CHANGED = (
    "In which part of a star like our Sun does hydrogen burn to helium during most of its life?"
)


def test_shorter_runs_decide_where_they_cover_enough_of_a_question() -> None:
    assert make(LONG).apply(text(CHANGED)).text == CHANGED
    guard = covering(LONG)
    assert guard.apply(text(f"Good.\n\n{CHANGED}")).text == "Good."
    (hit,) = guard.hits
    assert (hit.question, hit.part) == ("q1", "8-grams, 58% of the question")
    assert "hydrogen burn to helium during most of its life" in hit.words
    less = "Thus does hydrogen burn to helium during most of a life, they say."
    assert covering(LONG).apply(text(less)).text == less
    assert covering(LONG, coverage=0.4).apply(text(less)).text == ""


def test_options_count_as_far_as_they_are_long() -> None:
    option = "because the light of far galaxies has not reached us yet"
    question = Question("Why is the sky dark at night, as Olbers asked?", choices=(option, "no"))
    assert covering(question).apply(text(f"It is {option}.")).text != ""
    both = f"{question.question} It is {option}."
    assert covering(question).apply(text(both)).text == ""


def test_phrases_that_many_questions_share_do_not_count() -> None:
    phrase = "Which of the following statements is true about the"
    many = [Question(f"{phrase} {what}?", id=what) for what in ("sun", "moon", "sky", "stars")]
    said = f"{phrase} planet Mars?"
    assert covering(*many[:3]).apply(text(said)).text == ""
    assert covering(*many).apply(text(said)).text == said


def test_the_whole_record_goes_where_it_is_asked_for() -> None:
    guard = covering(SHORT, remove="record")
    assert guard.apply(text("Good words.\n\nWhy is the sky dark?\n\nMore.")).text == ""
    assert (guard.documents, guard.paragraphs, guard.words) == (1, 1, 8)


def test_an_index_without_questions_finds_nothing() -> None:
    assert (
        QuestionIndex(13, 8).find("Which of these planets has the largest mass of all? " * 9) == []
    )
