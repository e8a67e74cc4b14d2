"""What a service did while it was scored, where it was not simply to answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from astrosage.report.text import Html, count, tag


def section(summary: Mapping[str, Any]) -> Html:
    """A list of remarks; empty for a model of one's own."""
    found = summary.get("service")
    if not found:
        return Html("")
    asked, reused = count(found.get("asked")), count(found.get("reused"))
    lines = [tag("li", f"{asked} requests; {reused} answers were kept from before."),
             *(tag("li", text) for text in _remarks(found))]  # fmt: skip
    return tag("ul", *lines, class_="soft")


def _remarks(found: Mapping[str, Any]) -> Iterator[str]:
    if found.get("changed"):
        yield (
            "The service changed while it was scored: "
            f"models {_counts(found.get('models'))}; fingerprints "
            f"{_counts(found.get('fingerprints'))}."
        )
    if found.get("failed"):
        yield (
            f"{count(found['failed'])} requests got no answer and count as wrong: "
            f"{_counts(found.get('problems'))}."
        )
    if found.get("empty"):
        yield f"{count(found['empty'])} answers were empty."
    if found.get("limited"):
        yield (
            f"{count(found['limited'])} answers ended at generation.maxNewTokens, "
            f"{count(found.get('cut', 0))} of them within the model's thoughts."
        )
    if found.get("estimatedUsage"):
        yield (
            f"The tokens of {count(found['estimatedUsage'])} answers are estimates (4 bytes a "
            "token): the service did not tell them, or not credibly."
        )
    if found.get("retries"):
        yield f"{count(found['retries'])} requests were sent again."


def _counts(found: Any) -> str:
    return ", ".join(f"{k} ({count(v)})" for k, v in (found or {}).items()) or "not told"
