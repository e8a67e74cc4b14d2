"""Looks for GPUs that are paid for and do nothing, says so, and frees them if told to."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable

from astroctl.controller.idle import Idle, Step, idle, moved
from astroctl.controller.store import Key, Store, key_of
from astroctl.kube.client import Kube, Object
from astroctl.kube.events import post
from astroctl.kube.resources import POD, RAYJOB
from astroctl.kube.times import timestamp
from astroctl.render.names import LABEL_JOB, RAY_CLUSTER
from astroctl.render.settings import Settings

log = logging.getLogger("astroctl.operator")


class Idlers:
    """Looks at all jobs at once: one list of pods, however many jobs there are.

    Args:
        kube: The cluster.
        store: What the watches have seen.
        settings: The operator's.
        clock: Seconds since the epoch.
    """

    def __init__(
        self,
        kube: Kube,
        store: Store,
        settings: Settings,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._kube, self._store, self._settings, self._clock = kube, store, settings, clock
        self._steps: dict[str, Step] = {}

    def tick(self) -> list[tuple[Key, Idle]]:
        """Look once; returns what was found.

        Raises:
            ApiError: If pods cannot be listed.
        """
        pods, found = self._pods(), []
        seen: dict[str, Step] = {}
        for job in self._store.jobs():
            key, uid, now = key_of(job), job["metadata"]["uid"], self._clock()
            progress = (job.get("status") or {}).get("progress")
            step = moved(progress, self._steps.get(uid), now)
            if step is not None:
                seen[uid] = step
            for rayjob in self._store.rayjobs(key, uid):
                cluster = (rayjob.get("status") or {}).get("rayClusterName")
                mine = pods.get((key[0], str(cluster)), [])
                told = idle(rayjob, mine, progress, now, step=step) if mine else None
                if told is not None:
                    found.append((key, told))
                    self._tell(job, told)
        self._steps = seen
        return found

    def _pods(self) -> dict[tuple[str, str], list[Object]]:
        by_cluster: dict[tuple[str, str], list[Object]] = defaultdict(list)
        for pod in self._all_pods():
            cluster = pod["metadata"].get("labels", {}).get(RAY_CLUSTER)
            if cluster:
                by_cluster[pod["metadata"]["namespace"], cluster].append(pod)
        return by_cluster

    def _all_pods(self) -> Iterable[Object]:
        everywhere: list[str | None] = [None]
        for namespace in self._settings.watch_namespaces or everywhere:
            yield from self._kube.pages(POD, namespace, labels=LABEL_JOB)

    def _tell(self, job: Object, told: Idle) -> None:
        # Since when goes into the event's name: one event for each time that it happens.
        since = timestamp(told.since)
        text = f"{told.message}; {told.hint}"
        post(self._kube, job, "Warning", told.reason, text, key=since, now=self._clock())
        if told.reap and self._settings.reap_idle:
            namespace = job["metadata"]["namespace"]
            log.warning("%s/%s: removing %s", *key_of(job), told.reap)
            self._kube.delete(RAYJOB, told.reap, namespace)
