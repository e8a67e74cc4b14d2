"""Real Ray heads on loopback in the place of head pods: entrypoints run, figures are real.

A cluster's worker pods have no processes of their own; the head has as many cores as they ask for
together. What is mounted from a claim is a folder here, whose path takes the mount path's place in
entrypoint and variables.
"""

from __future__ import annotations

import contextlib
import math
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from astroctl.kube.client import Kube, Object
from astroctl.targets import processes
from astroctl.targets.http import Http
from astroctl.targets.jobs_api import JobsApi
from astrosage.errors import ClusterError
from tests.kube.containers import Container, volumes_of
from tests.kube.heads import Unreachable, token_of
from tests.kube.processes import free_port

_MARKER = "ASTROSAGE_TEST_HEAD"
_WORKER = "ray::RayTrainWorker"


class _Head:
    def __init__(self, kube: Kube, cluster: Object, folder: Path, claims: Path) -> None:
        self.token = token_of(kube, cluster)
        self.mark = secrets.token_hex(4)
        self.temp = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
        self.port, self.serve_port = free_port(), free_port()
        groups = [cluster["spec"]["headGroupSpec"], *cluster["spec"].get("workerGroupSpecs", [])]
        containers = [_container(kube, cluster, g["template"], folder, claims) for g in groups]
        self.container = containers[0]
        for worker in containers[1:]:
            # Workers run here as well, and may have mounts of their own.
            self.container.mounts = {**worker.mounts, **self.container.mounts}
        self.log = folder / "ray.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command(cluster),
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _command(self, cluster: Object) -> list[str]:
        return [
            *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"),
            *("--node-ip-address=127.0.0.1", f"--port={free_port()}"),
            *("--dashboard-host=127.0.0.1", f"--dashboard-port={self.port}"),
            *("--include-dashboard=true", f"--ray-client-server-port={free_port()}"),
            *("--min-worker-port=0", "--max-worker-port=0", "--dashboard-agent-listen-port=0"),
            f"--num-cpus={_cores(cluster)}",
            f"--object-store-memory={256 * 2**20}",
            f"--temp-dir={self.temp}",
            *("--disable-usage-stats", "--no-monitor"),
        ]

    def _environment(self) -> dict[str, str]:
        own = self.container.environment()
        auth = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self.token} if self.token else {}
        return {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "GLOO_SOCKET_IFNAME": "lo",
            **own,
            **auth,
            "HOME": os.environ.get("HOME", "/tmp"),
            # Ray then leaves the loopback address as it is.
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
            _MARKER: self.mark,
        }

    def http(self) -> Http:
        return Http(f"http://127.0.0.1:{self.port}", self.token, 10.0)

    def api(self) -> JobsApi:
        return JobsApi(self.http())

    def family(self) -> set[int]:
        return processes.family(self.process.pid, f"{_MARKER}={self.mark}", str(self.temp))

    def end(self) -> None:
        """At once, as a pod whose node is lost."""
        for pid in self.family():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        with contextlib.suppress(OSError, shutil.Error):
            logs = self.temp / "session_latest" / "logs"
            shutil.copytree(logs, self.log.parent / "ray-logs", ignore_dangling_symlinks=True)
        shutil.rmtree(self.temp, ignore_errors=True)


class RealHeads:
    """Heads that are real.

    Args:
        kube: Where Secrets are read.
        folder: Of pods: logs and empty volumes.
        claims: Folder of the claims, by namespace and name (a kubelet's, for example).
    """

    def __init__(self, kube: Kube, folder: Path, claims: Path) -> None:
        self._kube, self._folder, self._claims = kube, folder, claims
        self._heads: dict[str, _Head] = {}

    def boot_seconds(self, cluster: Object) -> float:
        return 0.0

    def start(self, cluster: Object) -> None:
        uid = cluster["metadata"]["uid"]
        if uid not in self._heads:
            folder = self._folder / f"{cluster['metadata']['name']}-{secrets.token_hex(3)}"
            folder.mkdir(parents=True)
            self._heads[uid] = _Head(self._kube, cluster, folder, self._claims)

    def address(self, cluster: Object) -> str | None:
        head = self._heads.get(cluster["metadata"]["uid"])
        if head is None:
            return None
        try:
            head.api().version()
        except ClusterError:
            return None
        return f"127.0.0.1:{head.port}"

    def stop(self, cluster: Object) -> None:
        head = self._heads.pop(cluster["metadata"]["uid"], None)
        if head is not None:
            head.end()

    def lose_worker(self, cluster: Object) -> None:
        """Kill one of the training's workers."""
        head = self._heads.get(cluster["metadata"]["uid"])
        workers = [p for p in (head.family() if head else ()) if _title(p).startswith(_WORKER)]
        if workers:
            os.kill(workers[0], signal.SIGKILL)

    def job(self, cluster: Object, job_id: str) -> dict[str, Any] | None:
        with _reaching():
            return self._reach(cluster).api().get(job_id)

    def submit(self, cluster: Object, rayjob: Object, job_id: str) -> None:
        head = self._reach(cluster)
        environment = yaml.safe_load(rayjob["spec"].get("runtimeEnvYAML") or "") or {}
        given = {k: head.container.place(v) for k, v in environment.get("env_vars", {}).items()}
        with _reaching():
            head.api().submit(
                head.container.place(rayjob["spec"]["entrypoint"]),
                job_id,
                rayjob["spec"].get("metadata") or {},
                {**environment, "env_vars": given},
            )

    def stop_job(self, cluster: Object, job_id: str) -> None:
        with _reaching():
            self._reach(cluster).api().stop(job_id)

    def serve(self, cluster: Object, config: dict[str, Any]) -> None:
        """Deploy them; on a cluster each has its own address, here each has its own port."""
        head = self._reach(cluster)
        options = {"host": "127.0.0.1", "port": head.serve_port}
        placed = yaml.safe_load(head.container.place(yaml.safe_dump(config)))
        with _reaching():
            head.http().request(
                "PUT", "/api/serve/applications/", json={**placed, "http_options": options}
            )

    def applications(self, cluster: Object) -> dict[str, Any]:
        with _reaching():
            found = self._reach(cluster).http().json("GET", "/api/serve/applications/")
        return {
            name: {"status": a["status"], "message": a.get("message") or ""}
            for name, a in (found.get("applications") or {}).items()
        }

    def port(self, cluster: Object, port: int) -> int | None:
        """Where a port of the head pod is here."""
        head = self._heads.get(cluster["metadata"]["uid"])
        known = {8265: head.port, 8000: head.serve_port} if head else {}
        return known.get(port)

    def close(self) -> None:
        for head in self._heads.values():
            head.end()
        self._heads.clear()

    def _reach(self, cluster: Object) -> _Head:
        head = self._heads.get(cluster["metadata"]["uid"])
        if head is None:
            raise Unreachable
        return head


@contextlib.contextmanager
def _reaching() -> Any:
    try:
        yield
    except ClusterError as error:
        raise Unreachable from error


def _container(
    kube: Kube, cluster: Object, template: Object, folder: Path, claims: Path
) -> Container:
    pod = {**template, "metadata": cluster["metadata"]}
    volumes = volumes_of(kube, pod, folder, claims)
    return Container(kube, pod, template["spec"]["containers"][0], volumes, folder / "logs")


def _cores(cluster: Object) -> int:
    """What the worker pods ask for together; a head's own cores do no work."""
    total = 0.0
    for group in cluster["spec"].get("workerGroupSpecs") or []:
        container = group["template"]["spec"]["containers"][0]
        asked = (container.get("resources") or {}).get("requests") or {}
        replicas = max(group.get("replicas") or 0, group.get("minReplicas") or 0)
        total += replicas * _quantity(str(asked.get("cpu", "1")))
    return max(1, math.ceil(total))


def _quantity(text: str) -> float:
    return float(text[:-1]) / 1000 if text.endswith("m") else float(text)


def _title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""
