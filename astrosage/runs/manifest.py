"""Manifests: what an artefact consists of. Written last, so what has none is not there."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from astrosage.errors import StorageError

NAME = "manifest.json"
FORMAT_VERSION = 1
_HASHED_AT_ONCE = 4  # files; hashing lets other threads work


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(value: Any) -> str:
    """SHA-256 of plain data in canonical JSON, in hex."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def entry(path: Path, name: str) -> dict[str, Any]:
    """What a manifest says of a file: its path in the artefact, size and SHA-256."""
    return {"path": name, "size": path.stat().st_size, "sha256": sha256_file(path)}


def write(
    folder: Path, key: str, *, known: Sequence[dict[str, Any]] = (), **extra: Any
) -> dict[str, Any]:
    """Hash every file below ``folder`` and write its manifest.

    Args:
        folder: A local folder whose files are complete.
        key: The stage key (hash of spec and inputs) that the artefact answers to.
        known: Entries of files that were hashed where they were written, and need not be here.
        extra: Further plain data to keep, such as token counts.
    """
    files = {e["path"]: e for e in known}
    found = [(p, p.relative_to(folder).as_posix()) for p in folder.rglob("*") if p.is_file()]
    fresh = [(p, name) for p, name in found if p.name != NAME and name not in files]
    with ThreadPoolExecutor(min(_HASHED_AT_ONCE, os.cpu_count() or 1)) as threads:
        files |= {e["path"]: e for e in threads.map(lambda pair: entry(*pair), fresh)}
    listed = [files[name] for name in sorted(files)]
    content = {"formatVersion": FORMAT_VERSION, "key": key, "files": listed, **extra}
    temporary = folder / f".{NAME}.tmp"
    temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    temporary.replace(folder / NAME)
    return content


def content_digest(manifest: Mapping[str, Any]) -> str:
    """One hash for all of an artefact's files."""
    return digest([[f["path"], f["sha256"]] for f in manifest["files"]])


def verify(folder: Path, *, full: bool = False) -> dict[str, Any]:
    """Check an artefact against its manifest.

    Args:
        folder: The artefact's local folder.
        full: Also compare SHA-256, not only presence and size.

    Raises:
        StorageError: Naming the first file that is missing or differs.
    """
    try:
        manifest: dict[str, Any] = json.loads((folder / NAME).read_text())
    except FileNotFoundError:
        raise StorageError(
            f"{folder} has no {NAME}: it is not a finished artefact",
            "run the stage that makes it again (`astroctl resume`)",
        ) from None
    for expected in manifest["files"]:
        path = folder / expected["path"]
        found = problem(path, expected, full=full)
        if found:
            raise StorageError(
                f"{path} {found}; the manifest says {expected['size']} bytes",
                f"delete {folder} and `astroctl resume`: the stage is run again",
            )
    return manifest


def problem(path: Path, entry: Mapping[str, Any], *, full: bool) -> str | None:
    """How a file differs from its manifest entry, or None; ``full`` compares content too."""
    if not path.is_file():
        return "is missing"
    if path.stat().st_size != entry["size"]:
        return f"has {path.stat().st_size} bytes"
    if full and sha256_file(path) != entry["sha256"]:
        return "has other content (SHA-256 differs)"
    return None
