from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from astrosage.spec.load import load
from tests.astroctl.conftest import Astroctl, job_data, write_run


def test_init_writes_a_file_that_loads_and_never_overwrites(
    astroctl: Astroctl, tmp_path: Path
) -> None:
    file = tmp_path / "My Field 2.yaml"
    assert astroctl("init", file).exit_code == 0
    assert load(file).metadata.name == "my-field-2"
    before = file.read_text()
    assert "#" in before
    refused = astroctl("init", file, "--name", "other")
    assert refused.exit_code == 4
    assert "--force" in refused.stderr
    assert file.read_text() == before
    assert astroctl("init", file, "--name", "other", "--force").exit_code == 0
    assert load(file).metadata.name == "other"


def test_init_leaves_no_file_for_a_name_that_is_not_valid(
    astroctl: Astroctl, tmp_path: Path
) -> None:
    result = astroctl("init", tmp_path / "x.yaml", "--name", "Not Valid")
    assert result.exit_code == 2
    assert "metadata.name" in result.stderr
    assert not (tmp_path / "x.yaml").exists()


def test_a_fresh_file_validates_once_its_data_are_there(
    astroctl: Astroctl, tmp_path: Path, home: Path
) -> None:
    file = tmp_path / "job.yaml"
    astroctl("init", file)
    missing = astroctl("validate", "-f", file)
    assert missing.exit_code == 3
    assert "data/articles" in missing.stderr
    data = tmp_path / "data"
    (data / "articles").mkdir(parents=True)
    (data / "articles" / "a.md").write_text("A star is a ball of gas.")
    chat = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]}
    (data / "chats.jsonl").write_text(json.dumps(chat) + "\n")
    question = {"id": "1", "question": "What?", "choices": ["a", "b", "c", "d"], "answer": "B"}
    (data / "questions.jsonl").write_text(json.dumps(question) + "\n")
    result = astroctl("validate", "-f", file)
    assert result.exit_code == 0, result.stderr
    assert "cpt (train)" in result.stdout


def test_validate_prints_pure_json(astroctl: Astroctl, run_file: Path, home: Path) -> None:
    result = astroctl("validate", "-f", run_file, "-o", "json")
    assert json.loads(result.stdout)["stages"][0] == {"name": "corpus", "kind": "prepare"}


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_schema_describes_the_run_file(form: str, astroctl: Astroctl, run_file: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    result = astroctl("config", "schema", "-o", form)
    schema = yaml.safe_load(result.stdout)
    good = yaml.safe_load(run_file.read_text())
    jsonschema.validate(good, schema)
    good["spec"]["stages"][0]["prepare"]["pakc"] = {}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(good, schema)


def test_dry_run_shows_the_resolved_job_and_starts_nothing(
    astroctl: Astroctl, run_file: Path, home: Path
) -> None:
    result = astroctl(
        "submit", "train", "-f", run_file, "--dry-run", "-o", "json", "--set", "metadata.name=dry"
    )
    assert result.exit_code == 0, result.stderr
    plan = json.loads(result.stdout)
    assert plan["directory"] == str(run_file.parent / "runs/default/dry")
    assert [s["state"] for s in plan["stages"]] == ["run", "run"]
    assert plan["job"]["spec"]["stages"][1]["train"]["learningRate"] == 2e-5
    assert not Path(plan["directory"]).exists()
    assert not (home / "cluster.json").exists()
    prepare = astroctl("submit", "prepare", "-f", run_file, "--dry-run", "-o", "json")
    assert [s["state"] for s in json.loads(prepare.stdout)["stages"]] == ["run", "leave out"]


def test_a_merge_is_submitted_with_what_it_needs(astroctl: Astroctl, run_file: Path) -> None:
    refused = astroctl("submit", "merge", "-f", run_file, "--dry-run")
    assert (refused.exit_code, "has no merge stage" in refused.stderr) == (2, True)
    job = yaml.safe_load(run_file.read_text())
    models = [{"model": "cpt"}, {"model": job["spec"]["model"]}]
    job["spec"]["stages"].append({"name": "merged", "merge": {"models": models}})
    job["spec"]["stages"].append({**job["spec"]["stages"][1], "name": "another"})
    run_file.write_text(yaml.safe_dump(job))
    plan = astroctl("submit", "merge", "-f", run_file, "--dry-run", "-o", "json")
    states = {s["name"]: s["state"] for s in json.loads(plan.stdout)["stages"]}
    assert states == {"corpus": "run", "cpt": "run", "merged": "run", "another": "leave out"}


BAD = {
    "unknown field": ({"spec.stages.corpus.prepare.pakc": "{}"}, 2, "pack"),
    "unknown stage": ({"spec.stages.cpt.train.data": "corpsu"}, 2, "did you mean `corpus`?"),
    "cycle": ({"spec.stages.cpt.train.model": "cpt"}, 2, "names itself"),
    "missing data": ({"spec.stages.corpus.prepare.sources.0.path": "none/*.md"}, 3, "none/*.md"),
    "too long": ({"spec.stages.corpus.prepare.pack.sequenceLength": 512}, 2, "256"),
    "batch": ({"spec.stages.cpt.train.globalBatchSize": 7, "spec.cluster.workers": 2}, 2, "6 or 8"),
    "workers": ({"spec.cluster.workers": 64, "spec.stages.cpt.train.globalBatchSize": 64}, 5, "64"),
    "storage": ({"spec.storage": "/proc/nowhere"}, 5, "/proc/nowhere"),
    "pvc": ({"spec.storage": "pvc://claim/path"}, 5, "pvc"),
    "no such model": ({"spec.model": "./missing"}, 3, "missing"),
}


@pytest.mark.parametrize(("overrides", "code", "named"), BAD.values(), ids=BAD)
def test_bad_input_is_refused_and_leaves_nothing(
    overrides: dict[str, object],
    code: int,
    named: str,
    astroctl: Astroctl,
    run_file: Path,
    home: Path,
) -> None:
    before = sorted(run_file.parent.iterdir())
    sets = [a for k, v in overrides.items() for a in ("--set", f"{k}={v}")]
    result = astroctl("validate", "-f", run_file, *sets)
    assert result.exit_code == code, result.stderr
    assert named in result.stderr
    assert "hint: " in result.stderr
    home.mkdir(exist_ok=True)
    after = [p for p in sorted(run_file.parent.iterdir()) if p != home]
    assert after == [p for p in before if p != home]


def test_local_storage_is_refused_for_a_cluster_elsewhere(
    astroctl: Astroctl, run_file: Path, home: Path
) -> None:
    result = astroctl("submit", "train", "-f", run_file, "--address", "http://cluster.example:8265")
    assert result.exit_code == 2
    assert "spec.storage" in result.stderr
    assert "s3://" in result.stderr
    assert not (run_file.parent / "runs" / "default").exists()


def test_a_cluster_that_does_not_answer_leaves_no_run(
    astroctl: Astroctl, run_file: Path, home: Path
) -> None:
    result = astroctl("submit", "train", "-f", run_file, "--address", "http://127.0.0.1:18299")
    assert result.exit_code == 5
    assert "18299" in result.stderr
    assert not (run_file.parent / "runs" / "default" / "small").exists()
    assert json.loads(astroctl("list", "-o", "json").stdout) == []


def test_target_options_that_contradict_each_other(
    astroctl: Astroctl, run_file: Path, home: Path
) -> None:
    both = astroctl("validate", "-f", run_file, "--target", "local", "--address", "http://x:1")
    assert both.exit_code == 2
    none = astroctl(
        "validate", "-f", run_file, "--target", "ray", env={"RAY_API_SERVER_ADDRESS": ""}
    )
    assert none.exit_code == 2
    assert "RAY_API_SERVER_ADDRESS" in none.stderr


def test_only_needs_its_inputs_finished(astroctl: Astroctl, run_file: Path, home: Path) -> None:
    result = astroctl("submit", "train", "-f", run_file, "--only", "cpt")
    assert result.exit_code == 3
    assert "corpus" in result.stderr
    assert not (home / "cluster.json").exists()


def test_a_second_submit_of_a_name_is_refused_before_anything_starts(
    astroctl: Astroctl, tmp_path: Path, texts: Path, tiny_model: Path, home: Path
) -> None:
    from astrosage.runs.directory import RunDirectory

    file = write_run(tmp_path / "job.yaml", job_data(tiny_model, texts))
    RunDirectory.of(load(file)).create(load(file))
    result = astroctl("submit", "train", "-f", file)
    assert result.exit_code == 4
    assert "astroctl resume small" in result.stderr
    assert not (home / "cluster.json").exists()
