"""Files of a Git repository at a commit; Git's own hashes say that they are what they should be."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from astrosage.errors import AstroError, DataError, NotFoundError, StorageError

_TIMEOUT_SECONDS = 900
_FULL_HASH = 40


def take(origin: str, commit: str, patterns: Sequence[str], target: Path) -> str:
    """Write files of a commit below ``target``.

    Only what is asked for is transferred, where the server can do that.

    Args:
        origin: An address, a repository's folder or a bundle.
        commit: Its hash, or the beginning of it.
        patterns: Git's path patterns.
        target: An empty folder.

    Returns:
        The commit's whole hash.

    Raises:
        NotFoundError: If Git is not installed.
        StorageError: If the repository cannot be reached.
        DataError: If it has no such commit, or none of the files.
    """
    if shutil.which("git") is None:
        raise NotFoundError("git is not installed", "install it; it fetches and verifies the texts")
    store = target / ".git"
    _git(
        origin,
        [
            "clone",
            "--quiet",
            "--no-checkout",
            "--filter=blob:none",
            "--no-tags",
            origin,
            str(target),
        ],
    )
    try:
        whole = _find(origin, commit, target)
        done = _git(origin, ["checkout", "--quiet", whole, "--", *patterns], target, check=False)
        if done.returncode:
            raise DataError(
                f"{origin}: commit {commit} has not the files that are wanted: {_reason(done)}",
                "use a complete copy of the repository",
            )
    finally:
        shutil.rmtree(store, ignore_errors=True)
    return whole


def _find(origin: str, commit: str, folder: Path) -> str:
    ask = ["rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}"]
    done = _git(origin, ask, folder, check=False)
    if done.returncode and len(commit) == _FULL_HASH:  # not below a branch
        _git(
            origin,
            ["fetch", "--quiet", "--filter=blob:none", "origin", commit],
            folder,
            check=False,
        )
        done = _git(origin, ask, folder, check=False)
    if done.returncode:
        raise DataError(
            f"{origin} has no commit {commit}", "use a copy of the repository with its history"
        )
    return done.stdout.strip()


def _git(
    origin: str, arguments: list[str], folder: Path | None = None, *, check: bool = True
) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _unreachable(origin, f"no end after {_TIMEOUT_SECONDS} s") from None
    if check and done.returncode:
        raise _unreachable(origin, _reason(done))
    return done


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    telling = [line for line in lines if line.startswith(("fatal:", "error:"))]
    return (telling or lines or ["git gave no reason"])[0]


def _unreachable(origin: str, reason: str) -> AstroError:
    return StorageError(
        f"{origin} cannot be fetched: {reason}",
        "without internet, copy the repository from a machine that has it and give its folder "
        "with --mirror",
    )
