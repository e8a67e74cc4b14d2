"""Logs of the driver: through the API server to a Ray head's dashboard."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from astroctl.kube.client import Kube
from astroctl.kube.resources import POD, RAYJOB, SECRET
from astroctl.targets.kubernetes import runs
from tests.astroctl.kubernetes.conftest import Cli, StandIn, plain
from tests.kube.fixtures import UserMaker
from tests.kube.kubelet import Kubelet
from tests.kube.objects import eventually

KUBERNETES = ("--target", "kubernetes")
TOKEN = "t0ken-of-the-test"


class Head:
    """A dashboard that speaks as much of Ray's Jobs API as logs need, and wants its token."""

    def __init__(self) -> None:
        self.logs: dict[str, str] = {}
        self.asked: list[str] = []
        head = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                head.asked.append(self.path)
                bearer = f"Bearer {TOKEN}"
                headers = self.headers
                if bearer not in (headers["Authorization"], headers["X-Ray-Authorization"]):
                    self.answer(401, {"error": "Missing authentication token"})
                elif self.path == "/api/version":
                    self.answer(200, {"ray_version": "2.60.0"})
                else:
                    job = self.path.split("/")[3]
                    if job not in head.logs:
                        self.answer(404, {"error": "unknown"})
                    else:
                        self.answer(200, {"logs": head.logs[job], "status": "RUNNING"})

            def answer(self, status: int, body: Any) -> None:
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self._thread = threading.Thread(target=self.server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()


class Cluster:
    """The objects of a job whose Ray cluster runs: RayJobs, head pods, the token's Secret."""

    def __init__(self, kube: Kube, namespace: str, kubelet: Kubelet, head: Head) -> None:
        self.kube, self.namespace, self.kubelet, self.head = kube, namespace, kubelet, head
        kube.create(
            {
                "apiVersion": "v1",
                "kind": SECRET.kind,
                "metadata": {"name": "small-ray-token", "namespace": namespace},
                "stringData": {"auth_token": TOKEN},
            }
        )

    def attempt(self, number: int, *, boots: bool = True) -> str:
        name = f"small-0-{number}"
        labels = {
            "astrosage.io/job": "small",
            "astrosage.io/group": "0",
            "astrosage.io/attempt": str(number),
        }
        self.kube.create(
            {
                "apiVersion": "ray.io/v1",
                "kind": "RayJob",
                "metadata": {"name": name, "namespace": self.namespace, "labels": labels},
                "spec": {
                    "rayClusterSpec": {
                        "headGroupSpec": {"template": {"spec": {"containers": [{"name": "ray"}]}}}
                    }
                },
            }
        )
        cluster = f"{name}-abcde"
        state = {"rayClusterName": cluster, "jobDeploymentStatus": "Running"}
        self.kube.patch(RAYJOB, name, {"status": state}, self.namespace, "status")
        self._pod(cluster, boots)
        return name

    def _pod(self, cluster: str, boots: bool) -> None:
        command = "echo ray head starts; exec sleep 300"
        pod = f"{cluster}-head"
        self.kubelet.ports[(pod, 8265)] = self.head.port
        self.kube.create(
            {
                "apiVersion": "v1",
                "kind": POD.kind,
                "metadata": {
                    "name": pod,
                    "namespace": self.namespace,
                    "labels": {"ray.io/cluster": cluster, "ray.io/node-type": "head"},
                },
                "spec": {
                    "containers": [
                        {"name": "ray", "image": "ray", "command": ["sh", "-c", command]}
                    ]
                },
            }
        )
        if boots:
            eventually(lambda: self._runs(pod))

    def _runs(self, pod: str) -> bool:
        status = self.kube.get(POD, pod, self.namespace).get("status") or {}
        return bool(status.get("phase") == "Running")


@pytest.fixture
def head() -> Iterator[Head]:
    found = Head()
    yield found
    found.close()


@pytest.fixture
def cluster(
    kube: Kube, namespace: str, kubelet: Kubelet, head: Head, stand_in: StandIn, cli: Cli
) -> Cluster:
    stand_in.create(plain("small"))
    stand_in.tell("small", "Running")
    return Cluster(kube, namespace, kubelet, head)


def test_the_drivers_output_comes_by_port_forward_with_the_token(
    cli: Cli, cluster: Cluster, head: Head
) -> None:
    head.logs[cluster.attempt(1)] = "step 1\nstep 2\n"
    result = cli("logs", "small", *KUBERNETES)
    assert result.exit_code == 0, result.stderr
    assert result.stdout == "step 1\nstep 2\n"
    assert TOKEN not in result.output


def test_following_goes_on_with_the_next_attempt_under_a_header(
    cli: Cli,
    cluster: Cluster,
    head: Head,
    stand_in: StandIn,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runs.KubernetesRuns, "log_seconds", 0.1)
    first = cluster.attempt(1)
    head.logs[first] = "first\n"

    def life() -> None:
        eventually(lambda: any("logs" in path for path in head.asked))
        head.logs[first] += "more\n"
        time.sleep(1.5)
        second = cluster.attempt(2)
        head.logs[second] = "second\n"
        eventually(lambda: any(second in path for path in head.asked))
        time.sleep(0.5)
        stand_in.tell("small", "Succeeded")

    thread = threading.Thread(target=life)
    thread.start()
    result = cli("logs", "small", *KUBERNETES, "-f")
    thread.join()
    assert result.exit_code == 0, result.stderr
    assert result.stdout == ("first\nmore\n==> attempt 2 of group 0 (small-0-2) <==\nsecond\n")


def test_before_the_driver_starts_the_head_pods_log_is_shown(
    cli: Cli, cluster: Cluster, head: Head
) -> None:
    cluster.attempt(1)
    result = cli("logs", "small", *KUBERNETES)
    assert result.exit_code == 0, result.stderr
    assert "==> head pod small-0-1-abcde-head <==\nray head starts\n" in result.stdout


def test_someone_who_may_not_forward_ports_gets_the_reason(
    cli: Cli, cluster: Cluster, head: Head, user: UserMaker
) -> None:
    head.logs[cluster.attempt(1)] = "step 1\n"
    rules = [
        {"apiGroups": ["astrosage.io"], "resources": ["astrojobs"], "verbs": ["get", "list"]},
        {"apiGroups": ["ray.io"], "resources": ["rayjobs"], "verbs": ["get", "list"]},
        {"apiGroups": [""], "resources": ["pods", "secrets"], "verbs": ["get", "list"]},
    ]
    result = cli("logs", "small", "--kubeconfig", user("limited", rules))
    assert result.exit_code == 0, result.stderr
    assert "pods/portforward" in result.stderr
    assert "step 1" not in result.stdout
