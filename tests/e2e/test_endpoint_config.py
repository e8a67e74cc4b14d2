"""A RayService's Serve configuration on a real Ray cluster: model in S3, keys in a folder."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from astroctl.render.rayservice import KEYS_MOUNT, rayservice
from astroctl.render.settings import Settings
from astroctl.targets import head
from astrosage.runs.storage import Storage
from astrosage.spec.cluster import Cluster
from tests.kube.processes import free_port
from tests.runs import s3

pytestmark = pytest.mark.e2e


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with s3.server() as endpoint:
        yield s3.bucket(endpoint, monkeypatch)


@pytest.fixture
def running(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[head.Head]:
    """A Ray head of the test's own, which knows the way to the bucket."""
    monkeypatch.setenv("ASTROCTL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ASTROSAGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)
    head.begin(free_port())
    yield head.wait()
    head.stop()


def test_the_rendered_configuration_serves(
    running: head.Head, bucket: str, tiny_model: Path, tmp_path: Path
) -> None:
    storage = Storage(f"s3://{bucket}/runs")
    for file in tiny_model.iterdir():
        storage.write_bytes(f"team/x/stages/sft/model/{file.name}", file.read_bytes())
    manifest = rayservice(
        "tiny",
        "team",
        model_uri=storage.path("team/x/stages/sft/model"),
        served_name="Tiny",
        settings=Settings(),
        cluster=Cluster.model_validate({"workers": 2, "resourcesPerWorker": {"cpu": 0.5}}),
        keys_secret="tiny-api-keys",
        limits={"maxConcurrent": 2},
    )
    keys = tmp_path / "keys"
    keys.mkdir()
    (keys / "default").write_text("sk-first")
    # What a pod has and this machine has not: an address of its own and the mounted Secret.
    config = yaml.safe_load(manifest["spec"]["serveConfigV2"])
    port = free_port()
    config["http_options"] |= {"host": "127.0.0.1", "port": port}
    (application,) = config["applications"]
    assert application["args"]["keyFolder"] == KEYS_MOUNT
    application["args"]["keyFolder"] = str(keys)
    dashboard = running.api().http
    dashboard.request("PUT", "/api/serve/applications/", json=config, timeout=120)
    details = _wait(dashboard)
    (deployment,) = details["deployments"].values()
    assert deployment["target_num_replicas"] == 2
    assert len([r for r in deployment["replicas"] if r["state"] == "RUNNING"]) == 2
    url = f"http://127.0.0.1:{port}/v1"
    with httpx.Client(trust_env=False) as client:
        assert client.get(f"{url}/models").status_code == 401
        answer = client.get(f"{url}/models", headers={"Authorization": "Bearer sk-first"})
        assert [m["id"] for m in answer.json()["data"]] == ["Tiny"]
        body = {"model": "Tiny", "max_tokens": 4, "messages": [{"role": "user", "content": "Hi"}]}
        said = client.post(
            f"{url}/chat/completions",
            json=body,
            headers={"Authorization": "Bearer sk-first"},
            timeout=60,
        )
        assert said.status_code == 200, said.text


def _wait(dashboard: Any) -> dict[str, Any]:
    deadline = time.monotonic() + 180
    while True:
        found = dashboard.json("GET", "/api/serve/applications/", timeout=60)
        application: dict[str, Any] = found["applications"]["model"]
        if application["status"] == "RUNNING":
            return application
        assert application["status"] != "DEPLOY_FAILED", application["message"]
        assert time.monotonic() < deadline, application
        time.sleep(0.5)
