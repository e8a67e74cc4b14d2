"""The stage against a real HTTP server on loopback that writes and grades by rules."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from astrosage.errors import AstroError, ClusterError, DataError, NotFoundError, SpecError
from astrosage.runs import manifest
from tests.endpoints.fake_service import Answer, Service, chat
from tests.generate import writing
from tests.generate.conftest import Stage

pytestmark = pytest.mark.api
Make = Callable[..., Stage]
PRICES = {"inputPerMillion": 1.0, "outputPerMillion": 2.0}


def roles(service: Service) -> list[str]:
    return [str(body["model"]) for _, body, _ in service.requests]


def test_pairs_with_provenance_licence_and_grades(make: Make, service: Service) -> None:
    stage = make(count=2)
    folder = stage.run()
    records = stage.records()
    assert manifest.verify(folder, full=True)["kind"] == "chat"
    passages = len({r["provenance"]["passage"] for r in records})
    assert len(records) == 2 * passages == 2 * stage.report()["counts"]["passages"]
    first = records[0]
    assert [m["role"] for m in first["messages"]] == ["user", "assistant"]
    assert first["license"] == "CC-BY-4.0"
    made = first["provenance"]
    assert made["source"].endswith("000.md")
    assert (made["writer"], made["grader"], made["grades"]["overall"]) == (
        *("writer-1", "grader-1"),
        5.0,
    )
    report = stage.report()
    assert report["counts"]["accepted"] == report["counts"]["graded"] == len(records)
    assert report["services"]["writer"]["requests"] == passages
    assert report["services"]["grader"]["requests"] == len(records)
    assert report["tokens"] == 25 * (passages + len(records))
    assert report["grades"]["overall"] == {"5": len(records)}


def test_the_same_answers_give_the_same_bytes(make: Make, service: Service) -> None:
    fast = make("a", writer={"concurrency": 8}, reasoning=0.5).run()
    slow = make("b", writer={"concurrency": 1}, reasoning=0.5).run()
    ours = [re.sub(r"[^\"]*/texts/", "", (f / "chat.jsonl").read_text()) for f in (fast, slow)]
    assert ours[0] == ours[1]


def test_thoughts_come_before_the_answer_where_they_are_wanted(
    make: Make, service: Service
) -> None:
    stage = make(reasoning=0.5, texts=12)
    stage.run()
    records = stage.records()
    thinking = [r for r in records if r["reasoning"] == "on"]
    assert 0 < len(thinking) < len(records)
    for record in records:
        content = record["messages"][1]["content"]
        assert content.startswith("<think>\nI am asked") is (record["reasoning"] == "on")
        assert content.count("</think>") == (record["reasoning"] == "on")
    assert {r["provenance"]["passage"] for r in thinking}.isdisjoint(
        r["provenance"]["passage"] for r in records if r["reasoning"] == "off"
    )


def test_what_is_graded_low_is_kept_apart_with_its_reason(make: Make, service: Service) -> None:
    def answer(body: dict[str, Any]) -> Answer:
        if body["model"] == "grader" and "cepheids" in body["messages"][0]["content"][-500:]:
            return chat(writing.graded(4, correctness=2))
        return writing.answer(body)

    service.answer = answer
    stage = make()
    stage.run()
    report, rejected = stage.report(), stage.records("rejected.jsonl")
    assert report["reasons"] == {"grade": len(rejected)}
    assert {r["detail"] for r in rejected} == {"correctness 2, at least 4: as it is"}
    assert rejected[0]["item"]["question"]
    assert rejected[0]["grades"]["correctness"] == 2
    assert all("cepheids" not in r["messages"][0]["content"] for r in stage.records())
    # The threshold may be lowered afterwards, and nothing is asked again.
    service.requests.clear()
    lower = make(grader={"correctness": 2})
    lower.run()
    assert lower.report()["reasons"] == {}
    assert service.requests == []


def test_replies_in_all_their_wrappings_are_read(make: Make, service: Service) -> None:
    forms = [
        "```json\n{}\n```",
        "Sure! Here you are:\n\n{}\n\nLet me know if you need more.",
        '<think>Which ones? {{"pairs": 1}} perhaps</think>\n{}',
        "{}",
    ]

    def answer(body: dict[str, Any]) -> Answer:
        if body["model"] == "grader":
            return chat(f"The grades:\n```\n{writing.graded()}\n```")
        items = json.dumps({"pairs": writing.pairs(body)})
        return chat(forms[len(writing.passage(body)) % 4].format(items))

    service.answer = answer
    stage = make()
    stage.run()
    assert stage.report()["reasons"] == {}


def test_nonsense_is_asked_for_once_more_with_what_is_wrong(make: Make, service: Service) -> None:
    def answer(body: dict[str, Any]) -> Answer:
        if body["model"] == "writer" and len(body["messages"]) == 1:
            return chat('{"pairs": [{"question": "Why?"}]}')
        return writing.answer(body)

    service.answer = answer
    stage = make()
    stage.run()
    assert stage.report()["reasons"] == {}
    second = next(b for _, b, _ in service.requests if len(b["messages"]) == 3)
    assert "pairs[0].answer: Field required" in second["messages"][2]["content"]
    assert second["messages"][1]["content"] == '{"pairs": [{"question": "Why?"}]}'


@pytest.mark.parametrize(
    ("text", "reason", "words"),
    [
        ("I'm sorry, I can't help with that.", "nonsense", "no JSON"),
        ('{"pairs": [{"question": "Wh', "nonsense", "no JSON"),
        ('{"pairs": [{"question": "", "answer": "x"}]}', "nonsense", "pairs"),
        ('{"pairs": []}', "nonsense", "no list `pairs`"),
        ("<html>busy</html>", "nonsense", "no JSON"),
    ],
)
def test_a_passage_without_an_answer_costs_one_passage(
    make: Make, service: Service, text: str, reason: str, words: str
) -> None:
    def answer(body: dict[str, Any]) -> Answer:
        if body["model"] == "writer" and "sample 100 " in writing.passage(body):
            return chat(text)
        return writing.answer(body)

    service.answer = answer
    stage = make()
    stage.run()
    report, rejected = stage.report(), stage.records("rejected.jsonl")
    assert report["counts"]["passagesWithout"] == 1
    assert [(r["reason"], words in r["detail"]) for r in rejected] == [(reason, True)]
    assert rejected[0]["source"].endswith("001.md")
    assert report["services"]["writer"]["unread"] == 1


def test_a_reply_that_is_cut_off_is_told_so(make: Make, service: Service) -> None:
    def answer(body: dict[str, Any]) -> Answer:
        if body["model"] == "writer" and "sample 100 " in writing.passage(body):
            cut = {"message": {"content": '{"pairs": [{"qu'}, "finish_reason": "length"}
            return 200, {}, json.dumps({"choices": [cut]}).encode()
        return writing.answer(body)

    service.answer = answer
    stage = make()
    stage.run()
    assert "cut off before its end" in stage.records("rejected.jsonl")[0]["detail"]


def test_a_request_that_is_refused_costs_one_passage(make: Make, service: Service) -> None:
    def answer(body: dict[str, Any]) -> Answer:
        if body["model"] == "writer" and "sample 0 " in writing.passage(body):
            return 400, {}, b'{"error": {"message": "content filter"}}'
        return writing.answer(body)

    service.answer = answer
    stage = make(writer={"concurrency": 1})
    stage.run()
    found = stage.records("rejected.jsonl")
    assert [r["reason"] for r in found] == ["noAnswer"]
    assert "answers 400: content filter" in found[0]["detail"]


def test_a_model_that_writes_nonsense_stops_the_stage(make: Make, service: Service) -> None:
    service.answer = lambda body: chat("What a lovely passage.")
    stage = make(texts=30)
    with pytest.raises(SpecError, match=r"writer: \d+ of \d+ replies of writer cannot be") as said:
        stage.run()
    assert "more than `maxNonsense` 0.3" in said.value.message
    assert "What a lovely passage." in said.value.message
    assert "larger model" in said.value.hint
    assert len(service.requests) < 2 * 60, "it does not ask for all passages first"
    assert stage.directory.finished(stage.job.stage("qa")) is None


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        ((500, {}, b"no"), ClusterError, "failed 6 times, last with status 500"),
        ((401, {}, b"{}"), SpecError, r"generate\.writer: .* refuses the key"),
        ((404, {}, b'{"error": {"message": "no model"}}'), NotFoundError, "no model"),
        ((200, {"content-type": "text/html"}, b"<html>"), SpecError, "text/html, not JSON"),
        ((400, {}, b'{"error": {"message": "no such field"}}'), SpecError, "refuses every request"),
    ],
)
def test_a_service_that_cannot_be_used(
    make: Make, service: Service, answer: Answer, error: type[AstroError], words: str
) -> None:
    service.answer = lambda body: answer
    with pytest.raises(error, match=words) as said:
        make(texts=12).run()
    assert said.value.hint


def test_trouble_that_passes_is_waited_for(make: Make, service: Service) -> None:
    statuses = iter([429, 503, 500, 429])

    def answer(body: dict[str, Any]) -> Answer:
        status = next(statuses, 200)
        return writing.answer(body) if status == 200 else (status, {"retry-after": "0"}, b"")

    service.answer = answer
    stage = make()
    stage.run()
    assert stage.report()["services"]["writer"]["retries"] == 4


def test_a_service_that_is_too_slow_is_given_up(make: Make, service: Service) -> None:
    service.delay = 0.5
    with pytest.raises(ClusterError, match="failed 6 times, last with ReadTimeout") as said:
        make(texts=1, writer={"timeoutSeconds": 0.05}).run()
    assert said.value.retryable


@pytest.mark.parametrize("budget", [{"tokens": 300}, {"usd": 0.0005}])
def test_a_budget_stops_with_what_is_there_kept(
    make: Make, service: Service, budget: dict[str, float]
) -> None:
    asked = {"writer": {"prices": PRICES, "concurrency": 1}, "grader": {"prices": PRICES}}
    stage = make(budget=budget, **asked)
    with pytest.raises(SpecError, match="the budget is used up") as said:
        stage.run()
    name = next(iter(budget))
    assert f"spec.stages.qa.generate.budget.{name}" in said.value.message
    assert "passages are answered, and kept" in said.value.message
    assert f"astroctl resume one --set spec.stages.qa.generate.budget.{name}=" in said.value.hint
    spent = len(service.requests)
    assert spent < 30
    with pytest.raises(SpecError, match="the budget is used up"):
        stage.run()
    assert len(service.requests) == spent, "what was spent counts when the run goes on"
    whole = make(**asked)
    whole.run()
    prompts = [json.dumps(body["messages"]) for _, body, _ in service.requests]
    assert len(set(prompts)) == len(prompts), "nothing is asked twice"
    assert whole.report()["usd"] == pytest.approx(30e-6 * len(prompts))


def test_a_budget_may_end_the_stage_well(make: Make, service: Service) -> None:
    options = {"writer": {"concurrency": 1}, "texts": 20}
    stage = make("a", budget={"tokens": 400}, atBudget="finish", **options)
    stage.run()
    report = stage.report()
    assert report["stoppedByBudget"]
    assert 0 < report["counts"]["accepted"] < 20
    assert report["counts"]["passages"] < 40
    some = [r["id"] for r in stage.records()]
    whole = make("b", **options)
    whole.run()
    everything = [r["id"] for r in whole.records()]
    assert [i for i in everything if i in set(some)] == some


def test_a_pair_that_holds_an_evaluation_question_is_left_out(
    make: Make, service: Service, tmp_path: Path
) -> None:
    quiz = tmp_path / "quiz.jsonl"
    judged = {
        "id": "e1",
        "question": "Why do the cepheids of sample 0 brighten after days of quiet?",
        "choices": ["pressure", "tides"],
        "answer": "A",
    }
    quiz.write_text(json.dumps(judged) + "\n")
    bench = {"name": "score", "bench": {"model": "org/model", "questions": [{"path": str(quiz)}]}}
    stage = make(more=[bench])
    stage.run()
    rejected = stage.records("rejected.jsonl")
    assert [r["reason"] for r in rejected] == ["evaluation"]
    assert "question e1" in rejected[0]["detail"]
    # It was not sent to be graded, either.
    assert not any(
        "Item:" in b["messages"][0]["content"]
        and "cepheids of sample 0 " in b["messages"][0]["content"].split("Item:")[1]
        for _, b, _ in service.requests
    )
    assert make("b", more=[bench], decontaminate=False).run()


def test_nothing_to_write_about(make: Make, service: Service) -> None:
    with pytest.raises(DataError, match=r"no passage to write about.*recordsTooShort 6") as said:
        make(passages={"minWords": 500}).run()
    assert "minWords" in said.value.hint
    assert service.requests == []


def test_nothing_taken_is_an_error_with_the_reason(make: Make, service: Service) -> None:
    service.answer = lambda body: (
        chat(writing.graded(1)) if body["model"] == "grader" else writing.answer(body)
    )
    stage = make(texts=2)
    with pytest.raises(DataError, match=r"nothing was taken of \d+ items.*grade \d+") as said:
        stage.run()
    assert "overall 1, at least 4" in said.value.hint
    assert stage.directory.finished(stage.job.stage("qa")) is None


def test_keys_are_named_by_the_environment_and_stay_out_of_the_run(
    make: Make, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WRITER_KEY", raising=False)
    stage = make(texts=1, writer={"apiKeyEnv": "WRITER_KEY"})
    with pytest.raises(SpecError, match=r"generate\.writer\.apiKeyEnv.*WRITER_KEY is not set"):
        stage.run()
    monkeypatch.setenv("WRITER_KEY", "secret-key")
    stage.run()
    assert {key for _, b, key in service.requests if b["model"] == "writer"} == {
        "Bearer secret-key"
    }
    files = [f for f in stage.folder.rglob("*") if f.is_file()]
    assert files
    assert not any(b"secret-key" in f.read_bytes() for f in files)


def test_without_a_grader_the_rules_decide_alone(make: Make, service: Service) -> None:
    stage = make(grader=None)
    stage.run()
    assert set(roles(service)) == {"writer"}
    assert "grades" not in stage.records()[0]["provenance"]
    assert stage.report()["counts"]["graded"] == 0


def test_a_service_is_asked_in_its_own_words(make: Make, service: Service) -> None:
    options = {"seed": None, "max_tokens": None, "max_completion_tokens": 99, "effort": "low"}
    make(texts=1, seed=7, writer={"options": options, "temperature": 0.3}).run()
    asked = {body["model"]: body for _, body, _ in service.requests}
    assert set(asked["writer"]) == {
        *("model", "messages", "temperature", "max_completion_tokens", "effort"),
    }
    assert (asked["grader"]["seed"], asked["grader"]["temperature"]) == (7, 0.0)
    assert asked["grader"]["max_tokens"] == 1024


def test_own_words_and_variations(make: Make, service: Service) -> None:
    prompts = {"write": "Write {count} of them.", "grade": "Judge.", "variations": ["One.", "Two."]}
    make(texts=9, count=2, prompts=prompts).run()
    told = [b["messages"][0]["content"] for _, b, _ in service.requests if b["model"] == "writer"]
    assert all(text.startswith("Write 2 of them.") for text in told)
    assert {text.splitlines()[1] for text in told} == {"- One.", "- Two."}
    assert all("Reply with JSON alone" in text for text in told)
