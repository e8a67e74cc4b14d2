from __future__ import annotations

from typing import Any

import pytest

from astroctl.controller.pool_status import Did, changes, pool_status, reason_of
from astroctl.kube.errors import Forbidden
from astroctl.kube.times import timestamp
from astroctl.pools.cluster.look import Look, PoolLook
from astroctl.pools.cluster.survey import Survey
from astroctl.pools.drivers.base import Busy, Denied, PoolSize, ReferenceGone, Throttled
from astroctl.pools.facts import pool_state
from astroctl.pools.model import NodeState
from astroctl.pools.policy import decide
from astrosage.errors import AstroError, SpecError
from astrosage.spec.pool import GPUNodePool
from astrosage.spec.status import PoolStatus

NOW = 1_800_000_000.0


def status(
    before: dict[str, Any] | None = None,
    *,
    nodes: int = 2,
    ready: int | None = None,
    now: float = NOW,
    error: AstroError | None = None,
    did: Did | None = None,
    **spec: Any,
) -> dict[str, Any]:
    """The status of a pool with some nodes."""
    whole = {"driver": "karpenter", "reference": {"name": "x"}, "maxNodes": 4, **spec}
    pool = GPUNodePool.model_validate({"metadata": {"name": "h"}, "spec": whole})
    obj = {"metadata": {"name": "h", "generation": 3}, "spec": whole, "status": before or {}}
    there = [
        NodeState(f"n{i}", i < (nodes if ready is None else ready), NOW - 60, 8)
        for i in range(nodes)
    ]
    one = PoolLook(obj, pool, size=PoolSize(nodes, nodes), error=error)
    one.state = pool_state(pool, there, nodes)
    plan = decide([], [one.state], now)
    (one.decision,) = plan.decisions
    look = Look([one], Survey({}, {}), plan)
    return pool_status(one, look, now, error=error, did=did or Did(nodes, None, None))


def test_it_is_what_the_custom_resource_has() -> None:
    made = status(pricePerHour=10)
    assert PoolStatus.model_validate(made).spend_usd == 0
    assert (made["current"], made["ready"], made["pricePerHour"]) == (2, 2, 20)


def test_money_is_counted_from_look_to_look() -> None:
    first = status(pricePerHour=10)
    later = status(first, pricePerHour=10, now=NOW + 1800, nodes=1)
    assert later["spendUSD"] == pytest.approx(10), "two nodes for half an hour"
    last = status(later, pricePerHour=10, now=NOW + 3600)
    assert last["spendUSD"] == pytest.approx(15)
    back = status(last, pricePerHour=10, now=NOW)
    assert back["spendUSD"] == pytest.approx(15), "a clock that goes back takes nothing back"


def test_money_alone_is_not_written_all_the_time() -> None:
    first = status(pricePerHour=10)
    assert changes({}, first) == first
    soon = status(first, pricePerHour=10, now=NOW + 30)
    assert changes(first, soon) == {}
    later = status(first, pricePerHour=10, now=NOW + 61)
    assert set(changes(first, later)) == {"spendUSD", "spendTime"}
    more = status(first, pricePerHour=10, now=NOW + 30, nodes=3)
    assert {"spendUSD", "current"} <= set(changes(first, more))


def test_an_empty_pool_writes_nothing() -> None:
    first = status(pricePerHour=10, nodes=0)
    assert changes(first, status(first, pricePerHour=10, nodes=0, now=NOW + 3600)) == {}


def test_without_a_price_there_is_no_money() -> None:
    priced = status(pricePerHour=10)
    made = status(priced, now=NOW + 10)
    assert not {"spendUSD", "spendTime", "pricePerHour"} & set(made)
    assert changes(priced, made)["spendUSD"] is None


def test_a_scale_up_ends_when_its_nodes_are_ready() -> None:
    asked = Did(2, 2, timestamp(NOW - 90))
    partly = status(ready=1, did=asked)
    assert (partly["asked"], partly.get("lastScaleSeconds")) == (2, None)
    done = status(did=asked)
    assert done["lastScaleSeconds"] == 90
    assert "asked" not in done


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ReferenceGone("x"), "ReferenceNotFound"),
        (Denied("x"), "Denied"),
        (Forbidden("x"), "Denied"),
        (Throttled("x"), "Throttled"),
        (SpecError("x"), "InvalidSpec"),
        (AstroError("x"), "DriverFailed"),
    ],
)
def test_reasons_of_failures(error: AstroError, reason: str) -> None:
    assert reason_of(error) == reason
    found = {c["type"]: c for c in status(error=error)["conditions"]}
    assert (found["Ready"]["status"], found["Ready"]["reason"]) == ("False", reason)


def test_a_mechanism_at_work_is_no_failure() -> None:
    found = {c["type"]: c for c in status(error=Busy("x"))["conditions"]}
    assert found["Ready"]["status"] == "True"
