"""The keys of a served model: made, listed and revoked while it runs."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from astroctl.home import read_json, write_private
from astroctl.serving import key_files
from astroctl.serving.key_files import DEFAULT
from astroctl.serving.served import Served
from astrosage.errors import AstroError, ConflictError, NotFoundError
from astrosage.serve.keys import KeyRecord, Rates, check_name, digest
from astrosage.spec.base import did_you_mean


def own(served: str, *, local: bool) -> tuple[Path, dict[str, Any]]:
    """This machine's key of a model that is about to be served, and what the server is told.

    The keys of a version that is served already stay valid.

    Args:
        served: The model's name.
        local: Whether the server sees this machine's files; elsewhere it is told the key's hash.
    """
    file = key_files.key_file(served)
    token = file.read_text(encoding="utf-8").strip() if file.exists() else _token()
    if not file.exists():
        write_private(file, token)
    if not local:
        return file, {"keyHashes": {DEFAULT: digest(token)}}
    folder = key_files.key_folder(served)
    if not (folder / DEFAULT).exists():
        _write(folder / DEFAULT, token, Rates())
    usage = key_files.usage_file(served)
    return file, {"keyFolder": str(folder), "usageFile": str(usage)}


def add(served: Served, name: str, rates: Rates) -> str:
    """Make a key; it is given back here and nowhere kept.

    Raises:
        SpecError: If it cannot have that name.
        ConflictError: If there is one of that name.
        AstroError: If the model's keys are not files of this machine.
    """
    file = _folder(served) / check_name(name)
    if file.exists():
        raise ConflictError(
            f"`{served.name}` has a key `{name}` already",
            f"choose another name, or first `astroctl keys revoke {name}`",
        )
    token = _token()
    _write(file, token, rates)
    return token


def revoke(served: Served, name: str) -> None:
    """Take a key's rights away; the server notices within seconds.

    Raises:
        NotFoundError: If there is no such key.
        ConflictError: If it is the last one.
        AstroError: If the model's keys are not files of this machine.
    """
    there = sorted(_records(served))
    if name not in there:
        raise NotFoundError(f"`{served.name}` has no key `{name}`", did_you_mean(name, there))
    if len(there) == 1:
        raise ConflictError(
            f"`{name}` is the last key of `{served.name}`: nobody could use it",
            f"add another one first, or end it: `astroctl serve --stop {served.name}`",
        )
    (_folder(served) / name).unlink()
    if name == DEFAULT:
        Path(served.key_file).unlink(missing_ok=True)


def listing(served: Served) -> dict[str, Any]:
    """The names of a model's keys, with their limits and what they have used where it is known."""
    if served.target == "kubernetes":
        return {"model": served.name, "since": None, "keys": _on_kubernetes(served)}
    usage = _usage(served)
    used = usage.get("keys", {})
    rows = [
        {
            "name": name,
            "created": record.created or None,
            "requestsPerMinute": record.requests_per_minute,
            "tokensPerMinute": record.tokens_per_minute,
            **{key: used.get(name, {}).get(key, 0) for key in _SUMS},
            "lastUsed": used.get(name, {}).get("lastUsed"),
            "revoked": False,
        }
        for name, record in sorted(_records(served).items())
    ]
    known = {row["name"] for row in rows}
    gone = [{"name": n, "revoked": True, **u} for n, u in sorted(used.items()) if n not in known]
    return {"model": served.name, "since": usage.get("since"), "keys": [*rows, *gone]}


_SUMS = ("requests", "promptTokens", "completionTokens")


def _on_kubernetes(served: Served) -> list[dict[str, Any]]:
    from astroctl.kube.resources import SECRET
    from astroctl.serving.reach import kube_of

    found = kube_of(served).find(SECRET, served.secret, served.namespace)
    if found is None:
        raise NotFoundError(
            f"there is no Secret {served.namespace}/{served.secret}",
            "is the model still served? `astroctl serve --status --target kubernetes`",
        )
    return [{"name": name, "revoked": False} for name in sorted(found.get("data") or {})]


def _folder(served: Served) -> Path:
    folder = key_files.key_folder(served.name)
    if served.target == "kubernetes":
        raise AstroError(
            f"the keys of `{served.name}` are in Secret {served.namespace}/{served.secret}",
            f"kubectl edit secret -n {served.namespace} {served.secret}: each value is a key; "
            "changes count within about a minute",
        )
    if served.target != "local" or not folder.is_dir():
        raise AstroError(
            f"the keys of `{served.name}` were fixed when it was served: its server does not see "
            "this machine's files",
            "serve it again on the local target, or on Kubernetes",
        )
    return folder


def _records(served: Served) -> dict[str, KeyRecord]:
    found = {}
    for file in _folder(served).iterdir():
        if not file.name.startswith("."):
            try:
                found[file.name] = KeyRecord.parse(file.read_bytes())
            except ValueError as error:
                raise AstroError(
                    f"the key file {file} {error}", "remove it; the server does not heed it either"
                ) from None
    return found


def _usage(served: Served) -> dict[str, Any]:
    return read_json(f"keys/{key_files.usage_file(served.name).name}")


def _write(file: Path, token: str, rates: Rates) -> None:
    created = datetime.now(UTC).isoformat(timespec="seconds")
    write_private(file, KeyRecord.of(token, created=created, rates=rates).text())


def _token() -> str:
    return f"sk-{secrets.token_urlsafe(32)}"
