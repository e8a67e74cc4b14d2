"""Put a model behind HTTP with Ray Serve, and remember its URL and key."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from astroctl.serving import keys
from astroctl.serving.served import Served, all_served, forget, remember
from astroctl.targets import ports
from astroctl.targets.jobs_target import JobsTarget
from astroctl.targets.serve_api import ServeApi
from astrosage.errors import ClusterError, ConflictError, NotFoundError

IMPORT_PATH = "ray_jobs.serve:app"
DEFAULT_PORT = 8000
_POLL_SECONDS = 0.5


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
        limits: More of the server's settings, such as ``maxConcurrent`` and ``numCpus``.
        timeout: Seconds to wait.

    Raises:
        ConflictError: If the port is in use, or Serve runs on another one.
        ClusterError: If the model cannot be served.
    """
    target.begin()
    api = target.api()
    serve = ServeApi(api.http)
    host, port = _listen_on(target, serve.details(), host, port)
    key_file, told = keys.own(name, local=target.name == "local")
    prefix = _prefix(serve, name)
    application: dict[str, Any] = {
        "name": name,
        "route_prefix": prefix,
        "import_path": IMPORT_PATH,
        "args": {
            "model": model,
            "modelId": name,
            # A model that was made anew may have the same path; it is loaded again all the same.
            "version": datetime.now(UTC).isoformat(timespec="seconds"),
            **told,
            **limits,
        },
    }
    if code := target.code():
        application["runtime_env"] = {"working_dir": code}
    serve.deploy(application, host, port)
    _wait_healthy(serve, name, timeout)
    base = f"http://{_reachable(target, host)}:{port}{prefix.rstrip('/')}/v1"
    served = Served(name, model, base, str(key_file), target.name, target.address)
    remember(served)
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
    known = all_served()
    return [
        {
            "name": name,
            "status": details.get("status"),
            "url": known[name].url if name in known else None,
            "model": known[name].model if name in known else None,
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
    forget(name, target.name)
    if not removed:
        raise NotFoundError(
            f"no model `{name}` is served there", "`astroctl serve --status` shows what is"
        )


def forget_local() -> None:
    """Forget what the local cluster served, keys included; it has ended."""
    for name, served in all_served().items():
        if served.target == "local":
            forget(name)
