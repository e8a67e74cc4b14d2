"""The linter's rules for what KubeRay removes after a RayJob, and when."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from astroctl.render.problems import Problem

Object = dict[str, Any]
_ORDER = ("DeleteWorkers", "DeleteCluster", "DeleteSelf")


def check_deletion(spec: Object) -> Iterator[Problem]:
    """Problems of a RayJob's ``deletionStrategy``."""
    strategy, path = spec.get("deletionStrategy"), "spec.deletionStrategy"
    if strategy is None:
        return
    legacy = [f for f in ("onSuccess", "onFailure") if strategy.get(f) is not None]
    rules = strategy.get("deletionRules") or []
    if rules and spec.get("shutdownAfterJobFinishes"):
        yield Problem(f"{path}.deletionRules", "cannot be used with shutdownAfterJobFinishes")
    if rules and legacy:
        yield Problem(f"{path}.deletionRules", f"cannot be used with {' and '.join(legacy)}")
    elif rules:
        yield from _rules(spec, rules, f"{path}.deletionRules")
    elif len(legacy) == 1:
        yield Problem(path, "onSuccess and onFailure are needed together")
    elif not legacy:
        yield Problem(path, "needs deletionRules, or onSuccess and onFailure")
    for field in legacy:
        yield from _policy(spec, strategy[field].get("policy"), f"{path}.{field}.policy")


def _policy(spec: Object, policy: str | None, path: str) -> Iterator[Problem]:
    if policy is None:
        yield Problem(path, "required, but missing")
    if policy in ("DeleteCluster", "DeleteWorkers") and spec.get("clusterSelector"):
        yield Problem(path, f"{policy} cannot be used with clusterSelector")
    autoscaling = (spec.get("rayClusterSpec") or {}).get("enableInTreeAutoscaling")
    if policy == "DeleteWorkers" and autoscaling:
        yield Problem(path, "DeleteWorkers cannot be used with autoscaling")
    if policy == "DeleteNone" and spec.get("shutdownAfterJobFinishes"):
        yield Problem(path, "DeleteNone contradicts shutdownAfterJobFinishes")


def _rules(spec: Object, rules: list[Object], path: str) -> Iterator[Problem]:
    times: dict[str, dict[str, int]] = {}
    for index, rule in enumerate(rules):
        where, condition = f"{path}[{index}]", rule.get("condition") or {}
        states = [condition.get(f) for f in ("jobStatus", "jobDeploymentStatus")]
        if (states[0] is None) == (states[1] is None):
            yield Problem(f"{where}.condition", "exactly one of jobStatus, jobDeploymentStatus")
        ttl, policy = condition.get("ttlSeconds") or 0, str(rule.get("policy"))
        if ttl < 0:
            yield Problem(f"{where}.condition.ttlSeconds", f"{ttl} is below 0")
        yield from _policy(spec, rule.get("policy"), f"{where}.policy")
        known = times.setdefault(str(states[0] or states[1]), {})
        if policy in known:
            yield Problem(f"{where}.policy", f"{policy} is there twice for one state")
        known[policy] = ttl
    for state, known in times.items():
        order = [known[p] for p in _ORDER if p in known]
        if order != sorted(order):
            yield Problem(
                path, f"for {state}: workers go before the cluster, and that before the job itself"
            )
