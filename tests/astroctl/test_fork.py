from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from astroctl.runs.changes import changes, kept, refusal
from astrosage.errors import ConflictError, NotFoundError
from astrosage.runs import manifest
from astrosage.runs.directory import ARTEFACTS, RunDirectory
from astrosage.runs.fork import ANNOTATION
from astrosage.spec.changes import listed
from astrosage.spec.job import AstroJob
from astrosage.spec.load import load, parse
from tests.astroctl.conftest import Astroctl, job_data, write_run


def make(**train: Any) -> dict[str, Any]:
    question = {"path": "s3://x/q.jsonl"}
    return {
        "metadata": {"name": "run"},
        "spec": {
            "model": "org/model",
            "storage": "s3://x/runs",
            "stages": [
                {"name": "corpus", "prepare": {"sources": [{"path": "s3://x/*.md"}]}},
                {"name": "cpt", "train": {"objective": "cpt", "data": "corpus", **train}},
                {"name": "score", "bench": {"model": "cpt", "questions": [question]}},
            ],
        },
    }


ALL = ("corpus", "cpt", "score")


def changed(path: str, value: Any) -> AstroJob:
    data = make()
    node: Any = data
    *parents, last = path.split("/")
    for part in parents:
        node = node[int(part)] if isinstance(node, list) else node.setdefault(part, {})
    node[last] = value
    return parse(data)


@pytest.mark.parametrize(
    ("path", "value", "field", "standing"),
    [
        ("spec/cluster/workers", 2, "spec.cluster.workers", ALL),
        ("spec/retry/maxFailures", 9, "spec.retry.maxFailures", ALL),
        (
            "spec/stages/2/bench/seed",
            3,
            "spec.stages[score].bench.seed",
            ("corpus", "cpt"),
        ),
        (
            "spec/stages/1/train/learningRate",
            0.5,
            "spec.stages[cpt].train.learningRate",
            ("corpus",),
        ),
        ("spec/stages/0/prepare/seed", 7, "spec.stages[corpus].prepare.seed", ()),
        ("spec/model", "org/other", "spec.model", ()),
        # Texts are kept apart from the questions of the run, so other questions change them.
        (
            "spec/stages/2/bench/questions",
            [{"path": "s3://x/other.jsonl"}],
            "spec.stages[score].bench.questions[0].path",
            (),
        ),
    ],
)
def test_what_a_change_leaves_standing(
    path: str, value: Any, field: str, standing: tuple[str, ...]
) -> None:
    old, new = parse(make()), changed(path, value)
    (change,) = [c for c in changes(old, new) if c.field == field]
    assert change.new == (value if not isinstance(value, list) else "s3://x/other.jsonl")
    assert kept(old, new, ALL) == list(standing)
    assert change.is_around == (standing == ALL)
    assert kept(old, new, ()) == []


def test_a_stage_with_a_cluster_of_its_own_is_the_same_elsewhere() -> None:
    old, new = parse(make()), changed("spec/stages/1/cluster", {"workers": 3})
    assert all(c.is_around for c in changes(old, new))
    assert kept(old, new, ALL) == list(ALL)


def test_new_stages_and_those_after_them_run() -> None:
    data = make()
    data["spec"]["stages"][0]["name"] = "texts"
    data["spec"]["stages"][1]["train"]["data"] = "texts"
    new = parse(data)
    assert kept(parse(make()), new, ALL) == []


def test_a_refusal_says_what_changed_and_what_a_fork_would_do() -> None:
    error = refusal(parse(make()), changed("spec/stages/1/train/epochs", 2.0), ALL, "s3://x")
    assert "exists already in s3://x" in error.message
    assert "spec.stages[cpt].train.epochs: (not set) -> 2.0" in error.message
    assert "`--fork NEW` makes a new run that takes over corpus and runs cpt, score" in error.hint
    assert "`astroctl resume run`" in error.hint
    error = refusal(parse(make()), changed("spec/cluster/workers", 2), ALL[:1], "there")
    assert "`astroctl resume run -f FILE`" in error.hint


def test_long_lists_are_cut() -> None:
    old, new = parse(make()), parse(make(betas=[0.1, 0.2], seed=1, epsilon=0.1))
    found = changes(old, new) * 10
    assert listed(found).count("\n") == 13
    assert listed(found).endswith(f"and {len(found) - 12} more")


def finish(directory: RunDirectory, job: AstroJob, name: str) -> None:
    kind = job.stage(name).kind
    with directory.stage(name).storage.writing(ARTEFACTS[kind]) as folder:
        (folder / "file").write_bytes(b"1")
        manifest.write(folder, key="k")


@pytest.fixture
def finished_run(run_file: Path, home: Path) -> RunDirectory:
    """The run of ``run_file``, with its corpus finished."""
    job = load(run_file)
    directory = RunDirectory.of(job)
    directory.create(job)
    finish(directory, job, "corpus")
    return directory


def edit(run_file: Path, model: Path, texts: Path, **train: Any) -> None:
    data = job_data(model, texts)
    data["spec"]["stages"][1]["train"] |= train
    write_run(run_file, data)


def test_submit_of_a_changed_file_is_refused_with_the_fields(
    astroctl: Astroctl, run_file: Path, texts: Path, tiny_model: Path, finished_run: RunDirectory
) -> None:
    edit(run_file, tiny_model, texts, maxSteps=3)
    result = astroctl("submit", "-f", run_file)
    assert result.exit_code == 4
    text = " ".join(result.stderr.split())
    assert "spec.stages[cpt].train.maxSteps: 2 -> 3" in text
    assert "takes over corpus and runs cpt" in text
    only = astroctl("submit", "train", "-f", run_file, "--only", "cpt")
    assert only.exit_code == 4
    assert "maxSteps: 2 -> 3" in only.stderr


def test_dry_run_of_a_fork_shows_what_is_taken_over(
    astroctl: Astroctl, run_file: Path, texts: Path, tiny_model: Path, finished_run: RunDirectory
) -> None:
    edit(run_file, tiny_model, texts, maxSteps=3)
    result = astroctl("submit", "-f", run_file, "--fork", "next", "--dry-run", "-o", "json")
    assert result.exit_code == 0, result.stderr
    data = json.loads(result.stdout)
    assert data["job"]["metadata"]["name"] == "next"
    assert data["job"]["metadata"]["annotations"] == {ANNOTATION: "default/small"}
    assert data["directory"].endswith("/default/next")
    assert not data["exists"]
    assert {s["name"]: s["state"] for s in data["stages"]} == {"corpus": "take over", "cpt": "run"}


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("small", 2, "the run file is of `small` itself"),
        ("Not A Name", 2, "metadata.name"),
    ],
)
def test_names_that_a_fork_cannot_have(
    name: str, code: int, said: str, astroctl: Astroctl, run_file: Path, finished_run: RunDirectory
) -> None:
    result = astroctl("submit", "-f", run_file, "--fork", name)
    assert result.exit_code == code
    assert said in result.stderr


def test_a_fork_needs_the_run_that_it_is_of(
    astroctl: Astroctl, run_file: Path, home: Path, tmp_path: Path
) -> None:
    result = astroctl("submit", "-f", run_file, "--fork", "next")
    assert result.exit_code == NotFoundError.exit_code
    assert "--fork: there is no run `default/small`" in result.stderr
    assert not (tmp_path / "runs").exists()


def test_only_and_fork_exclude_each_other(astroctl: Astroctl, run_file: Path, home: Path) -> None:
    result = astroctl("submit", "train", "-f", run_file, "--only", "cpt", "--fork", "next")
    assert result.exit_code == 2
    assert "--only or --fork" in result.stderr


def test_resume_with_another_recipe_is_refused_with_the_fields(
    astroctl: Astroctl, run_file: Path, texts: Path, tiny_model: Path, finished_run: RunDirectory
) -> None:
    edit(run_file, tiny_model, texts, learningRate=0.5)
    for arguments in (("-f", run_file), ("--set", "spec.stages.cpt.train.learningRate=0.5")):
        result = astroctl("resume", "small", "--storage", run_file.parent / "runs", *arguments)
        assert result.exit_code == ConflictError.exit_code
        text = " ".join(result.stderr.split())
        assert "spec.stages[cpt].train.learningRate: 2e-05 -> 0.5" in text
        assert "takes over corpus and runs cpt" in text
    assert finished_run.job().stage("cpt").train is not None
