from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import pytest

from astroctl.upload.hashes import Hashes
from astroctl.upload.plan import FOLDER, plan, rewrite, split_pattern
from astrosage.errors import DataError, NotFoundError
from astrosage.spec import local
from tests.astroctl.upload.conftest import JobMaker


def test_every_field_is_planned_once_for_each_path(make_job: JobMaker, folder: Path) -> None:
    found = plan(make_job("s3://b/runs"))
    by_path = {Path(i.path).name: i for i in found.items}
    assert by_path["quiz.jsonl"].fields == (
        "spec.stages[0].prepare.decontaminate.against[0]",
        "spec.stages[2].bench.questions[0].path",
    )
    assert by_path["one.txt"].fields == (
        "spec.stages[0].prepare.sources[1].path",
        "spec.stages[2].bench.heldout[0].path",
    )
    assert by_path["model"].fields == ("spec.model",)
    assert len(found.items) == 4
    assert found.size == sum(f.size for f in found.files.values())
    assert found.missing_size == found.size


def test_names_are_hashes_of_content(make_job: JobMaker, folder: Path) -> None:
    found = plan(make_job("s3://b/runs", sources=["one.txt"]))
    sha = hashlib.sha256((folder / "one.txt").read_bytes()).hexdigest()
    item = next(i for i in found.items if i.path.endswith("one.txt"))
    assert item.target == f"{FOLDER}/{sha[:2]}/{sha}/one.txt"
    assert found.reference(item) == f"s3://b/runs/{FOLDER}/{sha[:2]}/{sha}/one.txt"


def test_equal_names_in_a_pattern_stay_apart(make_job: JobMaker, folder: Path) -> None:
    found = plan(make_job("s3://b/runs", sources=["texts/**/*.md"]))
    item = next(i for i in found.items if "**" in i.path)
    assert sorted(f.name for f in item.files) == ["a-c/b.md", "a.md", "deep/a.md"]
    assert item.target == f"{item.folder}/**/*.md"


def test_the_same_content_elsewhere_is_the_same_upload(
    make_job: JobMaker, folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    first = plan(make_job("s3://b/runs"))
    sources = [f"{tmp_path}/copy/texts/**/*.md", f"{tmp_path}/copy/one.txt"]
    second = plan(make_job("s3://b/runs", sources=sources))
    assert first.files.keys() == second.files.keys()
    (tmp_path / "copy/texts/a.md").write_text("Another star.")
    assert plan(make_job("s3://b/runs", sources=sources)).files.keys() != first.files.keys()


def test_the_job_is_rewritten_and_nothing_else(make_job: JobMaker) -> None:
    job = make_job("s3://b/runs")
    new = rewrite(job, plan(job))
    assert local.local_paths(job)
    assert local.local_paths(new) == []
    changed = {n.field for n in local.named(job)} - {"spec.stages[2].bench.baseline"}
    assert {n.field for n in local.named(new) if f"/{FOLDER}/" in n.value} == changed
    back = local.rewritten(
        new, lambda n: next(o.value for o in local.named(job) if o.field == n.field)
    )
    assert back == job


def test_on_a_claim_the_job_names_paths_of_its_pods(make_job: JobMaker) -> None:
    job = make_job("pvc://data/team")
    new = rewrite(job, plan(job))
    assert new.spec.model.startswith(f"/astrosage/storage/team/{FOLDER}/")
    assert local.local_paths(new) == []
    assert plan(new).items == ()


@pytest.mark.parametrize("path", ["none.txt", "nothing/*.md", "texts"])
def test_a_path_with_nothing_behind_it_is_named(make_job: JobMaker, path: str) -> None:
    with pytest.raises(NotFoundError, match=r"spec\.stages\[0\]\.prepare\.sources\[1\]\.path"):
        plan(make_job("s3://b/runs", sources=["one.txt", path]))


def test_a_model_comes_without_what_is_not_its_own(
    make_job: JobMaker, tiny_model: Path, tmp_path: Path
) -> None:
    model = shutil.copytree(tiny_model, tmp_path / "my-model")
    (model / ".git").mkdir()
    (model / ".git/config").write_text("secret")
    for name in (".env", "pytorch_model.bin", "optimizer.pt", "notes.pdf"):
        (model / name).write_text("x")
    found = plan(make_job("s3://b/runs", model=str(model)))
    item = next(i for i in found.items if i.path == str(model))
    assert dict(item.left_out) == {
        ".env": "hidden",
        ".git": "hidden",
        "pytorch_model.bin": "not safetensors; pickles are never loaded",
        "optimizer.pt": "not safetensors; pickles are never loaded",
        "notes.pdf": "no part of a model",
    }
    assert {f.name for f in item.files} >= {"config.json", "model.safetensors", "tokenizer.json"}
    assert item.target.endswith("/my-model")
    assert not any(".git" in name or ".env" in name for name in found.files)


def test_a_folder_that_is_no_model_is_refused(make_job: JobMaker, folder: Path) -> None:
    with pytest.raises(NotFoundError, match=r"spec\.model: .* has no config\.json"):
        plan(make_job("s3://b/runs", model="./texts"))


def test_hidden_files_come_only_if_the_pattern_says_so_and_are_told(make_job: JobMaker) -> None:
    found = plan(make_job("s3://b/runs", sources=["texts/**/*.md"]))
    assert not any(".hidden" in name for name in found.files)
    found = plan(make_job("s3://b/runs", sources=["texts/.hidden/*.md"]))
    assert not any(i.notes for i in found.items)  # the pattern begins in there
    found = plan(make_job("s3://b/runs", sources=["texts/.h*/*.md"]))
    (notes,) = [i.notes for i in found.items if i.notes]
    assert ".hidden/c.md" in notes[0]


def test_file_uris_are_local(make_job: JobMaker, folder: Path) -> None:
    found = plan(make_job("s3://b/runs", sources=[f"file://{folder}/one.txt"], against=[]))
    assert f"{folder}/one.txt" in [i.path for i in found.items]


def test_a_plan_as_data_says_how_much(make_job: JobMaker, tiny_model: Path) -> None:
    data = plan(make_job("s3://b/runs")).to_dict()
    assert data["bytes"] == data["missingBytes"] > 0
    assert data["files"] == data["missingFiles"] == 5 + len(list(tiny_model.iterdir()))
    assert not data["checked"]
    assert all(i["becomes"].startswith("s3://b/runs/.uploads/") for i in data["items"])


def test_where_a_pattern_begins() -> None:
    assert split_pattern("/a/b/*.md") == (Path("/a/b"), "*.md")
    assert split_pattern("/a/*/c/**/x[12].md") == (Path("/a"), "*/c/**/x[12].md")


def test_hashes_of_large_files_are_remembered_until_they_change(tmp_path: Path) -> None:
    file = tmp_path / "big"
    file.write_bytes(b"x" * (1 << 20))
    os.utime(file, (1e9, 1e9))
    first = Hashes()
    sha = first.of(file)[2]
    first.save()
    assert sha in Hashes()._known.values()
    key = next(iter(Hashes()._known))
    forged = Hashes()
    forged._known[key] = "remembered"
    assert forged.of(file)[2] == "remembered"
    os.utime(file, (1e9 + 5, 1e9 + 5))
    assert forged.of(file)[2] == sha


def test_a_file_that_cannot_be_read_is_named(make_job: JobMaker, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        Hashes().of(tmp_path / "none")
