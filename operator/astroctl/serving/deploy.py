"""Put a model behind HTTP with Ray Serve, and remember its URL and key."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from astroctl.home import home, locked, read_json, write_json, write_private
from astroctl.targets import ports
from astroctl.targets.jobs_target import JobsTarget
from astroctl.targets.serve_api import ServeApi
from astrosage.errors import ClusterError, ConflictError, NotFoundError

IMPORT_PATH = "ray_jobs.serve:app"
DEFAULT_PORT = 8000
_FILE = "serve.json"
_POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Served:
    """A served model.

    Attributes:
        name: Of the application, and the model's id in the API.
        model: The model's directory, alias or hub id.
        url: Base URL, which ends in /v1.
        key_file: The file with its bearer token.
        target: Where it runs.
        address: The cluster's dashboard.
    """

    name: str
    model: str
    url: str
    key_file: str
    target: str
    address: str

    def to_dict(self) -> dict[str, str]:
        """Plain data, as the state file keeps it."""
        return dataclasses.asdict(self)

    def public(self) -> dict[str, str]:
        """What a program that deployed it wants to know."""
        return {"name": self.name, "model": self.model, "url": self.url, "keyFile": self.key_file}

    def describe(self) -> str:
        """For people, with an example to paste."""
        return (
            f"{self.name} is served at {self.url}\nkey: {self.key_file}\n\n"
            f"  curl {self.url}/chat/completions \\\n"
            f'    -H "Authorization: Bearer $(cat {self.key_file})" \\\n'
            "    -H 'Content-Type: application/json' \\\n"
            f'    -d \'{{"model": "{self.name}", "messages": [{{"role": "user", "content": '
            '"What is a Cepheid?"}]}\'\n\n'
            '  astroctl ask "What is a Cepheid?"'
        )


def deploy(
    target: JobsTarget,
    model: str,
    name: str,
    *,
    host: str,
    port: int | None,
    limits: dict[str, Any],
    timeout: float,
) -> Served:
    """Serve a model and wait until it is healthy.

    Args:
        target: The cluster; a local one is started if none runs.
        model: Directory, alias or hub id.
        name: Its name in the API.
        host: Interface to listen on.
        port: HTTP port; None takes the one that Serve has, or 8000.
        limits: ``maxConcurrent``, ``maxQueue``, ``maxTokens``, ``numCpus``, ``numGpus``.
        timeout: Seconds to wait.

    Raises:
        ConflictError: If the port is in use, or Serve runs on another one.
        ClusterError: If the model cannot be served.
    """
    target.begin()
    api = target.api()
    serve = ServeApi(api.http)
    host, port = _listen_on(target, serve.details(), host, port)
    key_file, digest = _key(name)
    prefix = _prefix(serve, name)
    application: dict[str, Any] = {
        "name": name,
        "route_prefix": prefix,
        "import_path": IMPORT_PATH,
        "args": {"model": model, "modelId": name, "keyHashes": [digest], **limits},
    }
    if code := target.code():
        application["runtime_env"] = {"working_dir": code}
    serve.deploy(application, host, port)
    _wait_healthy(serve, name, timeout)
    base = f"http://{_reachable(target, host)}:{port}{prefix.rstrip('/')}/v1"
    served = Served(name, model, base, str(key_file), target.name, target.address)
    with locked("serve"):
        write_json(_FILE, {**read_json(_FILE), name: served.to_dict()})
    return served


def _listen_on(
    target: JobsTarget, details: dict[str, Any], host: str, port: int | None
) -> tuple[str, int]:
    """Where to listen: Serve's own place if it runs, which cannot be changed, else as asked."""
    running = details.get("http_options") or {}
    if running:
        there = (str(running["host"]), int(running["port"]))
        if (host, port or there[1]) != there:
            raise ConflictError(
                f"Serve listens on {there[0]}:{there[1]} already and cannot move to "
                f"{host}:{port or there[1]}",
                "leave --host and --port out, or stop what it serves first: `astroctl serve --stop "
                "NAME`",
            )
        return there
    port = port or DEFAULT_PORT
    if target.name == "local" and not ports.is_free(port, host):
        by = ports.holder(port)
        raise ConflictError(
            f"--port: port {port} on {host} is in use" + (f" by {by}" if by else ""),
            "choose another: --port N",
        )
    return host, port


def _key(name: str) -> tuple[Path, str]:
    """The file of a new bearer token, and the SHA-256 that the server is told."""
    token = f"sk-{secrets.token_urlsafe(32)}"
    path = home() / "keys" / f"{re.sub(r'[^A-Za-z0-9._-]', '_', name)}.key"
    write_private(path, token)
    return path, hashlib.sha256(token.encode()).hexdigest()


def _prefix(serve: ServeApi, name: str) -> str:
    """``/`` for the first application, its own path for every further one."""
    others = {n: d.get("route_prefix") for n, d in serve.applications().items() if n != name}
    return "/" if "/" not in others.values() else f"/{name}"


def _reachable(target: JobsTarget, host: str) -> str:
    from urllib.parse import urlsplit

    if target.name == "local":
        return "127.0.0.1" if host == "0.0.0.0" else host
    return urlsplit(target.address).hostname or host


def _wait_healthy(serve: ServeApi, name: str, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    found: dict[str, Any] = {}
    while time.monotonic() < deadline:
        found = serve.applications().get(name) or {}
        status = found.get("status")
        if status == "RUNNING":
            return
        if status == "DEPLOY_FAILED":
            serve.remove(name)
            raise ClusterError(
                f"{name} cannot be served: {_last_line(str(found.get('message') or ''))}",
                "the whole account is in Serve's log: " + _log_place(),
            )
        time.sleep(_POLL_SECONDS)
    raise ClusterError(
        f"{name} is not healthy after {timeout:.0f} s: {found.get('status', 'not deployed')} "
        f"{_last_line(str(found.get('message') or ''))}".rstrip(),
        "wait longer with --timeout, or see `astroctl serve --status`",
    )


def _log_place() -> str:
    from astroctl.targets import head

    found = head.running()
    return f"{found.temp_dir}/session_latest/logs/serve" if found else "on the cluster"


def _last_line(message: str) -> str:
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def status(target: JobsTarget) -> list[dict[str, Any]]:
    """What a cluster serves, with what is known here of each."""
    if not target.address:
        return []
    known = read_json(_FILE)
    return [
        {
            "name": name,
            "status": details.get("status"),
            "url": known.get(name, {}).get("url"),
            "model": known.get(name, {}).get("model"),
            "message": _last_line(str(details.get("message") or "")),
        }
        for name, details in ServeApi(target.api().http).applications().items()
    ]


def stop(target: JobsTarget, name: str) -> None:
    """Take a model down and forget its key.

    Raises:
        NotFoundError: If it is not served.
    """
    removed = bool(target.address) and ServeApi(target.api().http).remove(name)
    with locked("serve"):
        known = read_json(_FILE)
        record = known.pop(name, None)
        write_json(_FILE, known)
    if record:
        Path(record["key_file"]).unlink(missing_ok=True)
    if not removed:
        raise NotFoundError(
            f"no model `{name}` is served there", "`astroctl serve --status` shows what is"
        )


def forget_local() -> None:
    """Forget what the local cluster served, keys included; it has ended."""
    with locked("serve"):
        served = read_json(_FILE)
        for name in [n for n, s in served.items() if s["target"] == "local"]:
            Path(served.pop(name)["key_file"]).unlink(missing_ok=True)
        write_json(_FILE, served)


def known(name: str | None = None) -> Served:
    """A model that was served from this machine; without a name, the newest.

    Raises:
        NotFoundError: If there is none.
    """
    served = read_json(_FILE)
    if name is None and served:
        name = next(reversed(served))
    if name is None or name not in served:
        what = f"no model `{name}`" if name else "no model"
        raise NotFoundError(
            f"{what} was served from this machine",
            "known: " + (", ".join(served) or "none; `astroctl serve MODEL` serves one"),
        )
    return Served(**served[name])
