"""From a model's name to its shape: built in, from a folder, a store, or the hub."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from astrosage.errors import AstroError, NotFoundError, SpecError
from astrosage.models import resolve
from astrosage.plan.shapes import ModelShape, from_config
from astrosage.runs.storage import Storage
from astrosage.spec.base import nearest
from astrosage.spec.local import in_pods

_HUB_TIMEOUT_SECONDS = 10.0


def _llama(layers: int, hidden: int, intermediate: int, heads: int) -> ModelShape:
    return ModelShape(layers, hidden, intermediate, heads, 8, 128, 128_256, positions=131_072)


# From the models' own config.json.
BUILT_IN = {
    "llama-3.1-8b": _llama(32, 4096, 14_336, 32),
    "llama-3.1-70b": _llama(80, 8192, 28_672, 64),
    "llama-3.1-405b": _llama(126, 16_384, 53_248, 128),
    "smollm2-135m": ModelShape(30, 576, 1536, 9, 3, 64, 49_152, tied=True, positions=8192),
}
_LLAMA = re.compile(r"^(meta-)?llama-3\.[13]-(?P<size>8b|70b|405b)(-instruct)?$")
_SAME_SHAPE = {
    "astromlab/astrosage-8b": "llama-3.1-8b",
    "astromlab/astrosage-70b": "llama-3.1-70b",
    "nvidia/llama-3.1-nemotron-70b-instruct-hf": "llama-3.1-70b",
    "huggingfacetb/smollm2-135m": "smollm2-135m",
    "huggingfacetb/smollm2-135m-instruct": "smollm2-135m",
}


def built_in(reference: str) -> ModelShape | None:
    """The shape of a model that needs no file, by alias or hub id; None for others."""
    name = reference.lower()
    found = _LLAMA.match(name.removeprefix("meta-llama/"))
    if found:
        return BUILT_IN.get(f"llama-3.1-{found['size']}")
    return BUILT_IN.get(_SAME_SHAPE.get(name, name))


def shape_of(reference: str, field: str, *, remote: bool = True) -> ModelShape:
    """The shape of a base model.

    Args:
        reference: Alias, hub id, folder, ``config.json`` or URI of a folder.
        field: Where it was named, for messages.
        remote: Whether a store or the hub may be asked.

    Raises:
        SpecError, NotFoundError: If its configuration cannot be had or understood.
    """
    found = built_in(reference)
    if found is not None:
        return found
    if in_pods(reference) and not Path(reference).exists():
        raise NotFoundError(
            f"{field}: {reference} can be seen in pods only",
            "plan with a copy of its config.json: --model FOLDER",
        )
    if "://" in reference and not reference.startswith("file://"):
        return from_config(_from_store(reference, field, remote), f"{field}: {reference}")
    path = Path(reference.removeprefix("file://")).expanduser()
    if path.exists() or resolve.is_path(reference):
        return from_config(_from_disk(path, field), f"{field}: {path}")
    return from_config(_from_hub(reference, field, remote), f"{field}: {reference}")


def _from_disk(path: Path, field: str) -> Any:
    file = path / "config.json" if path.is_dir() else path
    try:
        return _parsed(file.read_bytes(), f"{field}: {file}")
    except OSError as error:
        raise NotFoundError(
            f"{field}: {path} has no config.json that can be read ({error.strerror})",
            "give a Hugging Face model folder or its config.json",
        ) from None


def _from_store(uri: str, field: str, remote: bool) -> Any:
    _may_ask(uri, field, remote)
    try:
        return _parsed(Storage(uri).read_bytes("config.json"), f"{field}: {uri}")
    except NotFoundError:
        raise NotFoundError(
            f"{field}: {uri} has no config.json", "give the URI of a Hugging Face model folder"
        ) from None


def _from_hub(hub_id: str, field: str, remote: bool) -> Any:
    if hub_id.count("/") != 1:
        near = nearest(hub_id, BUILT_IN)
        raise SpecError(
            f"{field}: `{hub_id}` is no alias, no folder and no hub id (organisation/name)",
            (f"did you mean `{near}`? " if near else "")
            + f"shapes built in: {', '.join(BUILT_IN)}",
        )
    kept = _from_hub_cache(hub_id)
    if kept is not None:
        return _parsed(kept.read_bytes(), f"{field}: {kept}")
    _may_ask(hub_id, field, remote)
    return _parsed(_downloaded(hub_id, field), f"{field}: {hub_id}")


def _from_hub_cache(hub_id: str) -> Path | None:
    root = os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface"
    folder = Path(root) / "hub" / f"models--{hub_id.replace('/', '--')}" / "snapshots"
    found = sorted(folder.glob("*/config.json"))
    return found[-1] if found else None


def _downloaded(hub_id: str, field: str) -> bytes:
    import httpx

    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    token = os.environ.get("HF_TOKEN")
    try:
        answer = httpx.get(
            f"{endpoint}/{hub_id}/resolve/main/config.json",
            headers={"Authorization": f"Bearer {token}"} if token else {},
            timeout=_HUB_TIMEOUT_SECONDS,
            follow_redirects=True,
        )
    except (httpx.HTTPError, httpx.InvalidURL):
        raise _unreachable(hub_id, field, f"{endpoint} cannot be reached") from None
    if answer.status_code != 200:
        raise NotFoundError(
            f"{field}: the hub answers {answer.status_code} for {hub_id}/config.json",
            "check the name; gated models need HF_TOKEN in the environment",
        )
    return answer.content


def _may_ask(reference: str, field: str, remote: bool) -> None:
    if not remote:
        raise _unreachable(reference, field, "--offline leaves it unread")


def _unreachable(reference: str, field: str, why: str) -> AstroError:
    return NotFoundError(
        f"{field}: the configuration of `{reference}` is not on this machine, and {why}",
        f"give a folder with its config.json, or a shape that is built in: {', '.join(BUILT_IN)} "
        "(--model)",
    )


def _parsed(raw: bytes, where: str) -> Any:
    try:
        value = json.loads(raw)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise SpecError(f"{where}: config.json is no JSON object", "restore it")
    return value
