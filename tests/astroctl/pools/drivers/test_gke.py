"""The GKE driver: Google's own client over REST against a server that keeps the books."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from astroctl.pools.drivers.base import Busy, Denied, NodeRef, Owned, ReferenceGone, Throttled
from astroctl.pools.drivers.gke import GkeDriver, spread
from astrosage.errors import ClusterError
from astrosage.spec.pool import PoolReference
from tests.astroctl.pools.drivers.json_server import Answer, JsonServer

pytestmark = pytest.mark.api
POOL = "/v1/projects/p/locations/europe-west4/clusters/c/nodePools/h100"


class Google:
    """A node pool and its instance groups."""

    def __init__(self, *sizes: int) -> None:
        self.groups = {f"europe-west4-{zone}": [] for zone in "abc"[: len(sizes)]}
        for (zone, names), size in zip(self.groups.items(), sizes, strict=True):
            names.extend(f"gke-{zone}-{i}" for i in range(size))
        self.autoscaling: dict[str, Any] = {}
        self.status: dict[str, Any] = {"status": "RUNNING"}
        self.gone = False
        self.server = JsonServer(self.answer)

    def url(self, zone: str) -> str:
        path = f"compute/v1/projects/p/zones/{zone}/instanceGroupManagers/gke-{zone}"
        return f"{self.server.url}/{path}"

    def answer(self, method: str, path: str, body: Any, headers: dict[str, str]) -> Answer:
        assert "authorization" not in headers, "no credentials without encryption"
        plain = path.partition("?")[0]
        if "/instanceGroupManagers/" in path:
            return self.compute(plain, path, body)
        if self.gone:
            return 404, {"error": {"code": 404, "message": "not found"}}, {}
        if plain == POOL:
            return 200, self.pool(), {}
        if plain == f"{POOL}:setSize":
            (names,) = self.groups.values()
            count = int(body["nodeCount"])
            names[:] = [f"gke-new-{i}" for i in range(count)]
        elif plain == f"{POOL}:setAutoscaling":
            self.autoscaling = body["autoscaling"]
        else:
            return 404, {"error": {"code": 404, "message": f"no {path}"}}, {}
        return 200, {"name": "operation-1", "status": "RUNNING"}, {}

    def pool(self) -> dict[str, Any]:
        return {
            "name": "h100",
            "instanceGroupUrls": [self.url(zone) for zone in self.groups],
            "autoscaling": self.autoscaling,
            **self.status,
        }

    def compute(self, plain: str, path: str, body: Any) -> Answer:
        zone = plain.partition("/zones/")[2].partition("/")[0]
        names = self.groups[zone]
        if plain.endswith("/resize"):
            size = int(path.rpartition("size=")[2])
            names[:] = [f"gke-{zone}-{i}" for i in range(size)]
        elif plain.endswith("/deleteInstances"):
            gone = {i.rpartition("/")[2] for i in body["instances"]}
            names[:] = [n for n in names if n not in gone]
        return 200, {"targetSize": len(names)}, {}


@pytest.fixture
def google(request: pytest.FixtureRequest) -> Iterator[Google]:
    made = Google(*getattr(request, "param", [2]))
    yield made
    made.server.close()


def driver(google: Google) -> GkeDriver:
    return GkeDriver(
        PoolReference(
            name="h100",
            cluster="c",
            region="europe-west4",
            project="p",
            endpoint=google.server.url,
        )
    )


def test_size_is_read_and_set(google: Google) -> None:
    pool = driver(google)
    size = pool.get()
    assert (size.current, size.desired, size.controls) == (2, 2, "replicas")
    pool.set_size(5)
    assert google.server.seen[-1][1:] == (
        f"{POOL}:setSize?%24alt=json%3Benum-encoding%3Dint",
        {"nodeCount": 5},
    )
    assert pool.get().desired == 5


@pytest.mark.parametrize("google", [[1, 0, 0]], indirect=True)
def test_a_pool_of_three_zones_gets_exactly_what_is_asked(google: Google) -> None:
    pool = driver(google)
    pool.get()
    pool.set_size(4)
    assert sorted(len(n) for n in google.groups.values()) == [1, 1, 2]
    assert pool.get().desired == 4


def test_chosen_nodes_go(google: Google) -> None:
    pool = driver(google)
    pool.get()
    name = google.groups["europe-west4-a"][0]
    pool.remove([NodeRef(name, f"gce://p/europe-west4-a/{name}")])
    assert google.groups["europe-west4-a"] == ["gke-europe-west4-a-1"]
    assert pool.get().desired == 1


def test_where_gke_scales_itself_only_limits_change(google: Google) -> None:
    google.autoscaling = {"enabled": True, "minNodeCount": 0, "maxNodeCount": 3}
    pool = driver(google)
    size = pool.get()
    assert (size.controls, size.minimum, size.maximum) == ("bounds", 0, 3)
    with pytest.raises(Owned, match="autoscaling"):
        pool.set_size(3)
    pool.set_bounds(0, 4)
    assert google.autoscaling == {"enabled": True, "totalMaxNodeCount": 4}
    assert pool.get().maximum == 4
    assert len(google.groups["europe-west4-a"]) == 2


def test_the_providers_words(google: Google) -> None:
    google.status = {
        "status": "ERROR",
        "conditions": [{"code": "GCE_STOCKOUT", "message": "no a3-highgpu-8g in the zone"}],
    }
    assert driver(google).get().trouble == "no a3-highgpu-8g in the zone"


def test_a_pool_that_is_gone(google: Google) -> None:
    google.gone = True
    with pytest.raises(ReferenceGone, match="GKE node pool h100 does not exist"):
        driver(google).get()


def said(status: int, word: str, message: str = "no") -> Answer:
    return status, {"error": {"code": status, "status": word, "message": message}}, {}


def test_throttling_passes_by_itself(google: Google) -> None:
    google.server.faults = [said(429, "RESOURCE_EXHAUSTED"), said(503, "UNAVAILABLE")]
    assert driver(google).get().desired == 2
    assert len(google.server.seen) == 4


def test_endless_throttling_is_given_up(google: Google, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("astroctl.pools.drivers.gke._PATIENCE", 0.5)
    google.server.faults = [said(429, "RESOURCE_EXHAUSTED")] * 50
    with pytest.raises(Throttled):
        driver(google).get()


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (said(403, "PERMISSION_DENIED"), Denied, "allow container.clusters.get"),
        (said(400, "FAILED_PRECONDITION", "incompatible operation"), Busy, "one operation"),
        (said(400, "INVALID_ARGUMENT"), ClusterError, "failed"),
    ],
)
def test_refusals(google: Google, answer: Answer, error: type[ClusterError], words: str) -> None:
    google.server.faults = [answer]
    with pytest.raises(error, match=words):
        driver(google).get()


def test_instance_groups_may_be_denied(google: Google) -> None:
    pool = driver(google)
    google.server.faults = [(200, google.pool(), {}), said(403, "PERMISSION_DENIED")]
    with pytest.raises(Denied, match=r"allow compute\.instanceGroupManagers\.get"):
        pool.get()


def test_nobody_answers() -> None:
    reference = PoolReference(
        name="h100", cluster="c", region="r", project="p", endpoint="http://127.0.0.1:9"
    )
    with pytest.raises(ClusterError, match="GKE node pool h100"):
        GkeDriver(reference).get()


def test_zones_are_spread() -> None:
    assert spread(7, [1, 0, 0]) == [3, 2, 2]
    assert sorted(spread(2, [3, 2, 2])) == [0, 1, 1]
