from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from astroctl.cli.group import RootGroup
from astroctl.datasets import fetch as fetching
from astroctl.datasets.catalogue import ASTRONOMY, Text
from astroctl.datasets.fetch import fetch
from astrosage.data.sources import check_source
from astrosage.errors import ConflictError, DataError, NotFoundError, StorageError
from astrosage.spec.sources import Source

TEX = "\\documentclass{a}\\begin{document}Notes.\\end{document}"


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=N", "-c", "user.email=n@example.org"]
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    """A folder with a repository whose latest state is not the wanted one."""
    repository = tmp_path / "mirror" / "notes-repo"
    (repository / "paper").mkdir(parents=True)
    git(repository, "init", "--quiet")
    (repository / "paper/main.tex").write_text(TEX)
    (repository / "figure.pdf").write_bytes(b"%PDF")
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "-m", "first")
    (repository / "paper/main.tex").write_text("Other words.")
    git(repository, "commit", "--quiet", "-am", "second")
    return tmp_path / "mirror"


def notes(mirror: Path, **changes: object) -> Text:
    facts = {
        "name": "notes",
        "title": "Notes",
        "authors": "N. N.",
        "repository": "owner/notes-repo",
        "commit": git(mirror / "notes-repo", "rev-parse", "HEAD~1"),
        "license": "CC0-1.0",
        "license_url": "https://example.org/cc0",
        "kind": "latex",
        "path": "**/*.tex",
        "folder": "paper",
        "patterns": ("paper/*.tex",),
    }
    return Text(**{**facts, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("form", ["folder", "bare", "bundle"])
def test_from_a_mirror(mirror: Path, tmp_path: Path, form: str) -> None:
    text = notes(mirror)
    if form == "bare":
        git(mirror, "clone", "--quiet", "--bare", "notes-repo", "notes-repo.git")
    elif form == "bundle":
        git(mirror / "notes-repo", "bundle", "create", "--quiet", "../notes-repo.bundle", "--all")
    if form != "folder":
        (mirror / "notes-repo").rename(mirror / "elsewhere")
    output = tmp_path / "out"
    made = fetch([text], output, mirror)
    files = sorted(p.relative_to(output).as_posix() for p in output.rglob("*") if p.is_file())
    assert files == ["ATTRIBUTION.md", "manifest.json", "notes/main.tex"]
    assert (output / "notes/main.tex").read_text() == TEX
    assert text.commit in (output / "ATTRIBUTION.md").read_text()
    assert made["commits"] == {"notes": text.commit}
    (source,) = made["sources"]
    assert check_source(Source(**source), "text", "f") == 1
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_a_short_commit_is_found(mirror: Path, tmp_path: Path) -> None:
    whole = notes(mirror).commit
    made = fetch([notes(mirror, commit=whole[:10])], tmp_path / "out", mirror)
    assert made["commits"] == {"notes": whole}


def test_what_is_there_already_is_verified(mirror: Path, tmp_path: Path) -> None:
    text, output = notes(mirror), tmp_path / "out"
    made = fetch([text], output, mirror)
    assert fetch([text], output, None) == made
    with pytest.raises(ConflictError, match="out holds another set"):
        fetch([notes(mirror, commit="0" * 40)], output, mirror)
    (output / "notes/main.tex").write_text("tampered")
    with pytest.raises(ConflictError, match=r"is not a fetched set: .*main\.tex"):
        fetch([text], output, mirror)


def test_another_folder_is_left_alone(mirror: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(ConflictError, match="exists and is not a fetched set"):
        fetch([notes(mirror)], tmp_path / "out", mirror)


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"repository": "owner/gone"}, NotFoundError, "has no copy of owner/gone for notes"),
        ({"commit": "f" * 40}, DataError, "has no commit fff"),
        ({"commit": "fffffff"}, DataError, "has no commit fffffff"),
        ({"patterns": ("paper/*.md",)}, DataError, "has not the files that are wanted"),
    ],
)
def test_a_mirror_that_lacks_something(
    mirror: Path, tmp_path: Path, changes: dict[str, object], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        fetch([notes(mirror, **changes)], tmp_path / "out", mirror)
    assert [p.name for p in tmp_path.iterdir()] == ["mirror"]


def test_a_mirror_that_is_no_repository(tmp_path: Path, mirror: Path) -> None:
    text = notes(mirror)
    (tmp_path / "m" / "notes-repo").mkdir(parents=True)
    with pytest.raises(StorageError, match="notes-repo cannot be fetched: fatal"):
        fetch([text], tmp_path / "out", tmp_path / "m")


def test_files_are_compared_with_the_listed_hashes(
    mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = {"main.tex": hashlib.sha256(TEX.encode()).hexdigest()}
    monkeypatch.setattr(Text, "hashes", lambda self: listed)
    text = notes(mirror)
    fetch([text], tmp_path / "from-git", mirror)
    plain = tmp_path / "plain"
    (plain / "notes").mkdir(parents=True)
    (plain / "notes/main.tex").write_text(TEX)
    fetch([text], tmp_path / "from-files", plain)
    assert (tmp_path / "from-files/notes/main.tex").read_text() == TEX
    (plain / "notes/main.tex").write_text("tampered")
    with pytest.raises(DataError, match=r"main\.tex has SHA-256 .*, expected"):
        fetch([text], tmp_path / "out", plain)
    (plain / "notes/main.tex").unlink()
    with pytest.raises(DataError, match=r"main\.tex is missing"):
        fetch([text], tmp_path / "out", plain)
    assert not (tmp_path / "out").exists()


def test_without_git(mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = notes(mirror)
    monkeypatch.setattr(fetching.git.shutil, "which", lambda name: None)
    with pytest.raises(NotFoundError, match="git is not installed"):
        fetch([text], tmp_path / "out", mirror)


def test_without_internet(tmp_path: Path, mirror: Path) -> None:
    text = notes(mirror, repository="owner/none")
    monkey = pytest.MonkeyPatch()
    with monkey.context() as patch:
        patch.setattr(Text, "url", property(lambda self: "https://127.0.0.1:1/none.git"))
        with pytest.raises(
            StorageError, match=r"127\.0\.0\.1:1/none\.git cannot be fetched"
        ) as caught:
            fetch([text], tmp_path / "out", None)
    assert "--mirror" in caught.value.hint


def test_the_command(tmp_path: Path) -> None:
    run = CliRunner().invoke
    result = run(RootGroup(), ["data", "fetch", "--only", "star", "--to", str(tmp_path / "a")])
    assert result.exit_code == 2
    assert "--only: there is no text `star`" in result.stderr
    empty = tmp_path / "empty"
    empty.mkdir()
    arguments = ["data", "fetch", "--mirror", str(empty), "--to", str(tmp_path / "a")]
    result = run(RootGroup(), arguments)
    assert result.exit_code == 3
    assert "osbooks-astronomy.bundle" in result.stderr


def test_the_command_prints_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = {"main.tex": hashlib.sha256(TEX.encode()).hexdigest()}
    monkeypatch.setattr(Text, "hashes", lambda self: listed)
    folder = tmp_path / "mirror/star-formation-notes"
    folder.mkdir(parents=True)
    (folder / "main.tex").write_text(TEX)
    arguments = ["data", "fetch", "--mirror", str(tmp_path / "mirror"), "--to", str(tmp_path / "a")]
    arguments += ["--only", "star-formation-notes"]
    result = CliRunner().invoke(RootGroup(), arguments)
    assert result.exit_code == 0
    (source,) = yaml.safe_load(result.stdout)["sources"]
    assert source["license"] == "CC0-1.0"
    result = CliRunner().invoke(RootGroup(), [*arguments, "-o", "json"])
    assert json.loads(result.stdout)["sources"] == [source]


def test_the_catalogue() -> None:
    names = [text.name for text in ASTRONOMY]
    assert names == ["openstax-astronomy-2e", "star-formation-notes", "lsst-observing-strategy"]
    for text in ASTRONOMY:
        hashes = text.hashes()
        assert hashes is not None or len(text.commit) == 40
        assert all(len(sha256) == 64 for sha256 in (hashes or {}).values())
