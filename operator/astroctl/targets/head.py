"""The Ray head that astroctl runs on this machine: started, recognised, ended.

What listens where: with ``--node-ip-address=127.0.0.1`` alone, ``ray start`` puts the machine's
outward address in its place, and several of its ports listen on all interfaces. Ray leaves the
loopback address as it is when multi-node clusters are switched off
(``RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0``, its default on macOS and Windows, where it avoids firewall
questions); then the GCS, raylet, workers, agents, metrics and dashboard of 2.60 all listen on
127.0.0.1 only. Gloo is told to use the loopback interface too. Two things still listen on all
interfaces while they run: the rendezvous store of ``torch.distributed`` during a training, and the
gRPC port of each Serve replica, which wants the token.

Every request to the dashboard and every RPC needs the token, which is made anew for each head and
lies in a file of mode 0600. Ray reads it from there: it is in no argument and no variable.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from astroctl.home import home, locked, read_json, write_json, write_private
from astroctl.targets import ports, processes
from astroctl.targets.http import Http
from astroctl.targets.jobs_api import JobsApi
from astrosage.errors import ClusterError, ConflictError
from astrosage.plan.machine import Machine

_FILE = "cluster.json"
_MARKER = "ASTROCTL_CLUSTER"
_OBJECT_STORE_BYTES = 512 * 2**20
_BOOT_SECONDS = 90.0
_PROBE_SECONDS = 5.0
# For a driver to write down that it was stopped. Some of Ray's processes ignore SIGTERM; they
# keep nothing, so waiting longer for them gains nothing.
_STOP_SECONDS = 3.0
_POLL_SECONDS = 0.1
# Another process may take a port between its choice and Ray's use of it, even after the dashboard
# answers; Ray then ends all it has started.
_PORT_TRIES = 2
_TAKEN = ("Failed to bind", "Address already in use", "is already in use")
_UP = "Ray runtime started"
_UP_SECONDS = 10.0  # should Ray no longer say so
# A process object that is dropped complains that its process still runs; this one is meant to.
_children: list[subprocess.Popen[bytes]] = []
# Where caches are is taken along when it differs from what the head was started with.
CARRIED = ("ASTROSAGE_CACHE", "XDG_CACHE_HOME", "HF_HOME", "HF_ENDPOINT")


@dataclass(frozen=True)
class Head:
    """A head that was started here.

    Attributes:
        pid: Its leading process, which also leads its session.
        started: When that process started, so that a reused pid is not taken for it.
        began: The same as seconds since the epoch.
        marker: Value of an environment variable that all its processes inherit.
        dashboard_port: Jobs and Serve API, on loopback.
        gcs_port: Ray's own address.
        temp_dir: Sockets and logs.
        python: The interpreter it runs with.
        environment: What it was started with of :data:`CARRIED`.
        asked_port: The dashboard's port that it was to have, if it was told one.
    """

    pid: int
    started: str
    began: float
    marker: str
    dashboard_port: int
    gcs_port: int
    temp_dir: str
    python: str
    environment: dict[str, str]
    asked_port: int | None = None

    @property
    def address(self) -> str:
        """The dashboard's address."""
        return f"http://127.0.0.1:{self.dashboard_port}"

    @property
    def lives(self) -> bool:
        """Whether its leading process is there."""
        return processes.started(self.pid) == self.started

    @property
    def is_young(self) -> bool:
        """Whether it may still be starting."""
        return time.time() - self.began < _BOOT_SECONDS

    def api(self, timeout: float = 30.0) -> JobsApi:
        """Its Jobs API."""
        return JobsApi(Http(self.address, token_path().read_text().strip(), timeout))

    def answers(self) -> bool:
        """Whether its API answers with our token."""
        try:
            self.api(_PROBE_SECONDS).version()
        except (ClusterError, OSError):
            return False
        return True


def token_path() -> Path:
    """The file with the cluster's authentication token."""
    return home() / "token"


def log_path() -> Path:
    """What the head's leading process said."""
    return home() / "head.log"


def read() -> Head | None:
    """The head of the state file, alive or not."""
    data = read_json(_FILE)
    return Head(**data) if data else None


def running() -> Head | None:
    """The head if its leading process lives; it may still be starting."""
    head = read()
    return head if head is not None and head.lives else None


def begin(dashboard_port: int | None = None) -> bool:
    """Start a head unless one runs; returns at once. Safe when several do it at the same time.

    Args:
        dashboard_port: The port it must have; by default 8265 or, if that is taken, any other.

    Returns:
        Whether one was started.

    Raises:
        ConflictError: If the port is in use.
        ClusterError: If Ray is not installed.
    """
    with locked("cluster"):
        head = read()
        if head is not None and head.lives and (head.is_young or head.answers()):
            _check_port(head, dashboard_port)
            return False
        if head is not None:
            _clear(head)
        _spawn(dashboard_port)
        return True


def _check_port(head: Head, wanted: int | None) -> None:
    if wanted not in (None, head.dashboard_port):
        raise ConflictError(
            f"the local cluster has its dashboard on port {head.dashboard_port}, not {wanted}",
            "leave the port out, or end that cluster with `astroctl down`",
        )


def _spawn(dashboard_port: int | None) -> None:
    if importlib.util.find_spec("ray") is None:
        raise ClusterError(
            f"Ray is not installed in {sys.prefix}, so no local cluster can be started",
            "pip install 'astrosage[train]', or use a cluster: --target ray --address http://…:8265",
        )
    if dashboard_port is not None and not ports.is_free(dashboard_port):
        by = ports.holder(dashboard_port)
        raise ConflictError(
            f"--dashboard-port: port {dashboard_port} is in use" + (f" by {by}" if by else ""),
            "choose another, or leave it out to have a free one chosen",
        )
    first = ports.choose(dashboard_port or 8265)
    gcs = ports.choose(first + 1 if dashboard_port else 6379, {first})
    client = ports.choose(first + 2 if dashboard_port else 10001, {first, gcs})
    write_private(token_path(), secrets.token_hex(32))
    marker = secrets.token_hex(8)
    temp_dir = _temp_dir(marker)
    with log_path().open("wb") as log:
        process = subprocess.Popen(
            _command(first, gcs, client, temp_dir),
            env=_environment(marker),
            cwd=home(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _children.append(process)
    head = Head(
        pid=process.pid,
        started=processes.started(process.pid) or "",
        began=time.time(),
        marker=marker,
        dashboard_port=first,
        gcs_port=gcs,
        temp_dir=temp_dir,
        python=sys.executable,
        environment={name: os.environ[name] for name in CARRIED if name in os.environ},
        asked_port=dashboard_port,
    )
    write_json(_FILE, dataclasses.asdict(head))


def _command(dashboard: int, gcs: int, client: int, temp_dir: str) -> list[str]:
    machine = Machine.here()
    return [
        *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"),
        "--node-ip-address=127.0.0.1",
        f"--port={gcs}",
        "--dashboard-host=127.0.0.1",
        f"--dashboard-port={dashboard}",
        "--include-dashboard=true",
        f"--ray-client-server-port={client}",
        # Ray's ranges would collide with ports chosen by others; 0 leaves them to the system.
        "--min-worker-port=0",
        "--max-worker-port=0",
        "--dashboard-agent-listen-port=0",
        f"--num-cpus={machine.cpus}",
        f"--object-store-memory={_OBJECT_STORE_BYTES}",
        f"--temp-dir={temp_dir}",
        "--disable-usage-stats",
        # No autoscaler on one machine; without its monitor the head starts a little sooner.
        "--no-monitor",
    ]


def _environment(marker: str) -> dict[str, str]:
    loopback = "lo0" if sys.platform == "darwin" else "lo"
    return {
        "GLOO_SOCKET_IFNAME": loopback,
        **os.environ,
        # A job's `python` is the one that the cluster runs with.
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token_path()),
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        _MARKER: marker,
    }


def _temp_dir(marker: str) -> str:
    """A private folder with a short name: socket paths may have only 104 to 108 characters."""
    root = "/tmp" if os.access("/tmp", os.W_OK) else tempfile.gettempdir()
    folder = Path(root) / f"astroctl-{marker[:6]}"
    folder.mkdir(mode=0o700)
    return str(folder)


def wait() -> Head:
    """The head, once its API answers and all of it has started.

    One that lost a port to another process is started again, with other ports.

    Raises:
        ClusterError: If none was started, or it ended, or it does not answer.
        ConflictError: If a port that it was told is in use.
    """
    deadline = time.monotonic() + _BOOT_SECONDS
    tries, answered = _PORT_TRIES, 0.0
    while time.monotonic() < deadline:
        head = running()
        if head is None:
            lost = read()
            if lost is None or not tries or not _lost_a_port():
                raise _failed(lost)
            tries, answered = tries - 1, 0.0
            begin(lost.asked_port)
        elif head.answers():
            answered = answered or time.monotonic()
            if not head.is_young or _UP in _said() or time.monotonic() - answered > _UP_SECONDS:
                return head
        time.sleep(_POLL_SECONDS)
    raise ClusterError(
        f"the local cluster does not answer after {_BOOT_SECONDS:.0f} s",
        f"see {log_path()}; `astroctl down` ends it",
    )


def _said() -> str:
    """What the leading process has said so far."""
    try:
        return log_path().read_text(errors="replace")
    except OSError:
        return ""


def _lost_a_port() -> bool:
    said = _said()
    return any(words in said for words in _TAKEN)


def _failed(head: Head | None) -> ClusterError:
    if head is None:
        return ClusterError("the local cluster does not run", "a submit starts it")
    lines = [line.strip() for line in _said().splitlines()]
    said = next((line for line in reversed(lines) if line), "it said nothing")
    return ClusterError(
        f"the local cluster has ended: {said}", f"see {log_path()}; a submit starts it anew"
    )


def stop() -> bool:
    """End the head and all its processes, and nothing else; tells whether there was one."""
    with locked("cluster"):
        head = read()
        if head is None:
            return False
        lived = head.lives
        _clear(head)
        return lived


def inodes(head: Head) -> set[str]:
    """Sockets of all its processes, as the kernel numbers them."""
    return processes.sockets(_family(head, head.pid))


def _family(head: Head, leader: int) -> set[int]:
    return processes.family(leader, f"{_MARKER}={head.marker}", head.temp_dir)


def _clear(head: Head) -> None:
    # Its pid may have been given to another process since; then only the mark tells who is ours.
    leader = head.pid if head.lives else -1
    processes.end(_family(head, leader), _STOP_SECONDS)
    for child in [c for c in _children if c.pid == head.pid]:
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(_PROBE_SECONDS)
        _children.remove(child)
    shutil.rmtree(head.temp_dir, ignore_errors=True)
    token_path().unlink(missing_ok=True)
    (home() / _FILE).unlink(missing_ok=True)
