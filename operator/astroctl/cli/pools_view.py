"""What ``astroctl pools`` shows: plain data, and the same for people."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from astroctl.cli.output import ago, duration, table
from astrosage.errors import AstroError

Row = dict[str, Any]
_EVENTS = 10


def pool_row(obj: dict[str, Any]) -> Row:
    """One line of the list."""
    spec, status = obj["spec"], obj.get("status") or {}
    ready = _condition(status, "Ready")
    limited = _condition(status, "Limited")
    state = "unmanaged" if not status else "ready"
    if spec.get("paused"):
        state = "paused"
    elif ready.get("status") == "False":
        state = str(ready["reason"])
    elif limited.get("status") == "True":
        state = str(limited["reason"])
    elif _condition(status, "Scaling").get("status") == "True":
        state = str(_condition(status, "Scaling")["reason"])
    return {
        "name": obj["metadata"]["name"],
        "driver": spec["driver"],
        "accelerator": spec.get("accelerator"),
        "gpusPerNode": spec.get("gpusPerNode", 8),
        "current": status.get("current"),
        "desired": status.get("desired"),
        "ready": status.get("ready"),
        "minNodes": spec.get("minNodes", 0),
        "maxNodes": spec["maxNodes"],
        "pendingGPUs": status.get("pendingGPUs"),
        "pricePerHour": status.get("pricePerHour"),
        "spendUSD": status.get("spendUSD"),
        "state": state,
    }


def pool_table(rows: Sequence[Row]) -> str:
    """The list for people."""
    if not rows:
        return "no pools; a GPUNodePool makes one: docs/pools.md has examples"
    headers = ["NAME", "DRIVER", "GPUS", "NODES", "READY", "RANGE", "PENDING", "USD/H", "SPENT"]
    cells = [
        [
            r["name"],
            r["driver"],
            f"{r['gpusPerNode']}x{r['accelerator'] or 'GPU'}",
            _arrow(r["current"], r["desired"]),
            r["ready"],
            f"{r['minNodes']}-{r['maxNodes']}",
            r["pendingGPUs"],
            _money(r["pricePerHour"]),
            _money(r["spendUSD"]),
            r["state"],
        ]
        for r in rows
    ]
    return table([*headers, "STATE"], cells)


def described(kube: Any, name: str) -> Row:
    """Everything about one pool that may be read."""
    from astroctl.kube.resources import EVENT
    from astroctl.pools.manual import find_pool

    obj = find_pool(kube, name)
    status = {k: v for k, v in (obj.get("status") or {}).items() if k not in ("memory",)}
    try:
        fields = f"involvedObject.uid={obj['metadata']['uid']}"
        events = kube.list(EVENT, "default", fields=fields)
    except AstroError:
        events = []
    events.sort(key=lambda e: str(e.get("lastTimestamp")))
    return {
        "name": name,
        "spec": obj["spec"],
        "status": status,
        "nodes": _nodes(kube, obj),
        "events": [
            {k: e.get(k) for k in ("type", "reason", "message", "lastTimestamp")}
            for e in events[-_EVENTS:]
        ],
    }


def described_text(data: Row) -> str:
    """One pool for people."""
    import yaml

    status = data["status"]
    conditions = [
        [c["type"], c["status"], c["reason"], c["message"]] for c in status.get("conditions") or []
    ]
    figures = {k: v for k, v in status.items() if k != "conditions"}
    parts = [yaml.safe_dump({"spec": data["spec"], "status": figures}, sort_keys=False).rstrip()]
    if conditions:
        parts.append(table(["CONDITION", "STATUS", "REASON", "MESSAGE"], conditions))
    if data["nodes"]:
        headers = ["NODE", "READY", "GPUS", "IDLE", "AGE", "NOTE"]
        cells = [
            [n["name"], n["ready"], n["gpus"], duration(n["idleSeconds"]), duration(n["age"]),
             n["note"]]
            for n in data["nodes"]
        ]  # fmt: skip
        parts.append(table(headers, cells))
    if data["events"]:
        cells = [[_since(e["lastTimestamp"]), e["reason"], e["message"]] for e in data["events"]]
        parts.append(table(["WHEN", "EVENT", "MESSAGE"], cells))
    return "\n\n".join(parts)


def plan_data(look: Any) -> Row:
    """A plan as plain data."""
    pools = []
    for one in look.pools:
        decision, state = one.decision, one.state
        pools.append(
            {
                "pool": one.name,
                "now": decision.before if decision else None,
                "wanted": decision.after if decision else None,
                "ready": sum(n.ready for n in state.nodes) if state else None,
                "owner": one.size.owner if one.size else "",
                "reason": decision.reason if decision else "Unable",
                "why": one.error.message if one.error else decision.message,
                "gangs": list(decision.gangs) if decision else [],
                "cordon": list(decision.cordon) if decision else [],
                "uncordon": list(decision.uncordon) if decision else [],
                "remove": list(decision.remove) if decision else [],
                "usdPerHourBefore": _cost(decision, "before"),
                "usdPerHourAfter": _cost(decision, "after"),
            }
        )
    gangs = {g.id: g for g in look.survey.gangs}
    waiting = [
        {
            "gang": o.gang,
            "pods": gangs[o.gang].pods,
            "gpusPerPod": gangs[o.gang].gpus,
            "pool": o.pool,
            "state": o.state,
            "reason": o.reason,
            "why": o.message,
        }
        for o in look.plan.outcomes
    ]
    return {"pools": pools, "gangs": waiting}


def plan_text(data: Row) -> str:
    """A plan for people."""
    if not data["pools"]:
        return pool_table([])
    headers = ["POOL", "NOW", "WANTED", "WHY", "GANGS", "USD/H NOW", "USD/H AFTER"]
    cells = [
        [
            p["pool"],
            p["now"],
            p["wanted"],
            p["why"] + (f" ({p['owner']})" if p["owner"] else ""),
            _some(p["gangs"]),
            _money(p["usdPerHourBefore"]),
            _money(p["usdPerHourAfter"]),
        ]
        for p in data["pools"]
    ]
    text = table(headers, cells)
    if data["gangs"]:
        rows = [
            [g["gang"], f"{g['pods']}x{g['gpusPerPod']}", g["pool"], g["state"], g["why"]]
            for g in data["gangs"]
        ]
        text += "\n\n" + table(["GANG", "PODSxGPUS", "POOL", "STATE", "WHY"], rows)
    return text


def outcome_row(outcome: Any) -> Row:
    """What a round did with a pool."""
    decision = outcome.decision
    return {
        "pool": outcome.pool,
        "before": decision.before if decision else None,
        "after": decision.after if decision else None,
        "reason": decision.reason if decision else None,
        "done": list(outcome.done),
        "error": str(outcome.error.message) if outcome.error else None,
    }


def outcome_text(rows: Sequence[Row]) -> str:
    """What a round did, for people."""
    if not rows:
        return "no pools"
    lines = []
    for row in rows:
        done = row["done"] or ([] if row["error"] else [f"nothing to do ({row['reason']})"])
        lines += [f"{row['pool']}: {text}" for text in done]
        if row["error"]:
            lines.append(f"{row['pool']}: failed: {row['error']}")
    return "\n".join(lines)


def _nodes(kube: Any, obj: dict[str, Any]) -> list[Row]:
    from astroctl.kube.resources import NODE
    from astroctl.kube.times import seconds
    from astroctl.pools.cluster import nodes as noding

    spec, now = obj["spec"], time.time()
    selector = spec.get("nodeSelector") or {"astrosage.io/pool": obj["metadata"]["name"]}
    try:
        found = kube.list(NODE, labels=",".join(f"{k}={v}" for k, v in selector.items()))
    except AstroError:
        return []  # who may read pools need not be allowed to read nodes
    resource = spec.get("gpuResource", "nvidia.com/gpu")
    rows = []
    for node in found:
        empty = seconds(noding.marks_of(node).get(noding.EMPTY_SINCE))
        closed = bool((node.get("spec") or {}).get("unschedulable"))
        ours = noding.cordoned_by_us(node)
        rows.append(
            {
                "name": node["metadata"]["name"],
                "ready": noding.is_ready(node),
                "gpus": (node.get("status") or {}).get("allocatable", {}).get(resource),
                "idleSeconds": now - empty if empty else None,
                "age": now - seconds(node["metadata"]["creationTimestamp"]),
                "note": "goes soon" if ours else "cordoned" if closed else None,
            }
        )
    return rows


def _condition(status: dict[str, Any], kind: str) -> dict[str, Any]:
    return next((c for c in status.get("conditions") or [] if c["type"] == kind), {})


def _cost(decision: Any, field: str) -> float | None:
    if decision is None or decision.price is None:
        return None
    return float(round(decision.price * getattr(decision, field), 4))


def _arrow(current: int | None, desired: int | None) -> str | None:
    if current is None:
        return None
    return str(current) if desired in (None, current) else f"{current}->{desired}"


def _money(value: float | None) -> str | None:
    return None if value is None else f"{value:.2f}"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" +{len(names) - 3}" if len(names) > 3 else "")


def _since(text: str | None) -> str | None:
    from astroctl.kube.times import seconds

    return ago(time.time() - seconds(text)) if text else None
