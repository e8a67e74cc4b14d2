"""The AKS driver: Azure's own client against a server that keeps the books."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from astroctl.pools.drivers.aks import AksDriver
from astroctl.pools.drivers.base import Busy, Denied, NodeRef, Owned, ReferenceGone, Throttled
from astrosage.errors import ClusterError
from astrosage.spec.pool import PoolReference
from tests.astroctl.pools.drivers.json_server import Answer, JsonServer

pytestmark = pytest.mark.api
SUBSCRIPTION = "00000000-0000-0000-0000-000000000001"
POOL = (
    f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg/providers/Microsoft.ContainerService"
    "/managedClusters/c/agentPools/h100"
)


class Azure:
    """A node pool as Azure Resource Manager shows it."""

    def __init__(self) -> None:
        self.properties: dict[str, Any] = {
            "count": 2,
            "vmSize": "Standard_ND96isr_H100_v5",
            "mode": "User",
            "eTag": "v1",
            "provisioningState": "Succeeded",
            "nodeTaints": ["sku=gpu:NoSchedule"],
        }
        self.deleted: list[str] = []
        self.gone = False
        self.server = JsonServer(self.answer)

    def answer(self, method: str, path: str, body: Any, headers: dict[str, str]) -> Answer:
        assert "authorization" not in headers, "no credentials without encryption"
        plain = path.partition("?")[0]
        if self.gone:
            return said(404, "NotFound", "the agent pool was not found")
        if plain == f"{POOL}/deleteMachines":
            self.deleted += body["machineNames"]
            self.properties["count"] -= len(body["machineNames"])
            return 202, None, {"Location": f"{self.server.url}/operation"}
        if plain != POOL:
            return said(404, "NotFound", f"no {path}")
        if method == "PUT":
            if headers.get("if-match", "").strip('"') != self.properties["eTag"]:
                return said(412, "PreconditionFailed", "it was changed")
            self.properties = {**body["properties"], "eTag": f"{self.properties['eTag']}+"}
        return 200, {"id": POOL, "name": "h100", "properties": self.properties}, {}


def said(status: int, code: str, message: str = "no", after: int | None = None) -> Answer:
    headers = {"Retry-After": str(after)} if after is not None else {}
    return status, {"error": {"code": code, "message": message}}, headers


@pytest.fixture
def azure() -> Iterator[Azure]:
    made = Azure()
    yield made
    made.server.close()


@pytest.fixture
def pool(azure: Azure) -> AksDriver:
    return AksDriver(
        PoolReference(
            name="h100",
            cluster="c",
            subscription=SUBSCRIPTION,
            resource_group="rg",
            endpoint=azure.server.url,
        )
    )


def test_size_is_read_and_set_and_the_rest_is_kept(azure: Azure, pool: AksDriver) -> None:
    size = pool.get()
    assert (size.current, size.desired, size.controls) == (2, 2, "replicas")
    pool.set_size(5)
    assert azure.properties["count"] == 5
    assert azure.properties["vmSize"] == "Standard_ND96isr_H100_v5"
    assert azure.properties["nodeTaints"] == ["sku=gpu:NoSchedule"]


def test_a_change_in_between_is_not_overwritten(azure: Azure, pool: AksDriver) -> None:
    pool.get()
    azure.properties |= {"count": 7, "eTag": "v2"}
    with pytest.raises(Busy):
        pool.set_size(5)
    assert azure.properties["count"] == 7


def test_where_azure_scales_itself_only_limits_change(azure: Azure, pool: AksDriver) -> None:
    azure.properties |= {"enableAutoScaling": True, "minCount": 0, "maxCount": 3}
    size = pool.get()
    assert (size.controls, size.minimum, size.maximum) == ("bounds", 0, 3)
    with pytest.raises(Owned, match="autoscaler of AKS"):
        pool.set_size(3)
    pool.set_bounds(0, 4)
    assert (azure.properties["count"], azure.properties["maxCount"]) == (2, 4)


def test_chosen_machines_go(azure: Azure, pool: AksDriver) -> None:
    pool.get()
    pool.remove([NodeRef("aks-h100-1-vmss000001")])
    assert azure.deleted == ["aks-h100-1-vmss000001"]
    assert pool.get().desired == 1


def test_an_earlier_change_is_waited_for(azure: Azure, pool: AksDriver) -> None:
    azure.properties["provisioningState"] = "Scaling"
    pool.get()
    with pytest.raises(Busy, match="is Scaling"):
        pool.set_size(5)
    assert azure.properties["count"] == 2


def test_a_pool_that_is_gone(azure: Azure, pool: AksDriver) -> None:
    azure.gone = True
    with pytest.raises(ReferenceGone, match="AKS node pool c/h100 does not exist"):
        pool.get()


def test_throttling_passes_by_itself(azure: Azure, pool: AksDriver) -> None:
    azure.server.faults = [said(429, "TooManyRequests", after=0), said(503, "Busy", after=0)]
    assert pool.get().desired == 2
    assert len(azure.server.seen) == 3


def test_a_long_wait_is_left_to_the_next_round(azure: Azure, pool: AksDriver) -> None:
    azure.server.faults = [said(429, "TooManyRequests", after=300)]
    with pytest.raises(Throttled):
        pool.get()
    assert len(azure.server.seen) == 1


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (said(403, "AuthorizationFailed"), Denied, "agentPools/read"),
        (said(409, "OperationNotAllowed"), Busy, "OperationNotAllowed"),
        (said(400, "InvalidParameter"), ClusterError, "InvalidParameter"),
    ],
)
def test_refusals(
    azure: Azure, pool: AksDriver, answer: Answer, error: type[ClusterError], words: str
) -> None:
    azure.server.faults = [answer]
    with pytest.raises(error, match=words):
        pool.get()


def test_nobody_answers() -> None:
    reference = PoolReference(
        name="h100",
        cluster="c",
        subscription=SUBSCRIPTION,
        resource_group="rg",
        endpoint="http://127.0.0.1:9",
    )
    with pytest.raises(ClusterError, match="AKS node pool c/h100"):
        AksDriver(reference).get()
