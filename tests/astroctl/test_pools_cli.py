"""``astroctl pools`` against a real API server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from astroctl.cli.commands.pools import command
from astroctl.kube.client import Kube
from astroctl.kube.resources import NODE
from astrosage.errors import AstroError, ConflictError, NotFoundError, SpecError
from tests.astroctl.pools.yard import MACHINE_DEPLOYMENT, Yard, machines_crd

Run = Callable[..., Any]
MIN_SIZE = "cluster.x-k8s.io/cluster-api-autoscaler-node-group-min-size"
MAX_SIZE = "cluster.x-k8s.io/cluster-api-autoscaler-node-group-max-size"


@pytest.fixture
def yard(kube: Kube, crds: list[str], namespace: str) -> Iterator[Yard]:
    machines_crd(kube)
    made = Yard(kube, namespace)
    yield made
    made.clear()


def raw(*arguments: str) -> Result:
    """The command's result; errors are raised as they are."""
    return CliRunner().invoke(command, list(arguments), catch_exceptions=False)


@pytest.fixture
def run(kubeconfig: Path) -> Run:
    """``run("plan")``: the data that the command prints."""

    def ask(*arguments: str) -> Any:
        result = raw(*arguments, "-o", "json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    return ask


def of(rows: list[dict[str, Any]], yard: Yard, key: str = "pool") -> dict[str, Any]:
    return next(r for r in rows if r[key] == yard.name)


def test_list_and_describe(run: Run, yard: Yard) -> None:
    yard.deployment(1)
    yard.pool(pricePerHour=10, accelerator="H100")
    assert of(run("list"), yard, "name")["state"] == "unmanaged"
    of(run("autoscale", "--once"), yard)
    row = of(run("list"), yard, "name")
    assert (row["current"], row["ready"], row["pricePerHour"], row["state"]) == (1, 1, 10, "ready")
    data = run("describe", yard.name)
    assert [n["ready"] for n in data["nodes"]] == [True]
    assert "memory" not in data["status"]
    table = raw("list").output
    assert "8xH100" in table
    text = raw("describe", yard.name).output
    assert "CONDITION" in text
    assert yard.nodes()[0]["metadata"]["name"] in text
    shown = yaml.safe_load(raw("describe", yard.name, "-o", "yaml").output)
    assert shown["spec"] == data["spec"]


def test_a_plan_says_what_and_why_and_moves_nothing(run: Run, yard: Yard) -> None:
    yard.deployment()
    yard.pool(pricePerHour=10)
    yard.gang(2)
    yard.gang(3, job="second")
    data = run("plan")
    row = of(data["pools"], yard)
    assert (row["now"], row["wanted"], row["reason"]) == (0, 2, "ScaleUp")
    assert (row["usdPerHourBefore"], row["usdPerHourAfter"]) == (0, 20)
    mine = f"{yard.namespace}/job/0"
    assert row["gangs"] == [mine]
    states = {g["gang"]: (g["state"], g["reason"]) for g in data["gangs"]}
    assert states[mine] == ("scaling", "ScaleUp")
    assert states[f"{yard.namespace}/second/0"] == ("waits", "AtMaximum")
    assert yard.replicas == 0
    assert yard.status == {}
    text = raw("plan").output
    assert "USD/H AFTER" in text
    assert mine in text


def test_autoscale_does_what_the_plan_says(run: Run, yard: Yard) -> None:
    yard.deployment()
    yard.pool()
    yard.gang(2)
    row = of(run("autoscale", "--once"), yard)
    assert (row["before"], row["after"], row["error"]) == (0, 2, None)
    assert "from 0 to 2 nodes" in row["done"][0]
    assert yard.replicas == 2


def test_a_round_with_a_failing_pool_tells_and_fails(kubeconfig: Path, yard: Yard) -> None:
    yard.pool()
    with pytest.raises(AstroError, match="does not exist"):
        raw("autoscale", "--once")


def test_scale_up_and_down_by_hand(run: Run, yard: Yard) -> None:
    yard.deployment(1)
    yard.pool()
    assert run("scale", yard.name, "3")["after"] == 3
    assert yard.replicas == 3
    yard.move()
    busy, *_ = (n["metadata"]["name"] for n in yard.nodes())
    yard.pod(node=busy)
    assert run("scale", yard.name, "1")["done"] == "scaled"
    assert yard.replicas == 1
    yard.move()
    assert [n["metadata"]["name"] for n in yard.nodes()] == [busy]
    with pytest.raises(ConflictError, match="have no work"):
        raw("scale", yard.name, "0")
    assert yard.replicas == 1
    raw("scale", yard.name, "0", "--force")
    assert yard.replicas == 0


def test_scale_beyond_the_pools_limits(kubeconfig: Path, yard: Yard) -> None:
    yard.deployment()
    yard.pool(minNodes=1, maxNodes=4)
    for size in ("0", "5"):
        with pytest.raises(SpecError, match="may have 1 to 4 nodes"):
            raw("scale", yard.name, size, "--force")


def test_scale_where_another_owns_the_number(run: Run, yard: Yard) -> None:
    yard.deployment(1, **{MIN_SIZE: "0", MAX_SIZE: "4"})
    yard.pool()
    with pytest.raises(ConflictError, match="the cluster-autoscaler sets it"):
        raw("scale", yard.name, "2")
    data = run("scale", yard.name, "2", "--force")
    assert data["done"] == "limits"
    found = yard.kube.get(MACHINE_DEPLOYMENT, yard.name, yard.namespace)
    assert found["metadata"]["annotations"][MAX_SIZE] == "2"
    assert found["spec"]["replicas"] == 1


def test_not_even_force_fights_who_keeps_no_limits(kubeconfig: Path, yard: Yard) -> None:
    yard.deployment(1)
    yard.kube.request(
        "PATCH",
        MACHINE_DEPLOYMENT.path(yard.namespace, yard.name),
        {"spec": {"replicas": 2}},
        content_type="application/merge-patch+json",
        fieldManager="argocd-controller",
    )
    yard.pool()
    with pytest.raises(ConflictError, match="argocd-controller"):
        raw("scale", yard.name, "3", "--force")
    assert yard.replicas == 2


def test_a_name_that_is_not_there(kubeconfig: Path, yard: Yard) -> None:
    yard.deployment()
    yard.pool()
    for arguments in (["describe"], ["scale", "1"]):
        asked = [arguments[0], f"{yard.name}x", *arguments[1:]]
        with pytest.raises(NotFoundError) as caught:
            raw(*asked)
        assert yard.name in caught.value.hint


def test_who_may_only_look(yard: Yard, user: Any, kubeconfig: Path) -> None:
    yard.deployment(1)
    yard.pool()
    pools = {
        "apiGroups": ["astrosage.io"],
        "resources": ["gpunodepools"],
        "verbs": ["get", "list"],
    }
    viewer = str(user("viewer", cluster_rules=[pools]))
    assert yard.name in raw("list", "--kubeconfig", viewer).output
    data = json.loads(raw("describe", yard.name, "--kubeconfig", viewer, "-o", "json").output)
    assert (data["nodes"], data["events"]) == ([], [])
    with pytest.raises(AstroError, match="cannot list resource"):
        raw("plan", "--kubeconfig", viewer)


def test_the_cordon_of_a_refused_removal_is_lifted(
    run: Run, yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    yard.deployment(1)
    yard.pool()
    name = yard.nodes()[0]["metadata"]["name"]
    monkeypatch.setattr("astroctl.pools.manual.busy_nodes", lambda *_: {name})
    with pytest.raises(ConflictError, match="work has just come"):
        raw("scale", yard.name, "0")
    assert not yard.kube.get(NODE, name)["spec"].get("unschedulable")
    assert yard.replicas == 1
