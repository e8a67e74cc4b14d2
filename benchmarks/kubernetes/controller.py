"""The operator and ``astroctl submit`` against a real control plane: latencies, calls, memory.

    python benchmarks/kubernetes/controller.py [--jobs 1000] [--most 5000] [--submits 10]

Starts etcd and kube-apiserver on loopback (found as the tests find them), the operator as a process
of its own with a service account of its own, and a mover that moves each RayJob to its end in three
writes, as KubeRay would; no pods, no Ray. Calls are counted from the API server's audit log, by
user, so that they are what the server saw. Everything shares this machine's cores.

- reaction: from an AstroJob seen in a watch to its RayJob seen in one;
- end: from a RayJob's end seen in a watch to the AstroJob's ``Succeeded``;
- look: the operator's own histogram of one reconciliation, read at bucket bounds;
- serverMs: how long the API server took for the operator's calls, by its audit log. Where that is
  long, it is the server or the machine that limits, and not the operator: compare
  operatorCpuMsPerJob.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "operator")]

from astroctl.kube.client import Kube, Object  # noqa: E402
from astroctl.kube.errors import Missing  # noqa: E402
from astroctl.kube.resources import ASTROJOB, RAYJOB, Resource  # noqa: E402
from astroctl.render.crd import crds  # noqa: E402
from tests.kube import definitions, objects  # noqa: E402
from tests.kube.plane import OwnPlane, binaries  # noqa: E402
from tests.kube.processes import Server, free_port  # noqa: E402
from tests.kube.watcher import Watcher  # noqa: E402

NAMESPACE, SYSTEM = "bench", "astrosage-system"
_EVERYTHING = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]
_RUN_SECONDS = 2.0
_PATIENCE_SECONDS = 1800.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--most", type=int, default=5000, help="jobs for the memory figure")
    parser.add_argument("--submits", type=int, default=10)
    parser.add_argument("--keep", help="folder for logs")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-operator-") as made:
        folder = Path(options.keep or made)
        with plane(folder) as (own, kube):
            found: dict[str, Any] = {
                "machine": {"cores": os.cpu_count(), "loadBefore": round(os.getloadavg()[0], 1)},
                "submit": submits(kube, own, folder, options.submits),
            }
            with operator(own, kube, folder) as process:
                found["jobs"] = many(kube, own, process, options.jobs)
                found["memory"] = memory(kube, process, options.jobs, options.most)
    print(json.dumps(found, indent=2))
    return 0


class Process:
    """The operator's process."""

    def __init__(self, pid: int, port: int) -> None:
        self.measured, self.port = psutil.Process(pid), port

    @property
    def mib(self) -> int:
        return round(self.measured.memory_info().rss / 2**20)

    @property
    def cpu_seconds(self) -> float:
        times = self.measured.cpu_times()
        return float(times.user + times.system)

    def lives(self) -> bool:
        return self.measured.is_running() and self.measured.status() != psutil.STATUS_ZOMBIE


class AuditedPlane(OwnPlane):
    """One whose API server writes down every request."""

    @property
    def audit(self) -> Path:
        return self.folder / "audit.log"

    def _api_command(self) -> list[str]:
        policy = {
            "apiVersion": "audit.k8s.io/v1",
            "kind": "Policy",
            "omitStages": ["RequestReceived", "ResponseStarted"],
            "rules": [{"level": "Metadata"}],
        }
        file = self.folder / "audit-policy.yaml"
        file.write_text(yaml.safe_dump(policy))
        return [
            *super()._api_command(),
            f"--audit-policy-file={file}",
            f"--audit-log-path={self.audit}",
        ]

    def calls(self, user: str, since: int = 0) -> Iterator[dict[str, Any]]:
        """Requests of a user, from a position of the log on."""
        with self.audit.open("rb") as log:
            log.seek(since)
            for line in log:
                entry = json.loads(line)
                if entry["user"]["username"] == user:
                    yield entry


@contextmanager
def plane(folder: Path) -> Iterator[tuple[AuditedPlane, Kube]]:
    own = AuditedPlane(folder / "plane", binaries())
    try:
        own.start()
        kube = Kube.connect(kubeconfig=str(own.kubeconfig), connections=32)
        for definition in _definitions():
            kube.create(definition)
        for name in (NAMESPACE, SYSTEM):
            objects.make_namespace(kube, name, wait=own.has_controllers)
        for kind in (ASTROJOB, RAYJOB):
            objects.eventually(lambda kind=kind: kube.list(kind) == [], seconds=60)
        assert own.api.process is not None
        _calm(psutil.Process(own.api.process.pid))
        yield own, kube
    finally:
        own.stop()


def _definitions() -> list[Object]:
    """Ours and KubeRay's; others would only keep the API server busy."""
    paths = sorted(definitions.folder().glob("kuberay*/*.yaml"))
    return [*(yaml.safe_load(path.read_text()) for path in paths), *crds()]


def _calm(server: psutil.Process) -> None:
    """Wait until an API server has digested its definitions, which takes it tens of seconds."""
    for _ in range(60):
        if server.cpu_percent(2.0) < 20:
            return


@contextmanager
def operator(own: AuditedPlane, kube: Kube, folder: Path) -> Iterator[Process]:
    objects.make_account(kube, SYSTEM, "operator", [], _EVERYTHING)
    token = objects.token(kube, SYSTEM, "operator", 24 * 3600)
    kubeconfig = own.kubeconfig_for(folder / "operator.kubeconfig", token, SYSTEM)
    port = free_port()
    settings = folder / "settings.yaml"
    settings.write_text("{}\n")
    server = Server(
        "operator",
        [
            *(sys.executable, "-m", "astroctl.controller", "--namespace", SYSTEM),
            *("--settings", str(settings), "--identity", "bench"),
            *("--health-port", str(free_port()), "--metrics-port", str(port)),
        ],
        folder,
        {**os.environ, "KUBECONFIG": str(kubeconfig), "PYTHONPATH": f"{ROOT}/operator:{ROOT}"},
    )
    server.start()
    try:
        _wait(lambda: _metric(port, "astrosage_leader") == 1.0, 120)
        assert server.process is not None
        yield Process(server.process.pid, port)
    except AssertionError:
        print(server.said(40), file=sys.stderr)
        raise
    finally:
        server.stop()


def job(name: str) -> Object:
    stages = [
        {"name": "corpus", "prepare": {"sources": [{"path": "s3://texts/*.md"}]}},
        {"name": "cpt", "train": {"objective": "cpt", "data": "corpus", "maxSteps": 10}},
    ]
    return {
        "apiVersion": ASTROJOB.api_version,
        "kind": ASTROJOB.kind,
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"model": "smollm2-135m", "storage": "s3://bucket/runs", "stages": stages},
    }


# -- submit ----------------------------------------------------------------------------------------


def submits(kube: Kube, own: AuditedPlane, folder: Path, count: int) -> dict[str, Any]:
    """From the start of ``astroctl submit`` to the answer of the API server that has the job."""
    began: dict[str, float] = {}
    took: list[float] = []
    whole: list[float] = []
    seen = Sightings(kube, ASTROJOB)
    environment = {
        **os.environ,
        "KUBECONFIG": str(own.kubeconfig),
        "ASTROCTL_HOME": str(folder / "home"),
    }
    executable = Path(sys.executable).parent / "astroctl"
    for number in range(count + 1):
        name = f"submit-{number}"
        file = folder / f"{name}.yaml"
        file.write_text(yaml.safe_dump(job(name)))
        began[name] = time.time()
        done = subprocess.run(
            [executable, "submit", "train", "-f", file, "--target", "kubernetes", "-n", NAMESPACE],
            env=environment,
            capture_output=True,
            text=True,
        )
        if name not in seen.first:
            seen.stop()
            return {"error": (done.stderr or done.stdout).strip()[-400:]}
        if number:  # the first warms the file cache
            took.append(seen.first[name] - began[name])
            whole.append(time.time() - began[name])
    seen.stop()
    for name in began:
        kube.delete(ASTROJOB, name, NAMESPACE)
    return {
        "acceptedMs": _spread([1000 * t for t in took]),
        "commandMs": _spread([1000 * t for t in whole]),
        "operator": "none runs: the command also waits a moment for one",
    }


# -- jobs ------------------------------------------------------------------------------------------


class Sightings:
    """When objects were first seen in a watch, and first seen at their end."""

    def __init__(self, kube: Kube, kind: Resource) -> None:
        self.first: dict[str, float] = {}
        self.ended: dict[str, float] = {}
        self._kind = kind
        self._watcher = Watcher(kube, kind, NAMESPACE, self._see)
        self._watcher.start()

    def stop(self) -> None:
        self._watcher.stop()

    def _see(self, change: str, obj: Object) -> None:
        name, now = str(obj["metadata"]["name"]), time.time()
        self.first.setdefault(name, now)
        status = obj.get("status") or {}
        if status.get("phase") == "Succeeded" or status.get("jobDeploymentStatus") == "Complete":
            self.ended.setdefault(name, now)


class Mover:
    """Moves RayJobs as KubeRay would: three writes each, and the end after a moment."""

    def __init__(self, kube: Kube, ends: bool) -> None:
        self._kube, self._ends = kube, ends
        self._pool = ThreadPoolExecutor(8, "mover")
        self._seen: set[str] = set()
        self._timers: list[threading.Timer] = []
        self._watcher = Watcher(kube, RAYJOB, NAMESPACE, self._see)
        self._watcher.start()

    def stop(self) -> None:
        self._watcher.stop()
        self._pool.shutdown(cancel_futures=True)

    def _see(self, change: str, rayjob: Object) -> None:
        name = str(rayjob["metadata"]["name"])
        if change != "DELETED" and name not in self._seen:
            self._seen.add(name)
            self._pool.submit(self._begin, name)

    def _begin(self, name: str) -> None:
        self._write(name, "Initializing", "", jobId=name, rayClusterName=f"{name}-abcde")
        self._write(name, "Running", "RUNNING", startTime=_now())
        if self._ends:
            timer = threading.Timer(_RUN_SECONDS, lambda: self._pool.submit(self._end, name))
            timer.daemon = True
            timer.start()

    def _end(self, name: str) -> None:
        self._write(name, "Complete", "SUCCEEDED", endTime=_now())

    def _write(self, name: str, deployment: str, state: str, **more: str) -> None:
        status = {"jobDeploymentStatus": deployment, "jobStatus": state, **more}
        try:
            self._kube.patch(RAYJOB, name, {"status": status}, NAMESPACE, "status")
        except Missing:
            return


def many(kube: Kube, own: AuditedPlane, process: Process, count: int) -> dict[str, Any]:
    """Many jobs at once, from creation to success."""
    jobs, rayjobs, mover = Sightings(kube, ASTROJOB), Sightings(kube, RAYJOB), Mover(kube, True)
    _create(kube, ["warm-up"])  # its watches take a moment to begin
    _wait(lambda: "warm-up" in jobs.ended, 120, process.lives)
    position, user = own.audit.stat().st_size, f"system:serviceaccount:{SYSTEM}:operator"
    began, cpu = time.time(), process.cpu_seconds
    names = {f"job-{n}" for n in range(count)}
    _create(kube, names)
    created = time.time() - began
    _wait(
        lambda: sum(n != "warm-up" for n in list(jobs.ended)) >= count,
        _PATIENCE_SECONDS,
        process.lives,
    )
    whole = time.time() - began
    # Two watches: the end of a job may be told before that of its RayJob.
    _wait(lambda: {f"{n}-0-1" for n in names} <= set(rayjobs.ended), 60, process.lives)
    for part in (jobs, rayjobs, mover):
        part.stop()
    reactions = [rayjobs.first[f"{n}-0-1"] - jobs.first[n] for n in names]
    ends = [jobs.ended[n] - rayjobs.ended[f"{n}-0-1"] for n in names]
    cpu = process.cpu_seconds - cpu
    asked = [c for c in own.calls(user, position) if _called(c).partition(" ")[2] != "leases"]
    calls = Counter(map(_called, asked))
    return {
        "jobs": count,
        "createdSeconds": round(created, 1),
        "allSucceededSeconds": round(whole, 1),
        "jobsPerMinute": round(60 * count / whole),
        "reactionMs": _spread([1000 * t for t in reactions]),
        "endMs": _spread([1000 * t for t in ends]),
        "lookMs": _looks(process.port),
        "apiCallsPerJob": round(sum(calls.values()) / count, 2),
        "apiCalls": {k: round(n / count, 2) for k, n in calls.most_common(10)},
        "serverMs": _spread([1000 * _served(c) for c in asked if c["verb"] != "watch"]),
        "operatorCpuMsPerJob": round(1000 * cpu / count, 1),
        "errors": _metric(process.port, "astrosage_reconcile_errors_total"),
        "residentMiB": process.mib,
    }


def _called(entry: dict[str, Any]) -> str:
    about = entry.get("objectRef") or {}
    parts = [about.get("resource", "?"), about.get("subresource")]
    return f"{entry['verb']} {'/'.join(p for p in parts if p)}"


def _served(entry: dict[str, Any]) -> float:
    """Seconds that the API server took for a request."""
    times = (entry[key] for key in ("requestReceivedTimestamp", "stageTimestamp"))
    received, done = (datetime.fromisoformat(t.replace("Z", "+00:00")) for t in times)
    return (done - received).total_seconds()


def memory(kube: Kube, process: Process, there: int, most: int) -> dict[str, Any]:
    """The operator's memory with so many jobs that run."""
    mover = Mover(kube, False)
    jobs = Sightings(kube, RAYJOB)
    names = [f"more-{n}" for n in range(max(0, most - there))]
    _create(kube, names)
    wanted = {f"{n}-0-1" for n in names}
    _wait(lambda: wanted <= jobs.first.keys(), _PATIENCE_SECONDS, process.lives)
    time.sleep(10)
    process.measured.cpu_percent()
    time.sleep(30)
    found = {
        "jobs": there + len(names),
        "residentMiB": process.mib,
        "cpuPercentAtRest": round(process.measured.cpu_percent(), 1),
    }
    mover.stop()
    jobs.stop()
    return found


def _create(kube: Kube, names: Iterable[str]) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: kube.create(job(name)), names))


# -- figures ---------------------------------------------------------------------------------------


def _spread(values: list[float]) -> dict[str, float]:
    if len(values) < 2:
        return {"median": round(values[0]) if values else 0}
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return {"median": round(cuts[49]), "p99": round(cuts[98]), "max": round(max(values))}


def _page(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return str(answer.read().decode())


def _metric(port: int, name: str) -> float:
    try:
        lines = [li for li in _page(port).splitlines() if li.startswith(name)]
    except OSError:
        return -1.0
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def _looks(port: int) -> dict[str, Any]:
    """Bounds of the histogram's buckets in which the median and the 99th percentile lie."""
    buckets = [
        (float(line.split('le="')[1].split('"')[0]), float(line.rpartition(" ")[2]))
        for line in _page(port).splitlines()
        if line.startswith("astrosage_reconcile_seconds_bucket")
    ]
    total = buckets[-1][1]
    below = {
        name: next(1000 * bound for bound, count in buckets if count >= part * total)
        for name, part in (("medianBelow", 0.5), ("p99Below", 0.99))
    }
    return {**below, "looks": int(total)}


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _wait(
    ready: Callable[[], bool], patience: float, lives: Callable[[], bool] = lambda: True
) -> None:
    deadline = time.monotonic() + patience
    while not ready():
        assert lives(), "the operator has ended"
        assert time.monotonic() < deadline, f"not within {patience:.0f} s"
        time.sleep(0.2)


if __name__ == "__main__":
    sys.exit(main())
