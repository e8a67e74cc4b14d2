from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from astroctl.render.linter import lint
from astroctl.render.rayservice import (
    KEYS_MOUNT,
    Strategy,
    keys_secret_name,
    rayservice,
    secret,
    service_url,
)
from astroctl.render.settings import Settings
from astroctl.render.storage import STORAGE_MOUNT
from astrosage.errors import SpecError
from astrosage.serve import settings as serve_settings
from astrosage.spec.cluster import Cluster
from astrosage.spec.local import POD_STORAGE
from tests.astroctl.render.schema import check

GPU = Cluster.model_validate(
    {"workers": 2, "resourcesPerWorker": {"cpu": 8, "gpu": 1, "memory": "64Gi"}}
)


def render(**changes: Any) -> dict[str, Any]:
    options: dict[str, Any] = {
        "model_uri": "s3://models/astro",
        "served_name": "Astro-8B",
        "settings": Settings(),
        "cluster": GPU,
        "keys_secret": "astro-api-keys",
    }
    return rayservice("astro", "team", **{**options, **changes})


def serve_config(manifest: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(manifest["spec"]["serveConfigV2"])
    return found


def worker(manifest: dict[str, Any]) -> dict[str, Any]:
    (group,) = manifest["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    spec: dict[str, Any] = group["template"]["spec"]
    return spec


def head(manifest: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = manifest["spec"]["rayClusterConfig"]["headGroupSpec"]["template"]["spec"]
    return spec


ELASTIC = Cluster.model_validate({"workers": {"min": 1, "max": 3}})
INCREMENTAL = Strategy("NewClusterWithIncrementalUpgrade", "istio")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"model_uri": "pvc://data/runs/default/astro/stages/sft/model"},
        {"model_uri": "smollm2-135m", "cluster": Cluster()},
        {"model_uri": "org/model", "strategy": Strategy("None")},
        {"cluster": ELASTIC, "strategy": INCREMENTAL},
        {"settings": Settings(run_as_user=None, fs_group=None, priority_class="high")},
    ],
)
def test_what_is_rendered_is_valid(changes: dict[str, Any]) -> None:
    manifest = render(**changes)
    check(manifest)
    assert lint(manifest) == []
    assert yaml.safe_load(yaml.safe_dump(manifest)) == manifest


@given(
    workers=st.one_of(
        st.integers(1, 8),
        st.tuples(st.integers(1, 4), st.integers(0, 4)).map(
            lambda t: {"min": t[0], "max": t[0] + t[1]}
        ),
    ),
    gpu=st.sampled_from([0, 0.5, 1, 2, 8]),
    together=st.one_of(st.none(), st.integers(1, 4)),
    model=st.sampled_from(["org/m", "s3://b/m", "pvc://c/m", "pvc://c"]),
)
def test_every_endpoint_is_valid_and_has_room_for_its_replicas(
    workers: Any, gpu: float, together: int | None, model: str
) -> None:
    cluster = Cluster.model_validate(
        {"workers": workers, "resourcesPerWorker": {"gpu": gpu}, "workersPerNode": together}
    )
    manifest = render(cluster=cluster, model_uri=model)
    check(manifest)
    assert lint(manifest) == []
    (group,) = manifest["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    (deployment,) = serve_config(manifest)["applications"][0]["deployments"]
    most = deployment.get("autoscaling_config", {}).get("max_replicas", deployment["num_replicas"])
    arguments = serve_config(manifest)["applications"][0]["args"]
    gpus = float(group["rayStartParams"]["num-gpus"]) * group["maxReplicas"]
    cpus = float(group["rayStartParams"]["num-cpus"]) * group["maxReplicas"]
    assert gpus >= most * arguments["numGpus"]
    assert cpus >= most * arguments["numCpus"]


def test_the_server_takes_the_arguments() -> None:
    manifest = render(limits={"maxConcurrent": 4, "maxTokens": 100})
    (application,) = serve_config(manifest)["applications"]
    assert application["import_path"] == "ray_jobs.serve:app"
    found = serve_settings.parse(application["args"])
    assert (found.model, found.model_id) == ("s3://models/astro", "Astro-8B")
    assert (found.max_concurrent, found.max_tokens, found.num_gpus) == (4, 100, 1)
    assert found.key_folder == KEYS_MOUNT
    assert application["deployments"] == [{"name": "model", "num_replicas": 2}]


def test_serve_itself_takes_the_configuration() -> None:
    schema = pytest.importorskip("ray.serve.schema")
    for cluster in (GPU, ELASTIC):
        schema.ServeDeploySchema.model_validate(serve_config(render(cluster=cluster)))


def test_elastic_endpoints_scale_between_their_bounds() -> None:
    manifest = render(cluster=ELASTIC, limits={"maxConcurrent": 4})
    (deployment,) = serve_config(manifest)["applications"][0]["deployments"]
    assert deployment["num_replicas"] == "auto"
    assert deployment["autoscaling_config"] == {
        "min_replicas": 1,
        "max_replicas": 3,
        "target_ongoing_requests": 4,
    }
    assert manifest["spec"]["rayClusterConfig"]["enableInTreeAutoscaling"]


def test_a_model_on_a_claim_is_mounted_read_only() -> None:
    manifest = render(model_uri="pvc://data/runs/x/model")
    arguments = serve_config(manifest)["applications"][0]["args"]
    assert arguments["model"] == f"{STORAGE_MOUNT}/runs/x/model"
    for pod in (worker(manifest), head(manifest)):
        volume = next(v for v in pod["volumes"] if v["name"] == "storage")
        assert volume["persistentVolumeClaim"] == {"claimName": "data", "readOnly": True}
        mounts = {m["mountPath"]: m for m in pod["containers"][0]["volumeMounts"]}
        assert mounts[STORAGE_MOUNT]["readOnly"]
        env = {e["name"]: e.get("value") for e in pod["containers"][0]["env"]}
        assert env["ASTROSAGE_CACHE"] in mounts
        assert "readOnly" not in mounts[env["ASTROSAGE_CACHE"]]
    assert STORAGE_MOUNT == POD_STORAGE


def test_keys_come_from_a_secret_to_workers_alone() -> None:
    manifest = render()
    volume = next(v for v in worker(manifest)["volumes"] if v["name"] == "keys")
    assert volume["secret"]["secretName"] == "astro-api-keys"
    assert not any(v["name"] == "keys" for v in head(manifest)["volumes"])


def test_pods_are_restricted_and_the_head_serves_nobody() -> None:
    manifest = render()
    for pod in (worker(manifest), head(manifest)):
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        (container,) = pod["containers"]
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert pod["automountServiceAccountToken"] is False
    assert manifest["spec"]["excludeHeadPodFromServeSvc"]
    assert manifest["spec"]["rayClusterConfig"]["authOptions"]["mode"] == "token"


def test_the_hash_tells_whether_the_cluster_changes() -> None:
    def hash_of(**changes: Any) -> str:
        annotations = render(**changes)["metadata"]["annotations"]
        return str(annotations["astrosage.io/cluster-hash"])

    assert hash_of() == hash_of(model_uri="s3://models/other", strategy=Strategy("None"))
    assert hash_of() != hash_of(settings=Settings(image="other:1"))
    assert hash_of() != hash_of(model_uri="pvc://data/m")


@pytest.mark.parametrize("name", ["A", "1a", "a.b", "x" * 48, "-a"])
def test_names_that_kuberay_refuses(name: str) -> None:
    with pytest.raises(SpecError, match="--name"):
        rayservice(
            name,
            "team",
            model_uri="org/m",
            served_name="m",
            settings=Settings(),
            cluster=GPU,
            keys_secret="k",
        )


@pytest.mark.parametrize("model", ["/home/me/model", "./model", "~/model"])
def test_a_model_of_this_machine_is_refused(model: str) -> None:
    with pytest.raises(SpecError, match="folder of this machine"):
        render(model_uri=model)


def test_the_rest() -> None:
    made = secret(keys_secret_name("astro"), "team", "astro", {"default": "sk"})
    assert made["metadata"]["name"] == "astro-api-keys"
    assert service_url("astro", "team", Settings(cluster_domain="c.local")) == (
        "http://astro-serve-svc.team.svc.c.local:8000/v1"
    )
