"""Times as Kubernetes writes them."""

from __future__ import annotations

import datetime


def timestamp(seconds: float) -> str:
    """RFC 3339 in UTC, to the second."""
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds(text: str | None) -> float:
    """Seconds since the epoch; 0 for nothing."""
    if not text:
        return 0.0
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
