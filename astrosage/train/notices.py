"""What comes from outside while training: a request to stop, a node that is about to be taken.

Rank 0 looks now and then; what it saw travels with the sum that every step makes anyway, so that
all ranks act at the same step. No rank waits for another because of it.
"""

from __future__ import annotations

import logging
import time

from astrosage.runs.directory import RunDirectory

log = logging.getLogger("astrosage.train")
_LOCAL_SECONDS = 1.0
_REMOTE_SECONDS = 5.0
POLL_PREEMPTION = 1
STOP = 2


class Notices:
    """Looks for notices.

    Args:
        run: The run directory, where a stop is asked for.
        rank: This worker's rank; only rank 0 looks.
    """

    def __init__(self, run: RunDirectory, rank: int) -> None:
        self._run, self._rank = run, rank
        self._interval = _LOCAL_SECONDS if run.storage.local is not None else _REMOTE_SECONDS
        self._looked = time.monotonic()
        self._answered: frozenset[str] = frozenset()

    def look(self) -> int:
        """Flags to be summed over all ranks: :data:`POLL_PREEMPTION` and :data:`STOP`, or 0."""
        if self._rank != 0 or time.monotonic() - self._looked < self._interval:
            return 0
        self._looked = time.monotonic()
        return POLL_PREEMPTION | (STOP if self._run.stop_requested() else 0)

    def preempted(self) -> bool:
        """Whether a node of this training is about to be taken that was not known of before.

        A barrier: every rank must call it at the same step.
        """
        import ray.train

        info = ray.train.get_preemption_info()
        nodes = frozenset(info.preempted_node_ids) if info is not None else frozenset()
        news = bool(nodes - self._answered)
        if news:
            log.warning("nodes are about to be taken: %s", ", ".join(sorted(nodes)))
        self._answered |= nodes
        return news
