"""Keys to look at: each by one worker at a time, now or later, and again after a failure.

The same contract as client-go's workqueue: a key that is added while it is worked on is looked at
once more afterwards; one that is added many times is looked at once.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import random
import threading
import time
from collections.abc import Callable, Hashable

log = logging.getLogger("astroctl.operator")
_FIRST_BACKOFF, _LONGEST_BACKOFF = 0.5, 300.0


class WorkQueue:
    """Runs a function for keys on several threads.

    Args:
        work: Called with a key; returns seconds after which to look again, or None.
        workers: Threads.
        failed: Called with a key and what its work raised.
        looked: Called with the seconds that each look took.
    """

    def __init__(
        self,
        work: Callable[[Hashable], float | None],
        workers: int = 16,
        *,
        failed: Callable[[Hashable, Exception], None] = lambda key, error: None,
        looked: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        self._work, self._failed, self._looked = work, failed, looked
        self._changed = threading.Condition()
        self._due: dict[Hashable, float] = {}
        self._heap: list[tuple[float, int, Hashable]] = []
        self._order = itertools.count()
        self._busy: set[Hashable] = set()
        self._failures: dict[Hashable, int] = {}
        self._closed = False
        self._threads = [
            threading.Thread(target=self._loop, name=f"reconcile-{i}", daemon=True)
            for i in range(workers)
        ]

    def start(self) -> None:
        """Begin to work."""
        for thread in self._threads:
            thread.start()

    def add(self, key: Hashable, delay: float = 0.0) -> None:
        """Look at a key after a delay, or sooner if it is due sooner already."""
        due = time.monotonic() + delay
        with self._changed:
            if key in self._due and self._due[key] <= due:
                return
            self._due[key] = due
            heapq.heappush(self._heap, (due, next(self._order), key))
            self._changed.notify()

    def forget(self, key: Hashable) -> None:
        """A key that is gone for good."""
        with self._changed:
            self._due.pop(key, None)
            self._failures.pop(key, None)

    def close(self, timeout: float = 10.0) -> None:
        """Finish what is under way and end."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(timeout)

    def __len__(self) -> int:
        with self._changed:
            now = time.monotonic()
            return sum(due <= now for due in self._due.values()) + len(self._busy)

    def _take(self) -> Hashable | None:
        """The next key that is due and that nobody works on; None at the end."""
        with self._changed:
            while not self._closed:
                now, postponed, found, pause = time.monotonic(), [], None, None
                while self._heap:
                    due, order, key = self._heap[0]
                    if self._due.get(key) != due:
                        heapq.heappop(self._heap)  # superseded
                    elif due > now:
                        pause = due - now
                        break
                    else:
                        heapq.heappop(self._heap)
                        if key not in self._busy:
                            found = key
                            break
                        postponed.append((due, order, key))
                for entry in postponed:
                    heapq.heappush(self._heap, entry)
                if found is not None:
                    del self._due[found]
                    self._busy.add(found)
                    return found
                self._changed.wait(pause)
        return None

    def _loop(self) -> None:
        while (key := self._take()) is not None:
            began = time.monotonic()
            again: float | None = None
            try:
                again = self._work(key)
                self._failures.pop(key, None)
            except Exception as error:
                again = self._backoff(key, error)
                self._failed(key, error)
            self._looked(time.monotonic() - began)
            with self._changed:
                self._busy.discard(key)
                self._changed.notify()
            if again is not None:
                self.add(key, again)

    def _backoff(self, key: Hashable, error: Exception) -> float:
        count = self._failures[key] = self._failures.get(key, 0) + 1
        asked = getattr(error, "retry_after", None)
        delay = min(_LONGEST_BACKOFF, _FIRST_BACKOFF * 2.0 ** min(count - 1, 12))
        return max(asked or 0.0, delay * random.uniform(0.8, 1.2))
