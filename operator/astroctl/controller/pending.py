"""Why a job waits or failed: the most telling cause of all that can be seen.

Causes of waiting are looked for in a fixed order, and the first found is told: what must be mended
before anything else can pass stands first, what passes by itself last. Within pods the head comes
before the workers, since nothing starts without it.
"""

from __future__ import annotations

from collections.abc import Callable

from astroctl.controller.why import capacity, containers, kuberay, pools, queue, starting, volumes
from astroctl.controller.why.facts import CapacityFacts, Ending, FailureFacts, Finding
from astroctl.controller.why.failure import explain_failure

__all__ = ["CapacityFacts", "Ending", "FailureFacts", "Finding", "explain", "explain_failure"]

_Check = Callable[[CapacityFacts], Finding | None]
_ORDER: tuple[_Check, ...] = (
    starting.is_ready,
    kuberay.invalid,
    pools.missing,
    kuberay.unresponsive,
    queue.explain,
    kuberay.refused,
    containers.explain,
    volumes.explain,
    capacity.explain,
    starting.pulling,
    starting.not_ready,
)


def explain(facts: CapacityFacts) -> Finding:
    """Why the job does not run yet, or that it has what it needs."""
    for check in _ORDER:
        finding = check(facts)
        if finding is not None:
            return finding
    return starting.starting(facts)
