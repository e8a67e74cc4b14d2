"""What the data card in the report shows beyond the counts."""

from __future__ import annotations

from typing import Any

from astrosage.data.account import Account
from astrosage.data.duplicates import DuplicateFilter

_HITS = 50


def card(account: Account, duplicates: DuplicateFilter) -> dict[str, Any]:
    """Steps, histograms, cleaning, clusters and the first contamination hits, as plain data.

    Args:
        account: Of the finished stage.
        duplicates: Its duplicates.

    Returns:
        ``steps``: documents and words after each; ``lengths``: ``[2**n, documents]``, from n tokens
        on; ``cleaning``, ``clusters``: empty where not asked for; ``hits``: at most 50, all are in
        ``report.json``.
    """
    return {
        "steps": account.steps.to_list(),
        "lengths": [[2**n, account.lengths[n]] for n in sorted(account.lengths)],
        "cleaning": account.cleaning.to_dict(),
        "clusters": duplicates.to_dict(),
        **({"chat": chat} if (chat := dict(sorted((+account.chat).items()))) else {}),
        "hits": [hit.to_dict() for hit in account.hits[:_HITS]],
    }
