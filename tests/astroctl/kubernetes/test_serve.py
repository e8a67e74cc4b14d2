from __future__ import annotations

import base64
import http.server
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from astroctl.kube.client import Kube, Object
from astroctl.kube.resources import NODE, POD, RAYSERVICE, SECRET
from astroctl.render.shape import shape
from astroctl.serving import upgrades
from astroctl.serving.on_kubernetes import slug
from astrosage.errors import AstroError
from astrosage.runs.directory import RunDirectory
from astrosage.spec.cluster import Cluster
from astrosage.spec.load import parse
from tests.astroctl.kubernetes.conftest import Cli, StandIn, plain
from tests.astroctl.kubernetes.rayservices import RayServices
from tests.kube.kubelet import Kubelet
from tests.kube.kuberay import KubeRay
from tests.kube.objects import eventually, gone


@pytest.fixture
def services(
    kube: Kube, namespace: str, kubelet: Kubelet, crds: list[str]
) -> Iterator[RayServices]:
    """KubeRay and a node; pods run as processes of their own."""
    kuberay = KubeRay(kube, namespace, marks_pods=False)
    kuberay.start()
    # These know of what a person waits for while a model is loaded.
    kuberay.services.stop()
    moved = RayServices(kube, namespace, kuberay).start()
    yield moved
    moved.stop()
    kuberay.stop()


def service(kube: Kube, namespace: str, name: str = "smollm2-135m") -> Object:
    return kube.get(RAYSERVICE, name, namespace)


def key_of(kube: Kube, namespace: str, name: str = "smollm2-135m") -> str:
    found = kube.get(SECRET, f"{name}-api-keys", namespace)
    return base64.b64decode(found["data"]["default"]).decode()


def test_a_model_is_served_and_stopped(
    cli: Cli, kube: Kube, namespace: str, services: RayServices
) -> None:
    services.load_seconds = 1.5
    result = cli("serve", "smollm2-135m", "--target", "kubernetes", "--cpus", 2, "-o", "json")
    assert result.exit_code == 0, result.stderr
    data = json.loads(result.stdout)
    assert data["url"].startswith(f"http://smollm2-135m-serve-svc.{namespace}.svc")
    key = key_of(kube, namespace)
    assert key.startswith("sk-")
    assert key not in result.output
    assert "waiting: " in result.stderr
    assert "being loaded" in result.stderr
    assert key not in json.dumps(service(kube, namespace))
    listed = json.loads(cli("serve", "--status", "--target", "kubernetes", "-o", "json").stdout)
    assert [(r["name"], r["status"], r["model"]) for r in listed] == [
        ("smollm2-135m", "RUNNING", "smollm2-135m")
    ]
    stopped = cli("serve", "--stop", "smollm2-135m", "--target", "kubernetes")
    assert stopped.exit_code == 0, stopped.stderr
    eventually(lambda: gone(kube, RAYSERVICE, "smollm2-135m", namespace))
    assert gone(kube, SECRET, "smollm2-135m-api-keys", namespace)
    assert gone(kube, SECRET, "smollm2-135m-ray-token", namespace)
    again = cli("serve", "--stop", "smollm2-135m", "--target", "kubernetes")
    assert again.exit_code == 3
    assert "--status" in again.stderr


def test_for_people_the_next_steps_are_told(
    cli: Cli, kube: Kube, namespace: str, services: RayServices
) -> None:
    result = cli("serve", "smollm2-135m", "--target", "kubernetes", "--name", "My-Model")
    assert result.exit_code == 0, result.stderr
    assert "kubectl get secret" in result.stdout
    assert f"kubectl port-forward -n {namespace} svc/my-model-serve-svc 8000:8000" in result.stdout
    assert "astroctl ask --model My-Model" in result.stdout
    assert key_of(kube, namespace, "my-model") not in result.output


def test_a_new_version_takes_over_with_the_same_key(
    cli: Cli, kube: Kube, namespace: str, services: RayServices
) -> None:
    arguments = ("serve", "smollm2-135m", "--target", "kubernetes")
    assert cli(*arguments).exit_code == 0
    key, first = key_of(kube, namespace), service(kube, namespace)
    in_place = cli(*arguments, "--max-tokens", 99)
    assert in_place.exit_code == 0, in_place.stderr
    assert "in place" in in_place.stderr
    assert services.replaced == []
    beside = cli(*arguments, "--cpus", 2)
    assert beside.exit_code == 0, beside.stderr
    assert "beside the old one" in beside.stderr
    before = first["status"]["activeServiceStatus"]["rayClusterName"]
    assert services.replaced == [before]
    assert service(kube, namespace)["metadata"]["uid"] == first["metadata"]["uid"]
    recreated = cli(*arguments, "--cpus", 3, "--upgrade", "recreate")
    assert recreated.exit_code == 0, recreated.stderr
    assert "ends before the new one starts" in recreated.stderr
    assert service(kube, namespace)["metadata"]["uid"] != first["metadata"]["uid"]
    assert key_of(kube, namespace) == key


def test_a_model_that_cannot_be_loaded(
    cli: Cli, kube: Kube, namespace: str, services: RayServices
) -> None:
    services.failure = "Traceback\n  File x\nNotFoundError: model: no such folder\n"
    result = cli("serve", "smollm2-135m", "--target", "kubernetes")
    assert result.exit_code == 5
    assert "NotFoundError: model: no such folder" in result.stderr


def test_pods_that_do_not_start_say_why(
    cli: Cli, kube: Kube, namespace: str, services: RayServices, kubelet: Kubelet
) -> None:
    kubelet.unschedulable = lambda pod: "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
    arguments = ("serve", "smollm2-135m", "--target", "kubernetes")
    result = cli(*arguments, "--gpus", 1, "--timeout", 3)
    assert result.exit_code == 5
    assert "is not ready after 3 s" in result.stderr
    assert "Insufficient nvidia.com/gpu" in result.stderr
    row = json.loads(cli("serve", "--status", "--target", "kubernetes", "-o", "json").stdout)[0]
    assert row["status"] == "STARTING"
    assert "Insufficient nvidia.com/gpu" in row["message"]
    kubelet.unschedulable = lambda pod: None
    kubelet.waiting = lambda pod: ("ImagePullBackOff", "Back-off pulling image")
    result = cli(*arguments, "--gpus", 1)
    assert result.exit_code == 5
    assert "cannot be pulled" in result.stderr


def test_a_foreign_rayservice_is_left_alone(
    cli: Cli, kube: Kube, namespace: str, crds: list[str]
) -> None:
    meta = {"name": "mine", "namespace": namespace}
    spec = {
        "serveConfigV2": "",
        "rayClusterConfig": {
            "headGroupSpec": {"template": {"spec": {"containers": [{"name": "x", "image": "y"}]}}}
        },
    }
    kube.create({"apiVersion": "ray.io/v1", "kind": "RayService", "metadata": meta, "spec": spec})
    result = cli("serve", "smollm2-135m", "--target", "kubernetes", "--name", "mine")
    assert result.exit_code == 4
    assert "not made here" in result.stderr
    assert cli("serve", "--stop", "mine", "--target", "kubernetes").exit_code == 3
    labels = {"astrosage.io/endpoint": "mine", "app.kubernetes.io/managed-by": "Helm"}
    kube.patch(RAYSERVICE, "mine", {"metadata": {"labels": labels}}, namespace)
    for arguments in (("--stop", "mine"), ("smollm2-135m", "--name", "mine")):
        result = cli("serve", *arguments, "--target", "kubernetes")
        assert result.exit_code == 4
        assert "belongs to the Helm release" in result.stderr
    assert kube.find(RAYSERVICE, "mine", namespace)


def test_what_cannot_be_served_is_refused_before_anything_is_made(
    cli: Cli, kube: Kube, namespace: str, tiny_model: Path
) -> None:
    result = cli("serve", tiny_model, "--target", "kubernetes")
    assert result.exit_code == 2
    assert "folder of this machine" in result.stderr
    result = cli("serve", "no-such-run", "--target", "kubernetes")
    assert result.exit_code == 3
    long = cli("serve", "smollm2-135m", "--target", "kubernetes", "--name", "x" * 50)
    assert long.exit_code == 2
    assert kube.list(RAYSERVICE, namespace) == []
    assert not [s for s in kube.list(SECRET, namespace) if "api-keys" in s["metadata"]["name"]]


def test_options_of_kubernetes_elsewhere(astroctl: Cli, home: Path) -> None:
    for option in ("--memory", "--pool"):
        result = astroctl("serve", "smollm2-135m", option, 2)
        assert result.exit_code == 2
        assert option in result.stderr
    assert astroctl("serve", "--forward", "x").exit_code == 2
    assert "--max-replicas" in astroctl("serve", "smollm2-135m", "--replicas", 0).stderr
    assert (
        "--replicas"
        in astroctl(*("serve", "smollm2-135m", "--replicas", 3, "--max-replicas", 2)).stderr
    )


class Endpoint:
    """Answers as the OpenAI API does, to those who have the key."""

    def __init__(self, key: str) -> None:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                good = self.headers.get("Authorization") == f"Bearer {key}"
                event = json.dumps({"choices": [{"delta": {"content": "A star."}}]})
                body = f"data: {event}\n\ndata: [DONE]\n\n" if good else '{"error": "no"}'
                self.send_response(200 if good else 401)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def asked(
    cli: Cli, kube: Kube, namespace: str, services: RayServices, kubelet: Kubelet
) -> Iterator[Endpoint]:
    """A served model whose pods lead to a server that answers."""
    assert cli("serve", "smollm2-135m", "--target", "kubernetes").exit_code == 0
    endpoint = Endpoint(key_of(kube, namespace))
    for pod in kube.list(POD, namespace, labels="ray.io/node-type=worker"):
        kubelet.ports[pod["metadata"]["name"], 8000] = endpoint.server.server_port
    yield endpoint
    endpoint.close()


def test_ask_goes_through_a_forwarded_port_with_the_secrets_key(cli: Cli, asked: Endpoint) -> None:
    result = cli("ask", "What?")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == "A star.\n"


def test_forward_holds_a_port_open_until_it_is_interrupted(
    cli: Cli, kube: Kube, namespace: str, asked: Endpoint, home: Path
) -> None:
    command = [sys.executable, "-m", "astroctl", "serve", "--forward", "smollm2-135m"]
    process = subprocess.Popen(
        [*command, "--target", "kubernetes"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        headers = {"Authorization": f"Bearer {key_of(kube, namespace)}"}
        answer = httpx.post(f"{url}/chat/completions", json={}, headers=headers, trust_env=False)
        assert answer.status_code == 200
    finally:
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    assert "kubectl get secret" in err
    assert key_of(kube, namespace) not in out + err


def test_asking_a_model_that_is_gone(cli: Cli, kube: Kube, namespace: str, asked: Endpoint) -> None:
    kube.delete(RAYSERVICE, "smollm2-135m", namespace)
    eventually(lambda: gone(kube, RAYSERVICE, "smollm2-135m", namespace))
    result = cli("ask", "What?")
    assert result.exit_code == 3
    assert "no longer served" in result.stderr


def test_without_kuberay(cli: Cli, kube: Kube, monkeypatch: pytest.MonkeyPatch) -> None:
    from astroctl.kube import resources
    from astroctl.serving import on_kubernetes

    missing = resources.Resource("ray.io/v9", "RayService", "rayservices")
    monkeypatch.setattr(on_kubernetes, "RAYSERVICE", missing)
    for arguments in (("--status",), ("smollm2-135m",)):
        result = cli("serve", *arguments, "--target", "kubernetes")
        assert result.exit_code == 3
        assert "astroctl install" in result.stderr


def make_node(kube: Kube, name: str, gpus: int) -> None:
    kube.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
    capacity = {"nvidia.com/gpu": str(gpus), "cpu": "64", "memory": "256Gi", "pods": "100"}
    conditions = [{"type": "Ready", "status": "True"}]
    status = {"capacity": capacity, "allocatable": capacity, "conditions": conditions}
    kube.patch(NODE, name, {"status": status}, subresource="status")
    kube.patch(NODE, name, {"spec": {"taints": None}, "metadata": {"labels": {"gpu": name}}})


def hold(kube: Kube, namespace: str, node: str, gpus: int) -> None:
    resources = {"limits": {"nvidia.com/gpu": str(gpus)}}
    container = {"name": "x", "image": "x", "resources": resources}
    meta = {"name": f"hold-{node}", "namespace": namespace}
    spec = {"nodeName": node, "containers": [container]}
    kube.create({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})


def test_the_upgrade_is_chosen_by_free_gpus(kube: Kube, namespace: str, crds: list[str]) -> None:
    names = [f"{namespace}-{i}" for i in range(2)]
    for name in names:
        make_node(kube, name, 8)
    form = shape(Cluster.model_validate({"workers": 2, "resourcesPerWorker": {"gpu": 4}}))
    elastic = shape(
        Cluster.model_validate({"workers": {"min": 1, "max": 2}, "resourcesPerWorker": {"gpu": 4}})
    )
    only = {"gpu": names[0]}
    try:
        assert upgrades.choose(kube, form, only).strategy.kind == "NewCluster"
        hold(kube, namespace, names[0], 5)
        chosen = upgrades.choose(kube, form, only)
        assert chosen.recreates
        assert "0 of its 2 pods" in chosen.reason
        assert upgrades.choose(kube, form, only, growth=2).strategy.kind == "NewCluster"
        assert upgrades.free_places(kube, form, {"gpu": names[1]}) == 2
        kube.patch(NODE, names[1], {"spec": {"unschedulable": True}})
        assert upgrades.free_places(kube, form, {"gpu": names[1]}) == 0
        assert upgrades.choose(kube, elastic, only).recreates  # no Gateway API here
        with pytest.raises(AstroError, match="Gateway API"):
            upgrades.forced(kube, "incremental")
        no_gpus = shape(Cluster.model_validate({"workers": 2}))
        assert upgrades.choose(kube, no_gpus, only).strategy.kind == "NewCluster"
    finally:
        for name in names:
            kube.delete(NODE, name)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("Astro-8B", "astro-8b"), ("my_model.v2", "my-model-v2"), ("7b", "m-7b"), ("--", "m")],
)
def test_names_of_models_become_names_of_objects(name: str, expected: str) -> None:
    assert slug(name) == expected


def test_bench_of_a_model_on_the_cluster_is_a_job_of_one_stage(
    cli: Cli, kube: Kube, namespace: str, bucket: str, tmp_path: Path, stand_in: StandIn
) -> None:
    quiz = tmp_path / "quiz.jsonl"
    question = {"id": "q", "question": "What?", "choices": ["a", "b"], "answer": "A"}
    quiz.write_text(json.dumps(question) + "\n")
    made = plain("trained", bucket)
    made["spec"]["cluster"] = {
        "resourcesPerWorker": {"gpu": 1},
        "pricePerHour": 9,
        "kubernetes": {"envFromSecrets": ["s3"]},
    }
    meta = {"name": "s3", "namespace": namespace}
    kube.create({"apiVersion": "v1", "kind": "Secret", "metadata": meta})
    stand_in.create(made)
    stand_in.tell("trained", "Succeeded")
    directory = RunDirectory(f"{bucket}/{namespace}/trained")
    directory.create(parse({**made, "metadata": {"name": "trained", "namespace": namespace}}))
    directory.storage.write_json("stages/cpt/model/manifest.json", {"key": "k", "files": []})
    result = cli(
        *("bench", "trained", "--target", "kubernetes", "--questions", quiz, "--name", "scored"),
        "--no-follow",
    )
    assert result.exit_code == 0, result.stderr
    spec = stand_in.get("scored")["spec"]
    (stage,) = spec["stages"]
    assert stage["bench"]["model"] == f"{bucket}/{namespace}/trained/stages/cpt/model"
    assert stage["bench"]["questions"][0]["path"].startswith(f"{bucket}/.uploads/")
    assert spec["storage"] == bucket
    assert spec["cluster"]["resourcesPerWorker"]["gpu"] == 1
    assert spec["cluster"]["kubernetes"]["envFromSecrets"] == ["s3"]
    assert "pricePerHour" not in spec["cluster"]
