"""Benchmark questions: what the stage lets through, and that bench and prepare can use it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from astrosage.bench.questions import load
from astrosage.errors import SpecError
from astrosage.generate import run as stage_run
from astrosage.generate.checks import words
from tests.endpoints.fake_service import Answer, Service, chat
from tests.generate import writing
from tests.generate.conftest import Stage

pytestmark = pytest.mark.api
Make = Callable[..., Stage]


def quiz(make: Make, **options: Any) -> Stage:
    return make(kind="questions", **{"passages": {"minWords": 20}, "texts": 8} | options)


def altered(change: Callable[[dict[str, Any]], None]) -> Callable[[dict[str, Any]], Answer]:
    """A writer whose first question of each article is changed."""

    def answer(body: dict[str, Any]) -> Answer:
        if body["model"] == "grader":
            return chat(writing.graded())
        found = writing.questions(body)
        change(found[0])
        return chat(json.dumps({"questions": found}))

    return answer


def test_five_questions_an_article_that_bench_reads(make: Make, service: Service) -> None:
    stage = quiz(make)
    folder = stage.run()
    records, read = stage.records("questions.jsonl"), load(folder / "questions.jsonl")
    assert len(records) == len(read) == 5 * 8
    for record, question in zip(records, read, strict=True):
        assert len(set(record["choices"])) == len(question.choices) == 4
        right = record["choices"]["ABCD".index(record["answer"])]
        assert right.split()[1] in record["explanation"]
        assert question.is_right("ABCD".index(record["answer"]))
        assert question.article == record["article"]
        text = Path(record["provenance"]["source"]).read_text()
        assert record["support"] in text, "a whole paragraph of the article"
        assert record["support"] in text.split("\n\n")
        assert words(f"over {right.split()[1]} days")[1] in words(record["support"])
    assert stage.report()["keys"] == {"A": 10, "B": 10, "C": 10, "D": 10}


def test_the_keys_follow_from_the_seed(make: Make, service: Service) -> None:
    found = []
    for name, options in (("a", {}), ("b", {"writer": {"concurrency": 1}}), ("c", {"seed": 9})):
        stage = quiz(make, name=name, **options)
        stage.run()
        found.append([(r["answer"], r["choices"]) for r in stage.records("questions.jsonl")])
    assert found[0] == found[1]
    assert [key for key, _ in found[0]] != [key for key, _ in found[2]]


@pytest.mark.parametrize(
    ("reason", "change"),
    [
        ("mentionsSource", {"question": "What time does the article give?"}),
        ("mentionsSource", {"wrong": ["as in Fig. 3", "About 5 days", "About 6 days"]}),
        ("options", {"wrong": ["About 7 days", "about  7 Days", "About 9 days"]}),
        ("options", {"wrong": ["About 7 days", "None of the above", "About 9 days"]}),
        ("lengths", {"wrong": ["About 7 days, or a little more than that", "No", "Yes"]}),
        ("lengths", {"correct": "About seventeen days of it"}),
        ("support", {"support": "Words that nobody has ever written in this or another text."}),
        ("support", {"support": "over 11"}),
    ],
)
def test_a_faulty_question_is_left_out(
    make: Make, service: Service, reason: str, change: dict[str, Any]
) -> None:
    service.answer = altered(lambda question: question.update(change))
    stage = quiz(make)
    stage.run()
    rejected = stage.records("rejected.jsonl")
    assert {r["reason"] for r in rejected} == {reason}
    assert len(rejected) == 8
    assert len(stage.records("questions.jsonl")) == 4 * 8


def test_a_question_that_holds_its_answer_is_left_out(make: Make, service: Service) -> None:
    service.answer = altered(lambda q: q.update(question=f"Is it {q['correct']} that they need?"))
    stage = quiz(make)
    stage.run()
    assert stage.report()["reasons"] == {"givenAway": 8}


def test_the_same_question_of_two_articles_counts_once(make: Make, service: Service) -> None:
    asked = iter(range(100))
    service.answer = altered(
        lambda q: q.update(
            question=f"How long do the stars of the great {next(asked)} survey need to fade away?"
        )
    )
    stage = quiz(make, writer={"concurrency": 1})
    stage.run()
    assert stage.report()["reasons"] == {"repeated": 7}
    assert "as 000.md-" in stage.records("rejected.jsonl")[0]["detail"]


def test_a_key_that_is_longest_too_often_is_left_out(make: Make, service: Service) -> None:
    def answer(body: dict[str, Any]) -> Answer:
        if body["model"] == "grader":
            return chat(writing.graded())
        found = writing.questions(body)
        for question in found:
            question["correct"] += " now"
        return chat(json.dumps({"questions": found}))

    service.answer = answer
    stage = quiz(make)
    stage.run()
    report = stage.report()
    # All 40 have the longest key: those that remain are no more than chance allows, 1 or 2 of 2.
    assert report["reasons"]["lengthBias"] == 40 - report["counts"]["accepted"]
    assert report["keyLongest"] == report["counts"]["accepted"] <= 2


def test_the_position_of_the_key_is_even_whatever_is_left(make: Make, service: Service) -> None:
    service.answer = altered(lambda q: q.update(support="nowhere to be found in any text at all"))
    stage = quiz(make, texts=7)
    stage.run()
    counts = Counter(r["answer"] for r in stage.records("questions.jsonl"))
    assert max(counts.values()) - min(counts.values()) <= 1


def test_a_prepare_stage_keeps_away_from_generated_questions(
    make: Make, service: Service, tiny_model: Path
) -> None:
    """Chats are trained on, questions judge: neither is taken for the other, nor meets it."""
    from astrosage.data import run as prepare

    stage = quiz(
        make,
        base=str(tiny_model),
        more=[
            {"name": "corpus", "prepare": {"sources": [], "pack": {"sequenceLength": 128}}},
            {"name": "score", "bench": {"model": str(tiny_model), "questions": [{"path": "qa"}]}},
        ],
    )
    stage.data["spec"]["stages"][1]["prepare"]["sources"] = [
        {"path": str(stage.folder / "texts/*.md")}
    ]
    from astrosage.spec import graph

    assert graph.dependencies(stage.job, stage.job.stage("corpus")) == ["qa"]
    assert graph.dependencies(stage.job, stage.job.stage("score")) == ["qa"]
    stage_run.run(stage.context())
    prepare.run(stage.context("corpus"))
    made = stage.directory.finished(stage.job.stage("corpus"))
    assert made is not None
    report = json.loads(
        (Path(stage.directory.uri) / "stages/corpus/shards/report.json").read_text()
    )
    assert report["questions"][0]["questions"] == 40
    # The explanations of the questions do not stand in the texts, the stems share few words.
    bench = stage.context("score").stage.bench
    assert bench is not None
    assert bench.questions[0].name == "qa"
    assert len(load(bench.questions[0].path)) == 40


def test_questions_are_no_training_data(make: Make) -> None:
    chats = {"name": "data", "prepare": {"format": "chat", "sources": [{"path": "qa"}]}}
    with pytest.raises(SpecError, match="makes questions, chat is needed") as said:
        quiz(make, more=[chats]).job  # noqa: B018
    assert "nothing is trained on benchmark questions" in said.value.hint
