"""The cluster that ``make test-cluster`` is pointed at, and the commands that are tried on it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from astroctl.kube.client import Kube, Object
from astroctl.kube.errors import NoSuchKind
from astroctl.kube.resources import (
    ASTROJOB,
    CLAIM,
    CONFIGMAP,
    CRD,
    NAMESPACE,
    PDB,
    POD,
    RAYSERVICE,
    SECRET,
    SERVICE,
    SERVICE_ACCOUNT,
    Resource,
)
from astrosage.errors import AstroError

CHART = Path(__file__).parents[2] / "charts" / "astrosage"
RELEASE = "astrosage"
CLAIM_NAME = "astrosage-test"
OURS = "app.kubernetes.io/part-of=astrosage"
_RBAC = "rbac.authorization.k8s.io/v1"
_LABELLED = (
    *(POD, SECRET, SERVICE, CONFIGMAP, SERVICE_ACCOUNT, PDB, RAYSERVICE),
    Resource("apps/v1", "Deployment", "deployments"),
    Resource("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies"),
    Resource(_RBAC, "Role", "roles"),
    Resource(_RBAC, "RoleBinding", "rolebindings"),
)


def given(name: str, default: str = "") -> str:
    """A variable of the caller; empty ones count as not given."""
    return os.environ.get(name) or default


@dataclass
class Place:
    """Where and how; every field but the first two is a variable of ``make test-cluster``.

    Attributes:
        kubeconfig: The caller's ``KUBECONFIG``.
        home: A state folder for astroctl.
        ray_image: ``RAY_IMAGE``: Ray with this project in it.
        operator_image: ``OPERATOR_IMAGE``: repository and tag.
        namespace: ``NAMESPACE``: made for the test, and removed.
        storage: ``STORAGE``: pvc:// or an object store; default: a claim made by the test.
        storage_class: ``STORAGE_CLASS`` of that claim.
        storage_size: ``STORAGE_SIZE``.
        access_mode: ``ACCESS_MODE``; ReadWriteOnce is enough where there is one node.
        pool: ``POOL``: a GPUNodePool that may be scaled up by one and down again.
        helm: ``HELM``: the program.
        helm_args: ``HELM_ARGS``: more arguments, such as ``--set operator.replicas=1``.
        patience: ``TIMEOUT``: seconds that images and pods may take.
        keep: ``KEEP``: leave everything as it is at the end.
    """

    kubeconfig: str
    home: Path
    ray_image: str = field(default_factory=lambda: given("RAY_IMAGE"))
    operator_image: str = field(default_factory=lambda: given("OPERATOR_IMAGE"))
    namespace: str = field(
        default_factory=lambda: given("NAMESPACE", f"astrosage-test-{uuid.uuid4().hex[:6]}")
    )
    storage: str = field(default_factory=lambda: given("STORAGE", f"pvc://{CLAIM_NAME}/runs"))
    storage_class: str = field(default_factory=lambda: given("STORAGE_CLASS"))
    storage_size: str = field(default_factory=lambda: given("STORAGE_SIZE", "10Gi"))
    access_mode: str = field(default_factory=lambda: given("ACCESS_MODE", "ReadWriteMany"))
    pool: str = field(default_factory=lambda: given("POOL"))
    helm: str = field(default_factory=lambda: given("HELM", "helm"))
    helm_args: list[str] = field(default_factory=lambda: given("HELM_ARGS").split())
    patience: float = field(default_factory=lambda: float(given("TIMEOUT", "900")))
    keep: bool = field(default_factory=lambda: bool(given("KEEP")))
    chart: Path = CHART

    def __post_init__(self) -> None:
        self.kube = Kube.connect(kubeconfig=self.kubeconfig)

    # -- commands --------------------------------------------------------------------------------

    def environment(self) -> dict[str, str]:
        """For commands: this cluster, and a state folder of the test's own."""
        return {
            **os.environ,
            "KUBECONFIG": self.kubeconfig,
            "ASTROCTL_HOME": str(self.home),
            "ASTROCTL_SYSTEM_NAMESPACE": self.namespace,
        }

    def command(self, *words: object) -> list[str]:
        """A command line of astroctl."""
        return [sys.executable, "-m", "astroctl", *map(str, words)]

    def astroctl(self, *words: object, target: bool = True) -> str:
        """What astroctl prints; fails with all that it said."""
        where = ("--target", "kubernetes", "--namespace", self.namespace) if target else ()
        return self.run(self.command(*words, *where))

    def run(self, words: list[str]) -> str:
        """What a command prints; fails with all that it said."""
        done = subprocess.run(words, env=self.environment(), capture_output=True, text=True)
        assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    # -- the release -----------------------------------------------------------------------------

    def prepare(self) -> None:
        """Make the namespace, and the claim where no storage was given."""
        if self.kube.find(NAMESPACE, self.namespace) is None:
            self.kube.create(
                {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}}
            )
        if self.storage.startswith(f"pvc://{CLAIM_NAME}/"):
            spec: dict[str, Any] = {
                "accessModes": [self.access_mode],
                "resources": {"requests": {"storage": self.storage_size}},
            }
            if self.storage_class:
                spec["storageClassName"] = self.storage_class
            meta = {"name": CLAIM_NAME, "namespace": self.namespace}
            self.kube.create(
                {"apiVersion": "v1", "kind": CLAIM.kind, "metadata": meta, "spec": spec}
            )

    def install(self) -> None:
        """Install the chart and wait until the operator is ready."""
        repository, _, tag = self.operator_image.rpartition(":")
        ours = self.kube.find(CRD, "astrojobs.astrosage.io") is None
        values = {
            "crds": {"install": ours, "keep": False},
            "image": {"repository": repository, "tag": tag},
            "pools": {"enabled": bool(self.pool)},
            "settings": {
                "image": self.ray_image,
                "storage": self.storage,
                "pollSeconds": 2,
                "jobTtlSeconds": 15,
            },
        }
        path = self.home / "values.yaml"
        path.write_text(yaml.safe_dump(values))
        self.run(
            [
                *(self.helm, "upgrade", "--install", RELEASE, str(self.chart), "--wait"),
                *("--namespace", self.namespace, "--values", str(path)),
                *("--timeout", f"{self.patience:.0f}s", *self.helm_args),
            ]
        )

    def uninstall(self) -> None:
        """Remove the release."""
        self.run([self.helm, "uninstall", RELEASE, "--namespace", self.namespace, "--wait"])

    def clear(self) -> None:
        """Remove what is left, whatever the tests came to: jobs first, so that Ray is stopped."""
        for job in self.kube.list(ASTROJOB, self.namespace):
            self.kube.delete(ASTROJOB, job["metadata"]["name"], self.namespace)
        with contextlib.suppress(AssertionError):
            self.eventually(lambda: not self.kube.list(ASTROJOB, self.namespace), "jobs are gone")
        with contextlib.suppress(AssertionError):
            self.uninstall()
        self.kube.delete(NAMESPACE, self.namespace)

    def left_over(self) -> list[str]:
        """Objects of the release or of its jobs that are still there."""
        found = []
        for kind in _LABELLED:
            with contextlib.suppress(NoSuchKind):
                for one in self.kube.list(kind, self.namespace, labels=OURS):
                    annotations = one["metadata"].get("annotations") or {}
                    if annotations.get("helm.sh/resource-policy") != "keep":
                        found.append(f"{kind.kind} {one['metadata']['name']}")
        return found

    # -- looking ---------------------------------------------------------------------------------

    def status(self, name: str) -> dict[str, Any]:
        """What ``astroctl status`` tells of a run."""
        found: dict[str, Any] = json.loads(self.astroctl("status", name, "-o", "json"))
        return found

    def wait(
        self, name: str, reached: Callable[[dict[str, Any]], bool], what: str
    ) -> dict[str, Any]:
        """Wait until a run's status is as it should be; the status then."""
        deadline = time.monotonic() + self.patience
        while True:
            status = self.status(name)
            if reached(status):
                return status
            over = time.monotonic() > deadline or status["phase"] == "failed"
            assert not over, f"{name} is not {what}: {json.dumps(status, indent=1)}"
            time.sleep(1)

    def wait_phase(self, name: str, phase: str) -> dict[str, Any]:
        """Wait until a run is in a phase."""
        return self.wait(name, lambda s: bool(s["phase"] == phase), phase)

    def wait_step(self, name: str, step: int) -> dict[str, Any]:
        """Wait until training has come to a step."""

        def reached(status: dict[str, Any]) -> bool:
            return bool((status["progress"].get("step") or 0) >= step)

        return self.wait(name, reached, f"at step {step}")

    def pods(self, name: str, node_type: str = "worker") -> list[Object]:
        """Running Ray pods of a run."""
        labels = f"astrosage.io/job={name},ray.io/node-type={node_type}"
        found = self.kube.list(POD, self.namespace, labels=labels)
        return [
            p
            for p in found
            if p["status"].get("phase") == "Running" and "deletionTimestamp" not in p["metadata"]
        ]

    def eventually(self, ask: Callable[[], object], what: str) -> None:
        """Wait until something holds."""
        deadline = time.monotonic() + self.patience
        while time.monotonic() < deadline:
            try:
                if ask():
                    return
            except AstroError:
                pass  # asked again until the end
            time.sleep(1)
        raise AssertionError(f"not within {self.patience:.0f} s: {what}")
