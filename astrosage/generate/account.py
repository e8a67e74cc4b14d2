"""What a generate stage did, in figures: for the manifest, the report and the log."""

from __future__ import annotations

from typing import Any

from astrosage.endpoints.client import Client
from astrosage.endpoints.kept import KeptAnswers
from astrosage.endpoints.spending import Purse
from astrosage.endpoints.usage import price
from astrosage.generate.collecting import Collector
from astrosage.generate.passages import Passages
from astrosage.spec.endpoint import Prices


def summarize(
    collector: Collector, passages: Passages, services: dict[str, dict[str, Any]], purse: Purse
) -> dict[str, Any]:
    """All of it, as plain data.

    Args:
        collector: After its end.
        passages: What was taken of the sources.
        services: Of :func:`service`, by role.
        purse: What was spent.
    """
    accepted = collector.counts["accepted"]
    usd = purse.usd
    found: dict[str, Any] = {
        "sources": dict(passages.account),
        "licenses": passages.licenses.to_dict(),
        "words": passages.words,
        "counts": {
            name: collector.counts[name]
            for name in ("passages", "passagesWithout", "items", "graded", "accepted")
        },
        "reasons": dict(collector.reasons.most_common()),
        "grades": {
            name: dict(sorted(values.items()))
            for name, values in collector.grades.items()
            if values
        },
        "services": services,
        "tokens": purse.tokens,
        "usd": usd,
        "usdPerItem": usd / accepted if usd is not None and accepted else None,
        "samples": collector.samples,
    }
    if collector.keys:
        longest, shortest = collector.lengths
        found["keys"] = dict(sorted(collector.keys.items()))
        found["keyLongest"], found["keyShortest"] = longest, shortest
    return found


def service(
    client: Client, model: str, kept: KeptAnswers, prices: Prices | None, unread: int
) -> dict[str, Any]:
    """What one service did and what it took, in all attempts of the stage.

    Args:
        client: It.
        model: Its model, as the run file names it.
        kept: Its answers.
        prices: Its price table.
        unread: Conversations that ended in a reply which cannot be read.
    """
    return {
        "model": model,
        "requests": kept.calls,
        "tokens": kept.spent.to_dict(),
        "usd": price(kept.spent, prices),
        "unread": unread,
        **client.facts(),
    }
