from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astrosage.errors import SpecError
from astrosage.spec import local
from astrosage.spec.job import AstroJob
from astrosage.spec.load import parse


def job(model: str = "/models/base", storage: str = "pvc://data/team") -> AstroJob:
    stages: list[dict[str, Any]] = [
        {
            "name": "corpus",
            "prepare": {
                "model": "./tokenizer",
                "sources": [{"path": "a/*.md"}, {"path": "s3://b/c.md"}],
                "validation": {"sources": [{"path": "pvc://data/held/*.md"}]},
                "decontaminate": {"against": ["quiz.jsonl", "gs://b/other.jsonl"]},
            },
        },
        {"name": "cpt", "train": {"objective": "cpt", "data": "corpus", "model": "org/model"}},
        {
            "name": "merged",
            "merge": {
                "method": "ties",
                "base": "cpt",
                "models": [{"model": "~/donor"}, {"model": "cpt"}],
            },
        },
        {
            "name": "score",
            "bench": {
                "model": "merged",
                "baseline": "smollm2-135m",
                "questions": [{"path": "file:///quiz.jsonl"}],
                "heldout": [{"path": "/astrosage/storage/held.txt"}],
            },
        },
    ]
    spec = {"model": model, "storage": storage, "stages": stages}
    return parse({"metadata": {"name": "j"}, "spec": spec})


def test_all_fields_that_name_files_or_models() -> None:
    assert [(n.field, n.kind, n.value) for n in local.named(job())] == [
        ("spec.model", "model", "/models/base"),
        ("spec.stages[0].prepare.model", "model", "./tokenizer"),
        ("spec.stages[0].prepare.sources[0].path", "source", "a/*.md"),
        ("spec.stages[0].prepare.sources[1].path", "source", "s3://b/c.md"),
        ("spec.stages[0].prepare.validation.sources[0].path", "source", "pvc://data/held/*.md"),
        ("spec.stages[0].prepare.decontaminate.against[0]", "questions", "quiz.jsonl"),
        ("spec.stages[0].prepare.decontaminate.against[1]", "questions", "gs://b/other.jsonl"),
        ("spec.stages[1].train.model", "model", "org/model"),
        ("spec.stages[2].merge.models[0].model", "model", "~/donor"),
        ("spec.stages[3].bench.baseline", "model", "smollm2-135m"),
        ("spec.stages[3].bench.questions[0].path", "questions", "file:///quiz.jsonl"),
        ("spec.stages[3].bench.heldout[0].path", "source", "/astrosage/storage/held.txt"),
    ]


def test_local_paths_are_those_of_some_ones_own_disk() -> None:
    assert [field for field, _ in local.local_paths(job())] == [
        "spec.model",
        "spec.stages[0].prepare.model",
        "spec.stages[0].prepare.sources[0].path",
        "spec.stages[0].prepare.decontaminate.against[0]",
        "spec.stages[2].merge.models[0].model",
        "spec.stages[3].bench.questions[0].path",
    ]


def test_no_field_that_may_name_a_file_is_forgotten() -> None:
    """Every field called path, model, base, baseline or against is among them."""
    found = {n.field for n in local.named(job())}
    wanted = ("path", "model", "base", "baseline")

    def walk(node: Any, where: str) -> Any:
        if isinstance(node, dict):
            for key, value in node.items():
                field = f"{where}.{key}"
                if key in wanted and isinstance(value, str) and value not in ("cpt", "merged"):
                    yield field
                yield from walk(value, field)
        elif isinstance(node, list):
            for i, item in enumerate(node):
                if isinstance(item, str) and where.endswith("against"):
                    yield f"{where}[{i}]"
                yield from walk(item, f"{where}[{i}]")

    assert set(walk(job().to_yaml_dict()["spec"], "spec")) == found


def test_rewriting_asks_for_each_field_and_leaves_the_job_alone() -> None:
    before = job()
    after = local.rewritten(before, lambda n: f"{n.value}!")
    assert before == job()
    assert [n.value for n in local.named(after)] == [f"{n.value}!" for n in local.named(before)]
    assert after.spec.stages[2].merge is not None
    assert after.spec.stages[2].merge.base == "cpt"
    assert local.rewritten(after, lambda n: n.value.removesuffix("!")) == before


def test_what_lies_on_the_claim_becomes_a_path_of_pods() -> None:
    values = [n.value for n in local.named(local.inside_pods(job()))]
    assert "/astrosage/storage/held/*.md" in values
    assert not any(v.startswith("pvc://") for v in values)
    with pytest.raises(SpecError, match=r"validation\.sources\[0\].*pods mount the claim") as error:
        local.inside_pods(job(storage="s3://bucket"))
    assert "pvc://data" in error.value.hint
    assert local.inside_pods(job(storage="./runs"), "pvc://data/x") == local.rewritten(
        local.inside_pods(job()), lambda n: n.value
    ).model_copy(
        update={"spec": local.inside_pods(job()).spec.model_copy(update={"storage": "./runs"})}
    )


@pytest.mark.parametrize("uri", ["pvc://", "pvc:///x", "pvc://c/../x", "pvc://c/a/../../b"])
def test_claims_that_make_no_sense(uri: str) -> None:
    with pytest.raises(SpecError, match="expected pvc://claim/path"):
        local.split_claim(uri)


@given(st.lists(st.text("ab.", min_size=1, max_size=3).filter(lambda p: p not in (".", ".."))))
def test_a_claims_path_is_plain(parts: list[str]) -> None:
    claim, path = local.split_claim("pvc://data/" + "//".join([*parts, "."]) + "/")
    assert claim == "data"
    assert path == "/".join(parts)
