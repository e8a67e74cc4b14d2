"""The GPUNodePool that a job's workers wait for."""

from __future__ import annotations

import math
from collections.abc import Sequence

from astroctl.controller.why import kuberay, reasons
from astroctl.controller.why.facts import CapacityFacts, Finding, Object, found
from astroctl.controller.why.objects import age, at, condition, created, holds, one_line, request
from astroctl.kube.times import seconds
from astroctl.render.names import LABEL_JOB
from astrosage.units import format_seconds

_PATIENCE_SECONDS = 60.0
# Reasons of the pool's condition Limited.
_NO_DELIVERY = ("Stuck", "BackOff", "Withdraw")
_TOO_BIG = ("GangTooBig", "PodTooBig")


def missing(facts: CapacityFacts) -> Finding | None:
    """The job names a pool that is not there."""
    name = facts.cluster.pool
    if name is None or facts.pool is not None:
        return None
    since = created(facts.rayjob)
    message = f"cluster.pool names {name}, and there is no such GPUNodePool"
    return found(reasons.POOL_NOT_FOUND, message, since=since)


def explain(facts: CapacityFacts, waiting: Sequence[Object], whom: str) -> Finding | None:
    """Why the pool has no node for the workers that wait; None if nothing can be said of it.

    Args:
        facts: All that is known.
        waiting: The workers that wait.
        whom: Who waits, in words, to begin a message with, such as `2 of 4 worker pods wait`.
    """
    pool = facts.pool
    if pool is None:
        return None
    return (
        _too_small(facts, pool, waiting[0])
        or _not_managed(facts, pool)
        or _failing(pool, whom)
        or _paused(pool, whom)
        or _stuck(pool, whom)
        or _coming(pool, whom)
        or _limited(facts, pool, whom)
    )


def _name(pool: Object) -> str:
    return str(pool["metadata"]["name"])


def _spec(pool: Object) -> Object:
    return dict(pool.get("spec") or {})


def _status(pool: Object) -> Object:
    return dict(pool.get("status") or {})


def _gpus(pool: Object, pod: Object) -> float:
    return request(pod, str(_spec(pool).get("gpuResource") or "nvidia.com/gpu"))


def _too_small(facts: CapacityFacts, pool: Object, pod: Object) -> Finding | None:
    spec, asked = _spec(pool), _gpus(pool, pod)
    has, most = int(spec.get("gpusPerNode") or 0), int(spec.get("maxNodes") or 0)
    if asked > has:
        message = (
            f"a worker pod asks for {asked:g} GPUs, and a node of pool {_name(pool)} has {has}"
        )
        return found(reasons.POOL_TOO_SMALL, message)
    pods = max(kuberay.needed_workers(facts), 1)
    nodes = math.ceil(pods / max(1, int(has // asked))) if asked else 0
    if nodes <= most:
        return None
    message = (
        f"{pods} worker pods of {asked:g} GPUs need {nodes} nodes, and pool {_name(pool)} may have "
        f"{most} of {has}"
    )
    return found(reasons.POOL_TOO_SMALL, message)


def _not_managed(facts: CapacityFacts, pool: Object) -> Finding | None:
    if _status(pool) or age(facts, created(pool)) < _PATIENCE_SECONDS:
        return None
    message = f"nobody looks after pool {_name(pool)}: it has no status"
    hint = "pools are off in the operator's settings: `pools.enabled` in the chart's values"
    return found(reasons.POOL_DRIVER_FAILING, message, hint, passes=False)


def _failing(pool: Object, whom: str) -> Finding | None:
    state = condition(pool, "Ready")
    if state is None or state.get("status") != "False":
        return None
    message = f"{whom} for pool {_name(pool)}, which fails: {_told(state)}"
    since = str(state.get("lastTransitionTime") or "")
    hint = f"`astroctl pools describe {_name(pool)}` shows more"
    return found(reasons.POOL_DRIVER_FAILING, message, hint, since)


def _paused(pool: Object, whom: str) -> Finding | None:
    if not _spec(pool).get("paused"):
        return None
    status = _status(pool)
    message = (
        f"{whom} for pool {_name(pool)}, which is paused with {int(status.get('ready') or 0)} "
        "ready nodes"
    )
    return found(reasons.POOL_PAUSED, message)


def _coming(pool: Object, whom: str) -> Finding | None:
    status = _status(pool)
    ready, current = int(status.get("ready") or 0), int(status.get("current") or 0)
    desired = int(status.get("desired") or 0)
    target = max(desired, current)
    if target <= ready:
        return None
    scaling = condition(pool, "Scaling") or {}
    asked = str(status.get("lastScaleTime") or scaling.get("lastTransitionTime") or "")
    message = f"{whom} for pool {_name(pool)}: {ready} of {target} nodes are ready"
    message += _timing(status, asked)
    if desired > current:
        return found(reasons.SCALING_UP, message, "", asked)
    return found(reasons.NODES_BOOTING, message, "", asked)


def _timing(status: Object, asked: str) -> str:
    told = f"; asked for at {at(asked)}" if seconds(asked) else ""
    last = status.get("lastScaleSeconds")
    if last is not None:
        told += f"; last time it took {format_seconds(float(last))}"
    return told


def _stuck(pool: Object, whom: str) -> Finding | None:
    limited = condition(pool, "Limited") or {}
    if not holds(pool, "Limited") or limited.get("reason") not in _NO_DELIVERY:
        return None
    message = f"{whom} for pool {_name(pool)}, which does not deliver: {_told(limited)}"
    hint = "out of stock or quota at the provider: give the pool a `fallback`, or wait"
    since = str(limited.get("lastTransitionTime") or "")
    return found(reasons.POOL_DRIVER_FAILING, message, hint, since)


def _limited(facts: CapacityFacts, pool: Object, whom: str) -> Finding | None:
    spec, status = _spec(pool), _status(pool)
    limited = condition(pool, "Limited") or {}
    code = str(limited.get("reason") or "") if holds(pool, "Limited") else ""
    since = str(limited.get("lastTransitionTime") or "") if code else ""
    if code in _TOO_BIG and _ours(facts, limited):
        message = f"{whom} for pool {_name(pool)} in vain: {_told(limited)}"
        return found(reasons.POOL_TOO_SMALL, message, since=since)
    if code == "OverBudget" or (code == "JobBudgetSpent" and _ours(facts, limited)):
        message = f"{whom} for pool {_name(pool)}, held by its budget: {_told(limited)}"
        return found(reasons.POOL_OVER_BUDGET, message, since=since)
    current, most = int(status.get("current") or 0), int(spec.get("maxNodes") or 0)
    if current >= most or code == "AtMaximum":
        message = f"{whom} for pool {_name(pool)}: it has {current} of at most {most} nodes"
        return found(reasons.POOL_AT_MAXIMUM, message, since=since)
    return None


def _ours(facts: CapacityFacts, limited: Object) -> bool:
    """Whether the pool speaks of this job; it names the first gang that it holds back."""
    meta = (facts.rayjob or {}).get("metadata") or {}
    job = (meta.get("labels") or {}).get(LABEL_JOB)
    return str(limited.get("message") or "").startswith(f"{meta.get('namespace')}/{job}/")


def _told(state: Object) -> str:
    return one_line(state.get("message") or state.get("reason") or "no reason given")
