"""Bring a set of texts: from the internet or a mirror, verified, whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from astroctl.datasets import git
from astroctl.datasets.catalogue import Text
from astrosage.errors import ConflictError, DataError, NotFoundError, StorageError
from astrosage.runs import manifest

ATTRIBUTION = "ATTRIBUTION.md"
_FORMS = ("{}", "{}.git", "{}.bundle")


def fetch(
    texts: Sequence[Text],
    output: Path,
    mirror: Path | None,
    say: Callable[[str], None] = lambda message: None,
) -> dict[str, Any]:
    """Write the texts into a folder of their own each, with an attribution and a manifest.

    Args:
        texts: What is wanted.
        output: A folder that does not exist yet, or one that an earlier call made.
        mirror: A folder with copies: Git repositories named as they are on GitHub (also bare, or
            bundles), or folders of plain files named as the texts.
        say: Told of each step.

    Returns:
        The manifest.

    Raises:
        ConflictError: If the folder holds something else.
        NotFoundError, StorageError, DataError: If a text cannot be had, or is another one.
    """
    key = manifest.digest([[t.name, t.commit] for t in texts])
    if output.exists():
        return _there(output, key)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(dir=output.parent, prefix=f".{output.name}."))
    except OSError as error:
        raise StorageError(
            f"{output} cannot be written: {error.strerror}", "name another folder with --to"
        ) from None
    try:
        commits = {}
        for text in texts:
            say(f"{text.name}: {text.repository} at {text.commit[:12]}")
            commits[text.name] = _one(text, work / text.name, mirror)
        (work / ATTRIBUTION).write_text(_attribution(texts, commits), encoding="utf-8")
        made = manifest.write(work, key=key, commits=commits, sources=sources(texts, output))
        work.chmod(0o755)
        os.replace(work, output)
    except OSError as error:
        raise StorageError(
            f"{output} cannot be written: {error.strerror}", "free space or rights there"
        ) from None
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return made


def sources(texts: Sequence[Text], output: Path) -> list[dict[str, str]]:
    """The texts as sources of a prepare stage."""
    return [
        {"path": f"{output / t.name}/{t.path}", "kind": t.kind, "license": t.license} for t in texts
    ]


def _there(output: Path, key: str) -> dict[str, Any]:
    """What an earlier call made, if it is whole and the same."""
    try:
        made = manifest.verify(output, full=True)
    except (StorageError, NotADirectoryError, KeyError, ValueError) as error:
        reason = getattr(error, "message", str(error))
        raise ConflictError(
            f"{output} exists and is not a fetched set: {reason}",
            "name another folder with --to, or remove it",
        ) from None
    if made["key"] != key:
        raise ConflictError(
            f"{output} holds another set", "name another folder with --to, or remove it"
        )
    return made


def _one(text: Text, target: Path, mirror: Path | None) -> str:
    target.mkdir()
    hashes = text.hashes()
    if mirror is not None:
        plain = mirror / text.name
        if hashes is not None and plain.is_dir() and not (plain / ".git").exists():
            _copy(text, plain, hashes, target)
            return text.commit
        origin = _in_mirror(text, mirror)
    else:
        origin = text.url
    prefix = f"{text.folder}/" if text.folder else ""
    wanted = [prefix + name for name in hashes] if hashes is not None else text.patterns
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{text.name}.") as temporary:
        clone = Path(temporary) / "clone"
        commit = git.take(origin, text.commit, wanted, clone)
        found = clone / text.folder if text.folder else clone
        if hashes is not None:
            _copy(text, found, hashes, target)
        else:
            shutil.copytree(found, target, dirs_exist_ok=True)
    return commit


def _in_mirror(text: Text, mirror: Path) -> str:
    names = [form.format(text.repository_name) for form in _FORMS]
    for name in names:
        if (mirror / name).exists():
            return str((mirror / name).absolute())
    plain = f", or the files in {text.name}" if text.hashes() is not None else ""
    raise NotFoundError(
        f"{mirror} has no copy of {text.repository} for {text.name}",
        f"it should hold a Git repository or bundle named {' or '.join(names)}{plain}; "
        "or choose other texts with --only",
    )


def _copy(text: Text, origin: Path, hashes: dict[str, str], target: Path) -> None:
    """Copy the listed files and nothing else, each as it should be."""
    for name, sha256 in hashes.items():
        source = origin / name
        if not source.is_file():
            raise DataError(
                f"{text.name}: {source} is missing", "use a complete copy of the repository"
            )
        copy = target / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, copy)
        found = manifest.sha256_file(copy)
        if found != sha256:
            raise DataError(
                f"{text.name}: {source} has SHA-256 {found}, expected {sha256}",
                f"the copy is damaged or of another state than commit {text.commit}",
            )


def _attribution(texts: Sequence[Text], commits: dict[str, str]) -> str:
    lines = [
        "# Attribution",
        "",
        "The files in this folder are unchanged parts of these works.",
        "",
    ]
    for text in texts:
        lines += [
            f"## {text.title}",
            "",
            f"- Folder: `{text.name}`",
            f"- By: {text.authors}",
            f"- From: https://github.com/{text.repository}, commit {commits[text.name]}",
            f"- Licence: {text.license}, {text.license_url}",
            "",
        ]
    return "\n".join(lines)
