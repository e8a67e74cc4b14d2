"""A run file as its pilot."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astrosage.errors import SpecError
from astrosage.pilot.expand import ANNOTATION, Pilot, expand, fractions_of, stage_name
from astrosage.spec import graph
from astrosage.spec.job import AstroJob
from astrosage.spec.load import parse


def recipe(**changes: Any) -> AstroJob:
    stages: list[dict[str, Any]] = [
        {"name": "corpus", "prepare": {"sources": [{"path": "/c/*.md"}]}},
        {"name": "chat", "prepare": {"format": "chat", "sources": [{"path": "/c/chat.jsonl"}]}},
        {"name": "cpt", "train": {"objective": "cpt", "data": "corpus", "maxSteps": 100}},
        {"name": "sft", "train": {"objective": "sft", "model": "cpt", "data": "chat", "epochs": 2}},
        {
            "name": "merged",
            "merge": {
                "method": "linear",
                "models": [{"model": "sft", "weight": 0.7}, {"model": "base-model", "weight": 0.3}],
            },
        },
        {
            "name": "score",
            "bench": {
                "model": "merged",
                "baseline": "base-model",
                "questions": [{"path": "/c/quiz.jsonl"}],
            },
        },
    ]
    for stage in stages:
        stage.update(changes.get(str(stage["name"]), {}))
    return parse(
        {
            "apiVersion": "astrosage.io/v1alpha1",
            "kind": "AstroJob",
            "metadata": {"name": "astro", "annotations": {"team": "a"}},
            "spec": {"model": "base-model", "stages": stages},
        },
        source="recipe",
    )


def test_what_sees_the_corpus_is_there_once_a_part_and_the_rest_once() -> None:
    job = expand(recipe(), (0.1, 1.0))
    assert [s.name for s in job.spec.stages] == [
        "corpus-10pct",
        "corpus",
        "chat",
        "cpt-10pct",
        "cpt",
        "sft-10pct",
        "sft",
        "merged-10pct",
        "merged",
        "score-10pct",
        "score",
    ]
    assert job.metadata.name == "astro-pilot"
    assert job.metadata.annotations["team"] == "a"
    assert Pilot.of(job) == Pilot(
        (0.1, 1.0), ("corpus",), ("corpus", "cpt", "sft", "merged", "score")
    )


def test_each_part_names_its_own_stages() -> None:
    job = expand(recipe(), (0.1, 1.0))
    assert graph.dependencies(job, job.stage("sft-10pct")) == ["cpt-10pct", "chat"]
    assert graph.dependencies(job, job.stage("merged-10pct")) == ["sft-10pct"]
    assert graph.dependencies(job, job.stage("score")) == ["merged"]
    assert job.stage("corpus-10pct").prepare.fraction == 0.1  # type: ignore[union-attr]
    assert job.stage("corpus").prepare.fraction is None  # type: ignore[union-attr]


def test_steps_go_with_the_corpus_where_they_are_counted() -> None:
    job = expand(recipe(), (0.1, 1.0))
    assert job.stage("cpt-10pct").train.max_steps == 10  # type: ignore[union-attr]
    assert job.stage("cpt").train.max_steps == 100  # type: ignore[union-attr]
    assert job.stage("sft-10pct").train.epochs == 2  # type: ignore[union-attr]


def test_a_baseline_from_outside_is_scored_once() -> None:
    job = expand(recipe(), (0.1, 0.5))
    assert job.stage("score-10pct").bench.baseline is None  # type: ignore[union-attr]
    assert job.stage("score-50pct").bench.baseline == "base-model"  # type: ignore[union-attr]


def test_a_baseline_from_the_part_is_scored_with_it() -> None:
    bench = {"model": "merged", "baseline": "cpt", "questions": [{"path": "/c/quiz.jsonl"}]}
    job = expand(recipe(score={"bench": bench}), (0.1, 0.5))
    assert job.stage("score-10pct").bench.baseline == "cpt-10pct"  # type: ignore[union-attr]


def test_a_recipe_on_a_part_is_taken_in_parts_of_that() -> None:
    prepare = {"sources": [{"path": "/c/*.md"}], "fraction": 0.5}
    job = expand(recipe(corpus={"prepare": prepare}), (0.1, 1.0))
    assert job.stage("corpus-10pct").prepare.fraction == pytest.approx(0.05)  # type: ignore[union-attr]
    assert job.stage("corpus").prepare.fraction == 0.5  # type: ignore[union-attr]


def test_another_corpus_can_be_named() -> None:
    job = expand(recipe(), (0.1, 1.0), ["chat"])
    names = [s.name for s in job.spec.stages]
    assert {"chat-10pct", "sft-10pct"} <= set(names)
    assert "cpt-10pct" not in names


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0.1", "makes no curve"),
        ("0.1,2", "`2` is no part"),
        ("0,1", "`0` is no part"),
        ("0.1,a", "`a` is no part"),
        ("0.1,nan", "`nan` is no part"),
        ("0.1,0.1,1", "0.1 is there twice"),
    ],
)
def test_fractions_that_cannot_be(text: str, words: str) -> None:
    with pytest.raises(SpecError, match="--fractions") as error:
        fractions_of(text)
    assert words in error.value.message


@pytest.mark.parametrize(
    ("corpus", "words"),
    [(["corpse"], "no prepare stage `corpse`"), (["cpt"], "no prepare stage `cpt`")],
)
def test_a_corpus_that_cannot_be(corpus: list[str], words: str) -> None:
    with pytest.raises(SpecError) as error:
        expand(recipe(), (0.1, 1.0), corpus)
    assert words in error.value.message


def test_names_that_become_too_long_name_the_stage() -> None:
    job = recipe()
    data = job.to_yaml_dict()
    long = "c" * 38
    data["spec"]["stages"][0]["name"] = long
    data["spec"]["stages"][2]["train"]["data"] = long
    with pytest.raises(SpecError, match=r"spec\.stages\[0\]\.name") as error:
        expand(parse(data, source="recipe"), (0.1, 1.0))
    assert "shorter name" in (error.value.hint or "")


def test_an_annotation_that_is_none_of_ours() -> None:
    data = recipe().to_yaml_dict()
    data["metadata"]["annotations"] = {ANNOTATION: "yes"}
    with pytest.raises(SpecError, match="astroctl pilot"):
        Pilot.of(parse(data, source="x"))


@given(
    st.lists(
        st.integers(1, 10**6).map(lambda n: n / 10**6), min_size=2, max_size=8, unique=True
    ).map(sorted)
)
def test_every_part_has_names_of_its_own_and_a_whole_graph(fractions: list[float]) -> None:
    job = expand(recipe(), tuple(fractions))
    names = [s.name for s in job.spec.stages]
    assert len(set(names)) == len(names)
    graph.check(job)
    for fraction in fractions:
        needed = graph.needed_for(job, [stage_name("score", fraction)])
        own = {stage_name(n, fraction) for n in ("corpus", "cpt", "sft", "merged", "score")}
        assert {s.name for s in needed} == own | {"chat"}
