"""Bring a base model to this machine as a Hugging Face directory."""

from __future__ import annotations

from pathlib import Path

from astrosage.errors import NotFoundError
from astrosage.models.resolve import (
    ALIASES,
    WANTED,
    cache_folder,
    cached,
    check,
    check_directory,
    is_path,
)
from astrosage.runs.storage import Storage

_HUB_TIMEOUT_SECONDS = 10.0


def ensure_local(reference: str) -> Path:
    """The model's directory, fetched and converted first where need be.

    Args:
        reference: Alias, local path, URI of a folder or hub id (``organisation/name``).

    Raises:
        NotFoundError, SpecError: Saying what is missing and what to do.
    """
    check(reference, "model")
    if reference in ALIASES:
        return cached(reference) or _make(reference)
    if "://" in reference:
        return _fetch(reference)
    if is_path(reference):
        check_directory(Path(reference), "model")  # once more: it may lie on a pod's volume
        return Path(reference)
    return _download(reference)


def _make(alias: str) -> Path:
    from astrosage.models import smollm2

    folder = cache_folder() / "models" / alias
    smollm2.build(folder)
    return folder


def _fetch(uri: str) -> Path:
    """A copy in the cache, made once for as long as the files there stay what they are."""
    parent, _, name = uri.rstrip("/").rpartition("/")
    folder = Storage(parent).localize(
        name, cache_folder() / "models", wanted=lambda file: file.endswith(WANTED)
    )
    check_directory(folder, f"model {uri}, copied")
    return folder


def _download(hub_id: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(
            snapshot_download(
                hub_id,
                allow_patterns=[f"*{ending}" for ending in WANTED],
                etag_timeout=_HUB_TIMEOUT_SECONDS,
            )
        )
    except LocalEntryNotFoundError:
        raise NotFoundError(
            f"model `{hub_id}`: the hub cannot be reached and the model is not in the local cache",
            "check the connection or HF_ENDPOINT, or give a local folder",
        ) from None
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else "no answer"
        raise NotFoundError(
            f"model `{hub_id}`: the hub answers {status}",
            "check the name; gated models need HF_TOKEN in the environment",
        ) from None
