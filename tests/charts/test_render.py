"""What helm makes of the chart, over many values and with every helm that is there."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import astrosage
from astroctl.render import settings as operator_settings
from tests.charts import restricted
from tests.charts.helm import CHART, NAMESPACE, Helm, Object, helms, kinds, objects, one
from tests.charts.values import (
    ALL_NAMESPACES,
    MATRIX,
    NETWORK,
    NOTHING,
    PLACED,
    POOLS,
    SETTINGS,
    STORAGE,
    TEAMS,
)

_CLUSTER_WIDE = {"CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding"}


@pytest.fixture(params=MATRIX)
def found(request: pytest.FixtureRequest, new_helm: Helm) -> list[Object]:
    return new_helm.template(MATRIX[request.param])


def pods(found: list[Object]) -> list[tuple[str, dict[str, Any]]]:
    """Pod specs in objects, with the objects' names."""
    made = []
    for obj in found:
        name = f"{obj['kind']}/{obj['metadata']['name']}"
        if obj["kind"] == "Pod":
            made.append((name, obj["spec"]))
        if obj["kind"] == "Deployment":
            made.append((name, obj["spec"]["template"]["spec"]))
        if obj["kind"] == "RayService":
            cluster = obj["spec"]["rayClusterConfig"]
            groups = [cluster["headGroupSpec"], *cluster.get("workerGroupSpecs", [])]
            made += [(name, group["template"]["spec"]) for group in groups]
    return made


def test_lint_has_nothing_to_say(helm: Helm) -> None:
    for values in MATRIX.values():
        said = helm.run("lint", "--strict", "--quiet", str(CHART), values=values)
        assert "[WARNING]" not in said
        assert "[ERROR]" not in said


@pytest.mark.parametrize("name", MATRIX)
def test_all_helms_make_the_same(name: str, new_helm: Helm) -> None:
    texts = [h.text(MATRIX[name]) for h in helms()]
    assert all(sorted(map(str, objects(t))) == sorted(map(str, objects(texts[0]))) for t in texts)


def test_every_object_is_named_once_and_placed(found: list[Object]) -> None:
    names = [(o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"]) for o in found]
    assert len(set(names)) == len(names)
    for obj in found:
        placed = "namespace" in obj["metadata"]
        assert placed == (obj["kind"] not in _CLUSTER_WIDE), obj["metadata"]["name"]
        assert obj["metadata"]["labels"]["app.kubernetes.io/part-of"] == "astrosage"


def test_pods_are_restricted(found: list[Object]) -> None:
    assert pods(found)
    assert [(n, v) for n, spec in pods(found) for v in restricted.violations(spec)] == []


def test_own_pods_cannot_write_their_root_and_have_limits(found: list[Object]) -> None:
    for name, spec in pods([o for o in found if o["kind"] != "RayService"]):
        for container in restricted.containers(spec):
            assert container["securityContext"]["readOnlyRootFilesystem"] is True, name
            assert container["resources"]["requests"].keys() >= {"cpu", "memory"}, name
            assert "memory" in container["resources"]["limits"], name
            mounted = {m["mountPath"]: m for m in container["volumeMounts"]}
            assert "/tmp" in mounted, name


def test_no_image_floats(found: list[Object]) -> None:
    for name, spec in pods(found):
        for container in restricted.containers(spec):
            tag = re.search(r"[:@]([^:/]+|sha256:\w+)$", container["image"])
            assert tag, f"{name}: {container['image']}"
            assert tag[1] != "latest", name


def test_defaults_give_no_right_in_the_whole_cluster(new_helm: Helm) -> None:
    found = new_helm.template()
    assert "ClusterRoleBinding" not in kinds(found)
    for role in (o for o in found if o["kind"] == "ClusterRole"):
        assert role["metadata"]["name"].startswith("astrosage-"), "roles for people only"


def test_no_role_has_wildcards_or_more_than_it_says(found: list[Object]) -> None:
    for role in (o for o in found if o["kind"] in ("Role", "ClusterRole")):
        for rule in role["rules"]:
            for field in ("apiGroups", "resources", "verbs"):
                assert rule[field], role["metadata"]["name"]
                assert "*" not in rule[field], role["metadata"]["name"]


def test_every_watched_namespace_gets_what_jobs_need(new_helm: Helm) -> None:
    found = new_helm.template(TEAMS)
    for namespace in (NAMESPACE, "team-a", "team-b"):
        here = [o for o in found if o["metadata"].get("namespace") == namespace]
        names = {(o["kind"], o["metadata"]["name"]) for o in here}
        assert names >= {
            ("Role", "astrosage-operator"),
            ("RoleBinding", "astrosage-operator"),
            ("ServiceAccount", "astrosage-jobs"),
            ("NetworkPolicy", "astrosage-jobs"),
        }
    assert {o["metadata"].get("namespace") for o in found} == {None, NAMESPACE, "team-a", "team-b"}


def test_a_namespace_listed_twice_is_one(new_helm: Helm) -> None:
    found = new_helm.template({"watchNamespaces": [NAMESPACE, "team-a", "team-a"]})
    assert len([o for o in found if o["kind"] == "Role" and "leader" not in str(o)]) > 0
    names = [(o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"]) for o in found]
    assert len(set(names)) == len(names)


def read_settings(found: list[Object]) -> operator_settings.Settings:
    text = one(found, "ConfigMap", "astrosage-settings")["data"]["settings.yaml"]
    return operator_settings.parse(text)


def test_settings_are_those_that_the_operator_reads(found: list[Object]) -> None:
    read_settings(found)


def test_settings_follow_the_other_values(new_helm: Helm) -> None:
    plain = read_settings(new_helm.template())
    assert plain == operator_settings.Settings(
        service_account="astrosage-jobs", watch_namespaces=[NAMESPACE]
    )
    teams = read_settings(new_helm.template({**TEAMS, **POOLS, **STORAGE}))
    assert teams.watch_namespaces == [NAMESPACE, "team-a", "team-b"]
    assert teams.pools_enabled
    assert teams.storage == "pvc://astrosage-storage"
    everywhere = read_settings(new_helm.template({**ALL_NAMESPACES, **STORAGE}))
    assert everywhere.watch_namespaces == []
    # The account and the claim are in the release's namespace only.
    assert everywhere.service_account is None
    assert everywhere.storage is None


def test_null_settings_stay_null(helm: Helm) -> None:
    """Helm takes null out of values, and the field's own default is another."""
    settings = read_settings(helm.template(SETTINGS))
    assert settings.run_as_user is None
    assert settings.fs_group is None
    assert settings.storage == "s3://bucket/runs"


def test_changed_settings_restart_the_operator(new_helm: Helm) -> None:
    def checksum(values: Object) -> str:
        pod = one(new_helm.template(values), "Deployment")["spec"]["template"]
        return str(pod["metadata"]["annotations"]["checksum/settings"])

    assert checksum({}) == checksum({"image": {"tag": "2"}})
    assert checksum({}) != checksum({"settings": {"pollSeconds": 5}})


def test_definitions_are_those_of_the_models(helm: Helm) -> None:
    found = {o["metadata"]["name"]: o for o in helm.template() if "Definition" in o["kind"]}
    files = list((CHART / "files/crds").glob("*.yaml"))
    assert len(files) == len(found) == 2
    for file in files:
        written = yaml.safe_load(file.read_text())
        rendered = found[written["metadata"]["name"]]
        assert rendered["spec"] == written["spec"]
        annotations = rendered["metadata"]["annotations"]
        assert annotations == {
            **written["metadata"]["annotations"],
            "helm.sh/resource-policy": "keep",
        }


def test_definitions_go_only_when_told(new_helm: Helm) -> None:
    found = new_helm.template({"crds": {"keep": False}})
    assert "helm.sh/resource-policy" not in str([o for o in found if "Definition" in o["kind"]])


def test_the_operator_is_as_it_is_said_to_be(new_helm: Helm) -> None:
    found = new_helm.template()
    deployment = one(found, "Deployment")["spec"]
    pod = deployment["template"]["spec"]
    container = pod["containers"][0]
    assert deployment["replicas"] == 2
    assert container["image"] == f"astrosage/operator:{astrosage.__version__}"
    assert container["command"] == ["python", "-m", "astroctl.controller"]
    variables = {e["name"]: e.get("value") for e in container["env"]}
    assert variables[operator_settings.VARIABLE] == "/etc/astrosage/settings.yaml"
    ports = {p["name"]: p["containerPort"] for p in container["ports"]}
    assert ports == {"health": 8080, "metrics": 9090}
    for probe, page in (("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
        assert container[probe]["httpGet"] == {"path": page, "port": "health"}
    labels = deployment["template"]["metadata"]["labels"]
    for selector in (
        deployment["selector"]["matchLabels"],
        one(found, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        one(found, "Service")["spec"]["selector"],
        one(found, "NetworkPolicy", "astrosage-operator")["spec"]["podSelector"]["matchLabels"],
    ):
        assert selector.items() <= labels.items()


def test_one_replica_may_be_drained(new_helm: Helm) -> None:
    assert "PodDisruptionBudget" not in kinds(new_helm.template({"operator": {"replicas": 1}}))


def test_placement_reaches_the_pods(new_helm: Helm) -> None:
    found = new_helm.template(PLACED)
    deployment = one(found, "Deployment")["spec"]
    pod = deployment["template"]["spec"]
    assert deployment["replicas"] == 3
    assert pod["imagePullSecrets"] == [{"name": "registry"}]
    assert pod["nodeSelector"] == {"role": "system"}
    assert pod["priorityClassName"] == "system-cluster-critical"
    assert pod["containers"][0]["envFrom"] == [{"secretRef": {"name": "cloud"}}]
    assert (
        deployment["template"]["metadata"]["labels"].items() >= {"a": "b", "team": "astro"}.items()
    )
    account = one(found, "ServiceAccount", "astrosage-operator")
    assert account["metadata"]["annotations"].keys() == {"eks.amazonaws.com/role-arn"}


def test_labels_of_the_user_do_not_replace_what_selects(new_helm: Helm) -> None:
    values = {"operator": {"podLabels": {"app.kubernetes.io/name": "other"}}}
    deployment = one(new_helm.template(values), "Deployment")["spec"]
    assert deployment["template"]["metadata"]["labels"]["app.kubernetes.io/name"] == "astrosage"


def test_a_digest_comes_before_a_tag(new_helm: Helm) -> None:
    digest = "sha256:" + "a" * 64
    found = new_helm.template({"image": {"repository": "r.io/o", "tag": "1", "digest": digest}})
    assert pods(found)[0][1]["containers"][0]["image"] == f"r.io/o@{digest}"


def test_little_is_left_when_all_is_off(new_helm: Helm) -> None:
    found = new_helm.template(NOTHING)
    assert kinds(found) == ["ConfigMap", "Deployment", "Service"]
    assert one(found, "Deployment")["spec"]["template"]["spec"]["serviceAccountName"] == "theirs"


def test_storage_is_kept(new_helm: Helm) -> None:
    claim = one(new_helm.template(STORAGE), "PersistentVolumeClaim")
    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert claim["spec"] == {
        "accessModes": ["ReadWriteMany"],
        "storageClassName": "nfs",
        "resources": {"requests": {"storage": "500Gi"}},
    }


def test_two_releases_do_not_meet(new_helm: Helm) -> None:
    second = {**POOLS, "rbac": {"aggregate": False}, "crds": {"install": False}}
    made = [
        {
            (o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"])
            for o in new_helm.template(values, namespace=namespace)
        }
        for values, namespace in ((POOLS, "one"), (second, "two"))
    ]
    assert made[0] & made[1] == set()


def test_network_policies_deny_by_default(new_helm: Helm) -> None:
    found = new_helm.template()
    policies = [o for o in found if o["kind"] == "NetworkPolicy"]
    doors = {"Ingress", "Egress"}
    closed = {o["metadata"]["name"] for o in policies if set(o["spec"]["policyTypes"]) == doors}
    assert closed == {f"astrosage-{n}" for n in ("operator", "doctor", "jobs", "endpoints")}


def test_network_policies_say_what_is_needed(new_helm: Helm) -> None:
    found = new_helm.template(NETWORK)
    everything = one(found, "NetworkPolicy", "astrosage-default-deny")["spec"]
    assert everything == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    operator = one(found, "NetworkPolicy", "astrosage-operator")["spec"]
    assert {"to": [{"ipBlock": {"cidr": "10.0.0.1/32"}}], "ports": [_tcp(6443)]} in operator[
        "egress"
    ]
    dashboards = [r for r in operator["egress"] if _tcp(8265) in r.get("ports", [])]
    assert dashboards[0]["to"][0]["namespaceSelector"]["matchExpressions"][0]["values"] == [
        NAMESPACE
    ]
    jobs = one(found, "NetworkPolicy", "astrosage-jobs")["spec"]
    ports = {p["port"] for rule in jobs["egress"] for p in rule.get("ports", [])}
    assert ports >= {53, 443, 9000, 80, 988, 8080}


def test_credentials_of_nodes_are_out_of_reach(new_helm: Helm) -> None:
    jobs = one(new_helm.template(), "NetworkPolicy", "astrosage-jobs")["spec"]
    blocks = [p["ipBlock"] for r in jobs["egress"] for p in r.get("to", []) if "ipBlock" in p]
    assert {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]} in blocks
    assert not [b for b in blocks if b["cidr"].startswith("169.254.169")]


def _tcp(port: int) -> Object:
    return {"protocol": "TCP", "port": port}


def test_a_release_is_small_enough_for_its_secret(tmp_path: Path, new_helm: Helm) -> None:
    """Helm keeps chart and manifest, compressed, in one Secret of at most 1 MiB."""
    import base64
    import gzip

    new_helm.run("package", str(CHART), "--destination", str(tmp_path))
    size = next(tmp_path.glob("*.tgz")).stat().st_size
    manifest = gzip.compress(new_helm.text(MATRIX["all"]).encode())
    assert len(base64.b64encode(base64.b64encode(manifest))) + 2 * size < 400_000


def test_definitions_fit_into_an_annotation(new_helm: Helm) -> None:
    """`helm template | kubectl apply` keeps a copy in one, of 256 KiB at most."""
    for definition in (o for o in new_helm.template() if "Definition" in o["kind"]):
        assert len(json.dumps(definition)) < 200_000
