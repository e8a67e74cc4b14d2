from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from astrosage.errors import NotFoundError, SpecError
from astrosage.plan import preflight
from astrosage.runs.directory import RunDirectory
from astrosage.runs.generated import with_places
from astrosage.spec import graph, local
from astrosage.spec.changes import differences
from astrosage.spec.job import AstroJob
from astrosage.spec.load import parse, with_absolute_paths

SERVICE = {"url": "http://127.0.0.1:9/v1", "model": "m"}


def job(*more: dict[str, Any], **options: Any) -> AstroJob:
    made = {"sources": [{"path": "texts/*.md"}], "writer": SERVICE, **options}
    stages = [{"name": "qa", "generate": made}, *more]
    return parse(
        {
            "metadata": {"name": "one"},
            "spec": {"model": "org/model", "storage": "/tmp/runs", "stages": stages},
        }
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"budget": {"tokens": 0}}, r"budget\.tokens: Input should be greater than or equal to 1"),
        ({"budget": {"usd": 0}}, r"budget\.usd: Input should be greater than 0"),
        ({"budget": {"usd": 1.0}}, r"`budget\.usd` needs `writer\.prices`"),
        ({"kind": "questions", "reasoning": 0.5}, "`reasoning` belongs to `kind: chat`"),
        (
            {"passages": {"minWords": 700}},
            "`passages.minWords` 700 is over `passages.maxWords` 600",
        ),
        ({"writer": {"url": "api.example.org"}}, r"writer\.url"),
        ({"writer": SERVICE | {"apiKey": "k"}}, "did you mean `apiKeyEnv`"),
        ({"grader": SERVICE | {"overall": 6}}, r"grader\.overall"),
        ({"maxNonsense": 2}, "maxNonsense"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        job(**options)


def test_a_budget_in_dollars_needs_both_price_tables() -> None:
    prices = {"prices": {"inputPerMillion": 1, "outputPerMillion": 2}}
    with pytest.raises(SpecError, match=r"`grader\.prices`"):
        job(budget={"usd": 1.0}, writer=SERVICE | prices, grader=SERVICE)
    job(budget={"usd": 1.0}, writer=SERVICE | prices, grader=SERVICE | prices)


CHAT = {"name": "data", "prepare": {"format": "chat", "sources": [{"path": "qa"}]}}
SCORE = {"name": "score", "bench": {"model": "org/model", "questions": [{"path": "qa"}]}}


def test_stages_are_named_as_sources_and_as_questions(tmp_path: Path) -> None:
    found = job(CHAT)
    assert [s.name for s in graph.order(job(CHAT))] == ["qa", "data"]
    assert graph.dependencies(found, found.stage("data")) == ["qa"]
    made = with_places(found, RunDirectory(tmp_path))
    prepare = made.stage("data").prepare
    assert prepare is not None
    assert prepare.sources[0].path == str(tmp_path / "stages/qa/generated/chat.jsonl")
    quiz = job(SCORE, kind="questions")
    bench = with_places(quiz, RunDirectory("s3://bucket/runs/one")).stage("score").bench
    assert bench is not None
    assert bench.questions[0].path == ("s3://bucket/runs/one/stages/qa/generated/questions.jsonl")
    assert bench.questions[0].name == "qa"


def test_a_stage_s_name_is_no_file_of_this_machine(tmp_path: Path) -> None:
    found = with_absolute_paths(job(CHAT), tmp_path)
    prepare, made = found.stage("data").prepare, found.stage("qa").generate
    assert prepare is not None
    assert made is not None
    assert prepare.sources[0].path == "qa"
    assert made.sources[0].path == str(tmp_path / "texts/*.md")
    assert [n.field for n in local.named(found)] == [
        "spec.model",
        "spec.stages[0].generate.sources[0].path",
    ]


def test_chats_and_questions_are_not_taken_for_each_other() -> None:
    with pytest.raises(SpecError, match=r"questions\[0\]\.path: stage `qa` makes chat, questions"):
        job(SCORE)
    with pytest.raises(SpecError, match=r"sources\[0\]\.path: stage `qa` makes questions, chat"):
        job(CHAT, kind="questions")
    text = {"name": "data", "prepare": {"sources": [{"path": "qa"}]}}
    with pytest.raises(SpecError, match="format` is text") as said:
        job(text)
    assert "format: chat" in said.value.hint
    with pytest.raises(SpecError, match="is a prepare stage, a generate stage is needed"):
        job({"name": "more", "prepare": {"format": "chat", "sources": [{"path": "data"}]}}, CHAT)


def test_a_name_that_is_nearly_a_stage_s_is_told() -> None:
    chats = {"format": "chat", "sources": [{"path": "quiz-qas"}]}
    found = {"name": "data", "prepare": chats}
    maker = {"name": "quiz-qa", "generate": {"sources": [{"path": "a.md"}], "writer": SERVICE}}
    with pytest.raises(
        SpecError, match=r"sources\[0\]\.path: there is no stage `quiz-qas`"
    ) as said:
        job(maker, found)
    assert "did you mean `quiz-qa`" in said.value.hint
    chats["sources"] = [{"path": "./quiz-qas"}]
    job(maker, found)


def test_chats_are_written_after_the_questions_that_judge_the_run() -> None:
    quiz = {
        "name": "quiz",
        "generate": {"kind": "questions", "sources": [{"path": "a.md"}], "writer": SERVICE},
    }
    score = {"name": "score", "bench": {"model": "org/model", "questions": [{"path": "quiz"}]}}
    found = job(quiz, score, CHAT)
    assert [s.name for s in graph.order(found)] == ["quiz", "qa", "score", "data"]
    assert graph.dependencies(found, found.stage("data")) == ["qa", "quiz"]
    assert graph.dependencies(job(quiz, score, decontaminate=False), job().stage("qa")) != []


def test_what_may_change_under_a_run_that_goes_on() -> None:
    plain = job(budget={"tokens": 5})
    other = job(budget={"tokens": 9}, maxNonsense=0.9, writer=SERVICE | {"requestsPerMinute": 5})
    assert plain.stage("qa").identity() == other.stage("qa").identity()
    old, new = (j.to_yaml_dict()["spec"] for j in (plain, other))
    assert all(change.is_around for change in differences(old, new, "spec"))
    assert job(count=2).stage("qa").identity() != plain.stage("qa").identity()
    ending = [job(budget={"tokens": n}, atBudget="finish").stage("qa").identity() for n in (5, 9)]
    assert ending[0] != ending[1], "the result then depends on the budget"


def test_checks_before_anything_runs(tmp_path: Path) -> None:
    found = with_absolute_paths(job(), tmp_path)
    with pytest.raises(NotFoundError, match=r"spec\.stages\[0\]\.generate\.sources\[0\]"):
        preflight._check_inputs(found, found.spec.stages, remote=False)
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts/a.md").write_text("Words.\n")
    preflight._check_inputs(found, found.spec.stages, remote=False)
    warned = list(preflight._warnings(found, found.spec.stages, None))
    assert any("grader is not given" in w for w in warned)
    assert any("budget is not given" in w for w in warned)
    same = job(grader=SERVICE, budget={"tokens": 9})
    assert "grades itself" in " ".join(preflight._warnings(same, same.spec.stages, None))


def test_the_example_of_the_page_is_a_run_file() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs/generate.md").read_text()
    stages = yaml.safe_load(page.split("```yaml\n")[1].split("```")[0])["stages"]
    sft = {"name": "sft", "train": {"objective": "sft", "data": "chats"}}
    data = {"metadata": {"name": "one"}, "spec": {"model": "m", "stages": [*stages, sft]}}
    found = parse(data)
    names = [s.name for s in graph.order(found)]
    assert names.index("quiz") < names.index("qa") < names.index("chats") < names.index("score")
