"""What a benchmark cost: a model of one's own by its workers' time, a service by its tokens."""

from __future__ import annotations

import math
from typing import Any

from astrosage.bench.results import Collected
from astrosage.bench.tasks import Role
from astrosage.endpoints.usage import Usage, account, price, total
from astrosage.spec.bench import Prices


def summarize(
    collected: Collected,
    *,
    seconds: float,
    workers: int,
    price_per_hour: float | None,
    served: bool,
    prices: Prices | None,
) -> dict[str, Any]:
    """The summary's ``cost``.

    ``usd`` is the whole stage: its time on the cluster at the cluster's price, and what a service
    charges. ``usdPer100kTokens`` and ``tokens`` are the scored model's, for the questions alone: of
    the cluster's cost, a model of one's own bears the share of the workers' time that it took.

    Args:
        collected: All results with their account.
        seconds: How long the stage took.
        workers: How many took part.
        price_per_hour: USD an hour for the whole cluster; None if not known.
        served: Whether the model is a service.
        prices: The service's price table.
    """
    on_cluster = None if price_per_hour is None else price_per_hour * seconds / 3600
    asked, charged = _usage(collected, "model"), None
    if served:
        charged = price(asked, prices)
        model = account(charged, asked, 0.0)
    else:
        model = _of_cluster(collected, "model", on_cluster)
    found = {
        "seconds": round(seconds, 2),
        "workers": workers,
        "pricePerHour": price_per_hour,
        "usd": _sum(on_cluster, charged),
        "usdPer100kTokens": model["usdPer100kTokens"],
        "tokens": model["tokens"],
        "model": model,
        "baseline": None,
    }
    if _usage(collected, "baseline").total:
        found["baseline"] = _of_cluster(collected, "baseline", on_cluster)
    return found


def _usage(collected: Collected, role: Role) -> Usage:
    return total(u for (r, work), u in collected.usage.items() if r == role and work != "heldout")


def _of_cluster(collected: Collected, role: Role, usd: float | None) -> dict[str, Any]:
    """A model's part of the cluster's cost, by the time that its questions took."""
    busy = math.fsum(collected.seconds.values())
    mine = math.fsum(
        s for (r, work), s in collected.seconds.items() if r == role and work != "heldout"
    )
    share = None if usd is None or not busy else usd * mine / busy
    return account(share, _usage(collected, role), mine)


def _sum(*parts: float | None) -> float | None:
    known = [p for p in parts if p is not None]
    return math.fsum(known) if known else None
