"""The endpoint of the chart is that of ``astroctl serve``."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from astroctl.render import quantity
from astroctl.render.linter import lint
from astroctl.render.rayservice import ANNOTATION_CLUSTER, Strategy, rayservice
from astroctl.render.settings import Settings
from astrosage.spec.cluster import Cluster
from tests.charts.helm import NAMESPACE, Helm, Object, Refused, one
from tests.charts.values import ENDPOINT, INGRESS, MATRIX, merged

# As YAML would read numbers of settings: whole ones without a point.
CASES: dict[str, Object] = {
    "gpu-claim": {},
    "gpu-store": {"endpoint": {"model": "s3://bucket/model", "modelId": "astro"}},
    "cpu-hub": {
        "endpoint": {
            "model": "HuggingFaceTB/SmolLM2-135M",
            "resourcesPerReplica": {"cpu": 0.5, "gpu": 0, "memory": "6Gi"},
            "sharedMemory": "1536Mi",
        }
    },
    "many": {"endpoint": {"replicas": 3, "limits": {"maxConcurrent": 32, "maxQueue": 0}}},
    "limited": {
        "endpoint": {
            "limits": {
                "requestTimeoutSeconds": 300,
                "rateLimits": {"requestsPerMinute": 60, "tokensPerMinute": 2000000},
            }
        }
    },
    "elastic": {
        "endpoint": {
            "replicas": {"min": 1, "max": 4},
            "upgrade": {
                "type": "NewClusterWithIncrementalUpgrade",
                "gatewayClass": "istio",
            },
        }
    },
    "recreate": {"endpoint": {"upgrade": {"type": "None"}}},
    "placed": {
        "endpoint": {
            "nodeSelector": {"gpu": "l4"},
            "tolerations": [
                {"key": "serving"},
                {"key": "x", "operator": "Equal", "value": "y", "effect": "NoSchedule"},
            ],
        },
        "settings": {
            "image": "registry.example.org/ray:1",
            "imagePullPolicy": "Always",
            "imagePullSecrets": ["registry"],
            "serviceAccount": "ray",
            "priorityClass": "serving",
            "env": [
                {"name": "HTTPS_PROXY", "value": "http://proxy:3128"},
                {"name": "TOKENIZERS_PARALLELISM", "value": "true"},
                {"name": "HF_TOKEN", "secret": {"name": "hub", "key": "token"}},
            ],
            "envFromSecrets": ["store"],
            "workerNodeSelector": {"role": "ray", "gpu": "any"},
            "workerTolerations": [{"key": "gpu", "operator": "Exists"}],
            "head": {"cpu": 1, "memory": "6Gi", "nodeSelector": {"role": "head"}},
            "cpuLimits": True,
        },
    },
    "assigned-users": {"settings": {"runAsUser": None, "fsGroup": None}},
}


def rendered(helm: Helm, values: Object) -> Object:
    return one(helm.template(merged(ENDPOINT, values)), "RayService")


def made(values: Object, settings: Settings) -> Object:
    """By the function that ``astroctl serve`` calls."""
    endpoint = merged(ENDPOINT, values)["endpoint"]
    each = {"cpu": 4, "gpu": 1, "memory": "32Gi", **endpoint.get("resourcesPerReplica", {})}
    options = {
        "sharedMemory": endpoint.get("sharedMemory", "8Gi"),
        "nodeSelector": endpoint.get("nodeSelector", {}),
        "tolerations": endpoint.get("tolerations", []),
    }
    cluster = {
        "workers": endpoint.get("replicas", 1),
        "resourcesPerWorker": each,
        "kubernetes": options,
    }
    upgrade = endpoint.get("upgrade", {})
    return rayservice(
        "endpoint",
        NAMESPACE,
        model_uri=endpoint["model"],
        served_name=endpoint.get("modelId", "endpoint"),
        settings=settings,
        cluster=Cluster.model_validate(cluster),
        keys_secret="astro-keys",
        strategy=Strategy(upgrade.get("type", "NewCluster"), upgrade.get("gatewayClass", "")),
        limits=endpoint.get("limits"),
    )


def settings_of(values: Object) -> Settings:
    given = {"serviceAccount": "astrosage-jobs", **values.get("settings", {})}
    return Settings.model_validate(given)


def comparable(service: Object) -> Any:
    """Quantities as numbers, texts taken apart, lists of variables by name."""
    spec = service["spec"]
    config = spec["rayClusterConfig"]
    # Named by the chart's values, or by the endpoint.
    config["authOptions"].pop("secretName")
    service["metadata"]["annotations"].pop(ANNOTATION_CLUSTER, None)
    service["metadata"].pop("labels")
    spec["serveConfigV2"] = yaml.safe_load(spec["serveConfigV2"])
    return _plain(service)


def _plain(node: Any, key: str = "") -> Any:
    if isinstance(node, dict):
        return {k: _plain(v, k) for k, v in node.items() if k != "managed-by"}
    if isinstance(node, list):
        parts = [_plain(v) for v in node]
        return sorted(parts, key=lambda p: p["name"]) if key == "env" else parts
    if key == "cpu":
        return quantity.parse_cores(node)
    if key in ("memory", "sizeLimit"):
        return quantity.parse_memory(node)
    if key == "nvidia.com/gpu":
        return str(node)
    return node.rstrip("\n") if isinstance(node, str) else node


@pytest.mark.parametrize("case", CASES)
def test_it_is_what_astroctl_makes(case: str, helm: Helm) -> None:
    mine = comparable(rendered(helm, CASES[case]))
    theirs = comparable(made(CASES[case], settings_of(CASES[case])))
    assert mine == theirs


@pytest.mark.parametrize("case", CASES)
def test_kuberay_has_nothing_against_it(case: str, new_helm: Helm) -> None:
    assert lint(rendered(new_helm, CASES[case])) == []


def test_labels_lead_services_and_policies_to_its_pods(new_helm: Helm) -> None:
    found = new_helm.template(ENDPOINT)
    cluster = one(found, "RayService")["spec"]["rayClusterConfig"]
    policy = one(found, "NetworkPolicy", "astrosage-endpoints")["spec"]
    label = policy["podSelector"]["matchExpressions"][0]["key"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        assert label in group["template"]["metadata"]["labels"]
    ports = [p["port"] for rule in policy["ingress"] for p in rule.get("ports", [])]
    assert 8000 in ports


def test_the_ways_in_lead_to_its_service(new_helm: Helm) -> None:
    found = new_helm.template(INGRESS)
    ingress = one(found, "Ingress")["spec"]
    path = ingress["rules"][0]["http"]["paths"][0]
    assert path["backend"]["service"] == {"name": "endpoint-serve-svc", "port": {"number": 8000}}
    assert ingress["tls"] == [{"hosts": ["astro.example.org"], "secretName": "astro-tls"}]
    route = one(found, "HTTPRoute")["spec"]
    assert route["parentRefs"] == [{"name": "public", "namespace": "gateways"}]
    assert route["rules"][0]["backendRefs"] == [{"name": "endpoint-serve-svc", "port": 8000}]


@pytest.mark.parametrize(
    ("without", "said"),
    [
        ({"model": ""}, "endpoint.model is needed"),
        ({"keysSecret": ""}, "endpoint.keysSecret is needed"),
        ({"ingress": {"enabled": True}}, "endpoint.ingress.host is needed"),
        ({"route": {"enabled": True}}, "endpoint.route.parents is needed"),
        ({"upgrade": {"type": "NewClusterWithIncrementalUpgrade"}}, "needs endpoint.replicas"),
    ],
)
def test_what_is_missing_is_named(without: Object, said: str, new_helm: Helm) -> None:
    with pytest.raises(Refused, match=said):
        new_helm.text(merged(ENDPOINT, {"endpoint": without}))


def test_rays_token_is_made_if_none_is_given(new_helm: Helm) -> None:
    found = new_helm.template(merged(ENDPOINT, {"endpoint": {"rayTokenSecret": ""}}))
    service, secret = one(found, "RayService"), one(found, "Secret")
    named = service["spec"]["rayClusterConfig"]["authOptions"]["secretName"]
    assert named == secret["metadata"]["name"] == "endpoint-ray-token"
    assert len(secret["data"]["auth_token"]) == 64
    assert "Secret" not in [o["kind"] for o in new_helm.template(MATRIX["all"])]
