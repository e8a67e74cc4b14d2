"""What is told of a pool: figures, money and conditions, for its `status`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from astroctl.controller import conditions
from astroctl.controller.conditions import Condition
from astroctl.kube.errors import Forbidden
from astroctl.kube.merging import merge_patch
from astroctl.kube.times import seconds, timestamp
from astroctl.pools.cluster.look import Look, PoolLook, memory_of
from astroctl.pools.drivers.base import Busy, Denied, ExtraMissing, Owned, ReferenceGone, Throttled
from astroctl.pools.model import Gang
from astrosage.errors import AstroError, ConflictError, SpecError

SPEND_SECONDS = 60.0
"""Money is written no more often than this while nothing else changes."""
_LIMITS = ("AtMaximum", "OverBudget", "JobBudgetSpent", "GangTooBig", "PodTooBig")
_NO_DELIVERY = ("Stuck", "BackOff", "Withdraw")
_MONEY = ("spendUSD", "spendTime")
_REASONS: tuple[tuple[type[AstroError], str], ...] = (
    (ReferenceGone, "ReferenceNotFound"),
    (Denied, "Denied"),
    (Forbidden, "Denied"),
    (Throttled, "Throttled"),
    (Busy, "Busy"),
    (Owned, "OwnedElsewhere"),
    (ExtraMissing, "DriverNotInstalled"),
    (ConflictError, "Conflict"),
    (SpecError, "InvalidSpec"),
)


@dataclass(slots=True)
class Did:
    """What a pool's size has come to.

    Attributes:
        size: The size asked for.
        asked: The size of a scale-up that is under way.
        scaled: When the size was changed last.
    """

    size: int
    asked: int | None
    scaled: str | None


def reason_of(error: AstroError) -> str:
    """One word for a driver's failure."""
    return next((word for kind, word in _REASONS if isinstance(error, kind)), "DriverFailed")


def text_of(error: AstroError) -> str:
    """Message and hint in one line."""
    return f"{error.message}; {error.hint}" if error.hint else error.message


def pool_status(
    one: PoolLook, look: Look, now: float, *, error: AstroError | None, did: Did
) -> dict[str, Any]:
    """The whole status of a pool.

    Args:
        one: The pool, looked at; its decision is carried out, or has failed.
        look: The look that it is part of.
        now: The time.
        error: What went wrong with it.
        did: What its size has come to.
    """
    before = one.status
    status: dict[str, Any] = dict(before)
    status["observedGeneration"] = one.obj["metadata"].get("generation")
    if one.state is not None and one.decision is not None and one.pool is not None:
        joined = [n for n in one.state.nodes if not n.leaving]
        ready = sum(n.ready for n in joined)
        status["current"] = one.size.current if one.size else len(joined)
        status["desired"] = did.size
        status["ready"] = ready
        status["pendingGPUs"] = pending_gpus(one, look.survey.gangs)
        status["memory"] = memory_of(look.plan, one)
        _money(status, before, one, now)
        status["lastScaleTime"] = did.scaled
        status["asked"] = did.asked
        if did.asked is not None and ready >= did.asked:
            status["lastScaleSeconds"] = round(now - seconds(did.scaled), 1)
            status["asked"] = None
    status["conditions"] = _conditions(one, status, error, now)
    return {k: v for k, v in status.items() if v is not None}


def changes(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """The merge patch from one status to the other; empty if it is not worth a write."""
    patch = merge_patch(before, after)
    waited = seconds(after.get("spendTime")) - seconds(before.get("spendTime"))
    if set(patch) <= set(_MONEY) and before.get("spendTime") and waited < SPEND_SECONDS:
        return {}
    spends = before.get("spendUSD") != after.get("spendUSD")
    if set(patch) == {"spendTime"} and before.get("spendTime") and not spends:
        return {}
    return patch


def pending_gpus(one: PoolLook, gangs: list[Gang]) -> int:
    """GPUs asked for by pods that wait for the pool."""
    mine = {o.gang for o in one.waiting}
    return sum(g.pods * g.gpus for g in gangs if g.id in mine)


def idle_gpus(one: PoolLook) -> int:
    """GPUs of ready nodes that no pod uses."""
    nodes = one.state.nodes if one.state else ()
    return sum(max(0, n.gpus - n.gpus_used) for n in nodes if n.ready and not n.leaving)


def _money(status: dict[str, Any], before: dict[str, Any], one: PoolLook, now: float) -> None:
    """Nodes cost their price from look to look; what there was at the start of each counts."""
    price = one.pool.spec.price_per_hour if one.pool else None
    if price is None:
        for field in (*_MONEY, "pricePerHour"):
            status.pop(field, None)
        return
    spent, since = float(before.get("spendUSD") or 0.0), seconds(before.get("spendTime")) or now
    hours = max(0.0, now - since) / 3600
    status["spendUSD"] = round(spent + hours * price * int(before.get("current") or 0), 6)
    status["spendTime"] = timestamp(max(now, since))
    status["pricePerHour"] = round(price * int(status["current"]), 6)


def _conditions(
    one: PoolLook, status: dict[str, Any], error: AstroError | None, now: float
) -> list[Condition]:
    made = list(one.status.get("conditions") or [])
    found = {"Ready": _ready(one, error)}
    if one.decision is not None:
        found["Scaling"] = _scaling(one, status)
        found["Limited"] = _limited(one)
    generation = one.obj["metadata"].get("generation")
    for kind, (holds, reason, message) in found.items():
        made = conditions.put(made, kind, holds, reason, message, generation=generation, now=now)
    return made


Words = tuple[bool, str, str]


def _ready(one: PoolLook, error: AstroError | None) -> Words:
    # A change that has to wait for an earlier one is no failure.
    if error is not None and not isinstance(error, Busy):
        return False, reason_of(error), text_of(error)
    if one.size is not None and one.size.controls == "nothing":
        return False, "OwnedElsewhere", f"the size is not ours to set: {one.size.owner}"
    if one.pool is not None and one.pool.spec.paused:
        return True, "Paused", "paused: nothing is changed"
    if one.size is not None and one.size.owner:
        return True, "OwnedElsewhere", f"only its limits are set here: {one.size.owner}"
    return True, "Ready", "it can be asked and changed"


def _scaling(one: PoolLook, status: dict[str, Any]) -> Words:
    assert one.state is not None
    joined = [n for n in one.state.nodes if not n.leaving]
    ready, desired = int(status["ready"]), int(status["desired"])
    if ready < desired:
        return True, "ScalingUp", f"{ready} of {desired} nodes are ready"
    leaving = len(one.state.nodes) - len(joined) + max(0, len(joined) - desired)
    if leaving:
        return True, "ScalingDown", f"{leaving} nodes are leaving"
    closed = sum(n.cordoned_since is not None for n in joined)
    if closed:
        return True, "Cordoned", f"{closed} idle nodes take no more pods and go next"
    return False, "AtRest", f"{desired} nodes, as wanted"


def _limited(one: PoolLook) -> Words:
    assert one.decision is not None
    told = [o for o in one.waiting if o.state == "waits" and o.reason in _LIMITS]
    if told:
        more = f" (and {len(told) - 1} more)" if len(told) > 1 else ""
        return True, told[0].reason, f"{told[0].gang}: {told[0].message}{more}"
    if one.decision.reason in _NO_DELIVERY:
        trouble = one.size.trouble if one.size else ""
        asked = one.status.get("lastScaleTime")
        since = f" since {asked}" if asked else ""
        return True, one.decision.reason, trouble or f"nodes asked for have not come{since}"
    if one.decision.reason in _LIMITS:
        return True, one.decision.reason, one.decision.message
    return False, "WithinLimits", "neither its maximum nor its budget holds anybody back"
