"""Real operator processes, and questions about a namespace that they look after."""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import yaml

from astroctl.kube.client import Kube, Object
from astroctl.kube.errors import Missing
from astroctl.kube.resources import ASTROJOB, LEASE, RAYJOB
from tests.kube.faults import Call, Faults
from tests.kube.objects import eventually
from tests.kube.processes import Server, free_port

LEASE_NAME = "astrosage-operator"
Maker = Callable[..., "Operator"]


class Operator(Server):
    """``python -m astroctl.controller`` for one namespace.

    Args:
        kubeconfig: Its credentials and the way to the API server.
        namespace: Where its lease and its jobs are.
        folder: Of its settings and log.
        identity: Its name as a candidate; one that is started again under the same name need not
            wait for its own lease to run out.
        settings: More settings.
    """

    def __init__(
        self,
        kubeconfig: Path,
        namespace: str,
        folder: Path,
        identity: str = "one",
        **settings: Any,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "settings.yaml"
        path.write_text(
            yaml.safe_dump({"watchNamespaces": [namespace], "pollSeconds": 0.5, **settings})
        )
        self.health, self.metrics = free_port(), free_port()
        environment = {
            **{k: v for k, v in os.environ.items() if k != "KUBERNETES_SERVICE_HOST"},
            "KUBECONFIG": str(kubeconfig),
            "PYTHONPATH": os.pathsep.join(["operator", "."]),
        }
        command = [
            *(sys.executable, "-m", "astroctl.controller"),
            *("--settings", str(path), "--namespace", namespace, "--identity", identity),
            *("--health-port", str(self.health), "--metrics-port", str(self.metrics)),
        ]
        super().__init__(f"operator-{identity}", command, folder, environment)
        self.identity = identity

    def kill(self) -> None:
        """As a node that loses power."""
        self.signal(signal.SIGKILL)

    def page(self, path: str = "/metrics") -> str:
        """What it serves; nothing before it does."""
        port = self.metrics if path == "/metrics" else self.health
        try:
            return httpx.get(f"http://127.0.0.1:{port}{path}", timeout=5).text
        except httpx.HTTPError:
            return ""


class Field:
    """A namespace with jobs, seen with the administrator's eyes."""

    def __init__(self, kube: Kube, namespace: str) -> None:
        self.kube, self.namespace = kube, namespace

    def job(self, name: str = "one") -> Object:
        """A job."""
        return self.kube.get(ASTROJOB, name, self.namespace)

    def status(self, name: str = "one") -> dict[str, Any]:
        """A job's status."""
        found: dict[str, Any] = self.job(name).get("status") or {}
        return found

    def until(self, phase: str, name: str = "one", seconds: float = 60) -> dict[str, Any]:
        """Wait for a phase; the status then."""
        try:
            eventually(lambda: self.status(name).get("phase") == phase, seconds, pause=0.1)
        except AssertionError:
            raise AssertionError(f"{name} is not {phase}: {self.status(name)}") from None
        return self.status(name)

    def rayjobs(self) -> list[str]:
        """Names of the RayJobs that are there."""
        return sorted(r["metadata"]["name"] for r in self.kube.list(RAYJOB, self.namespace))

    def leader(self) -> str:
        """Who holds the lease."""
        try:
            spec = self.kube.get(LEASE, LEASE_NAME, self.namespace)["spec"]
        except Missing:
            return ""
        return str(spec.get("holderIdentity") or "")

    def patch(self, name: str = "one", **changes: Any) -> None:
        """Change a job, as a person does."""
        self.kube.patch(ASTROJOB, name, changes, self.namespace)


def made(faults: Faults, plural: str = "rayjobs") -> Counter[str]:
    """How often objects of a kind were really created through the proxy, by their collection."""
    return Counter(
        c.path.partition("?")[0]
        for c in faults.calls
        if c.method == "POST" and c.status == 201 and c.path.partition("?")[0].endswith(plural)
    )


def changes_jobs(call: Call) -> bool:
    """Whether a request changes, or may change, something that matters to jobs.

    The lease and events do not, nor does what was refused.
    """
    aside = "/leases" in call.path or "/events" in call.path
    return call.is_write and not aside and call.status < 300
