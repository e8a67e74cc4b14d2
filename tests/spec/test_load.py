from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from astrosage.errors import DataError, NotFoundError, SpecError
from astrosage.spec.load import apply_override, load, parse

JOB: dict[str, Any] = {
    "apiVersion": "astrosage.io/v1alpha1",
    "kind": "AstroJob",
    "metadata": {"name": "mini"},
    "spec": {
        "model": "smollm2-135m",
        "stages": [
            {"name": "corpus", "prepare": {"sources": [{"path": "texts/*.md"}]}},
            {"name": "cpt", "train": {"objective": "cpt", "data": "corpus"}},
            {
                "name": "score",
                "bench": {"model": "cpt", "questions": [{"path": "quiz.jsonl"}]},
            },
        ],
    },
}


def job(**changes: Any) -> dict[str, Any]:
    """The job with ``a__b=value`` changes; stages by name."""
    data = copy.deepcopy(JOB)
    for path, value in changes.items():
        node: Any = data
        *parents, last = path.split("__")
        for part in parents:
            node = (
                next(s for s in node if s["name"] == part) if isinstance(node, list) else node[part]
            )
        node[last] = value
    return data


def test_defaults_are_filled_in_and_survive_a_round_trip() -> None:
    parsed = parse(JOB)
    train = parsed.stage("cpt").train
    assert train is not None
    assert train.zero.stage == 3
    assert train.checkpoint.keep == 2
    assert parse(yaml.safe_load(yaml.safe_dump(parsed.to_yaml_dict()))) == parsed


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"spec__stages__cpt__train__learningRat": 1}, "cpt.*|did you mean `learningRate`"),
        ({"spec__stages__cpt__train__learning_rat": 1}, "did you mean `learningRate`"),
        ({"spec__stages__corpus__prepare__pack": {"sequenceLenght": 1}}, "`sequenceLength`"),
        ({"spec__clusterr": {}}, r"spec.clusterr: unknown field; did you mean `cluster`"),
        ({"metadata__nmae": "x"}, r"metadata.nmae: unknown field; did you mean `name`"),
        ({"extra": 1}, "extra: unknown field"),
        ({"spec__stages__cpt__train__zero": {"stage": 4}}, r"zero.stage.*\(found 4\)"),
        ({"spec__stages__cpt__train__learningRate": -1}, r"learningRate.*\(found -1\)"),
        ({"spec__stages__cpt__train__learningRate": float("nan")}, "learningRate"),
        ({"spec__stages__cpt__train__objective": "rl"}, r"objective.*\(found 'rl'\)"),
        ({"spec__cluster": {"workers": {"min": 3, "max": 2}}}, "min 3 is above max 2"),
        ({"spec__cluster": {"resourcesPerWorker": {"memory": "6 gigs"}}}, "memory"),
        ({"metadata__name": "Big_Name"}, r"metadata.name.*\(found 'Big_Name'\)"),
        ({"metadata__name": "x" * 41}, "metadata.name"),
        ({"apiVersion": "astrosage.io/v9"}, "apiVersion"),
        ({"spec__stages__score__bench__endpoint": {"url": "http://h/v1", "model": "m"}}, "exactly"),
    ],
)
def test_wrong_fields_are_named_with_what_was_found(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        parse(job(**changes))


def test_every_wrong_field_is_listed_at_once() -> None:
    changes = {"spec__stages__cpt__train__epsilon": -1, "spec__retry": {"maxFailures": -1}}
    with pytest.raises(SpecError) as caught:
        parse(job(**changes))
    assert "epsilon" in caught.value.message
    assert "maxFailures" in caught.value.message


def test_a_stage_has_one_kind() -> None:
    kinds = "prepare, generate, train, merge, bench"
    with pytest.raises(SpecError, match=f"exactly one of {kinds}; found none"):
        parse(job(spec__stages=[{"name": "a"}]))
    both = {"name": "a", **JOB["spec"]["stages"][0], "bench": {"model": "m", "questions": []}}
    with pytest.raises(SpecError):
        parse(job(spec__stages=[both]))


def test_missing_field_is_said_to_be_missing() -> None:
    data = job()
    del data["spec"]["stages"][1]["train"]["data"]
    with pytest.raises(SpecError, match=r"stages\[1\].train.data: required, but missing"):
        parse(data)


@pytest.mark.parametrize(
    ("item", "path", "value"),
    [
        ("spec.stages.cpt.train.epochs=2", ("spec", "stages", 1, "train", "epochs"), 2),
        (
            "spec.stages.1.train.learningRate=1e-4",
            ("spec", "stages", 1, "train", "learningRate"),
            1e-4,
        ),
        ("spec.cluster.workers=2", ("spec", "cluster", "workers"), 2),
        ("spec.model=./my model", ("spec", "model"), "./my model"),
        ("spec.stages.cpt.train.epochs=null", ("spec", "stages", 1, "train", "epochs"), None),
        (
            "spec.stages.cpt.train.zero={stage: 2}",
            ("spec", "stages", 1, "train", "zero"),
            {"stage": 2},
        ),
    ],
)
def test_overrides(item: str, path: tuple[Any, ...], value: Any) -> None:
    data: Any = job()
    apply_override(data, item)
    for part in path:
        data = data[part]
    assert data == value


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ("spec.model", "expected a.b=c"),
        ("=x", "expected a.b=c"),
        ("spec.stages.cpx.train.epochs=1", "no item `cpx` in the list"),
        ("spec.stages.7.train.epochs=1", "no item `7`"),
        ("spec.model.deeper.x=1", "is a value, not a group"),
        ("spec.model=[1", "not a YAML value"),
    ],
)
def test_overrides_that_make_no_sense(item: str, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        apply_override(job(), item)


def test_local_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    data = job(spec__model="./base", spec__stages__score__bench__baseline="base")
    data["spec"]["stages"][1]["train"]["model"] = "org/name"
    file = tmp_path / "job.yaml"
    file.write_text(yaml.safe_dump(data))
    loaded = load(file)
    assert loaded.spec.model == str(tmp_path / "base")
    assert loaded.spec.storage == str(tmp_path / "runs")
    assert loaded.stage("corpus").prepare.sources[0].path == str(tmp_path / "texts/*.md")  # type: ignore[union-attr]
    bench = loaded.stage("score").bench
    assert bench is not None
    assert bench.baseline == str(tmp_path / "base")
    assert bench.model == "cpt"
    assert loaded.stage("cpt").train.model == "org/name"  # type: ignore[union-attr]
    uri = load(file, ["spec.storage=s3://bucket/runs"])
    assert uri.spec.storage == "s3://bucket/runs"


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="does not exist"):
        load(tmp_path / "none.yaml")
    with pytest.raises(NotFoundError, match="is a folder"):
        load(tmp_path)
    file = tmp_path / "job.yaml"
    for content, error, words in (
        (b"\xff\xfe", DataError, "not UTF-8 at byte 0"),
        (b"a: [1,\nb: 2", SpecError, "at line 2"),
        (b"", SpecError, "found nothing"),
        (b"- 1", SpecError, "found list"),
        (b"a: 1\n---\nb: 2\n", SpecError, "line 2"),
    ):
        file.write_bytes(content)
        with pytest.raises(error, match=words):
            load(file)


@pytest.mark.parametrize(
    ("workers", "told"),
    [({"min": 3, "max": 2}, "min 3 is above max 2"), (0, "greater than or equal to 1 .found 0.")],
)
def test_only_the_kind_of_value_that_was_meant_is_spoken_of(workers: Any, told: str) -> None:
    with pytest.raises(SpecError, match=rf"^run file: spec.cluster.workers: [^\n]*{told}\nhint"):
        parse(job(spec__cluster={"workers": workers}))
    with pytest.raises(SpecError, match=r"valid integer(.|\n)*valid dictionary"):
        parse(job(spec__cluster={"workers": []}))
