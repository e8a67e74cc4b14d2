"""The operator process: watches by kopf, looks from a work queue, one leader."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any, cast

from astroctl.controller.idlers import Idlers
from astroctl.controller.leader import Leader
from astroctl.controller.metrics import Metrics
from astroctl.controller.pools import PoolController
from astroctl.controller.reconcile import Reconciler
from astroctl.controller.server import Server, check
from astroctl.controller.store import Key, Store
from astroctl.controller.workqueue import WorkQueue
from astroctl.kube.client import Kube
from astroctl.kube.errors import ApiError, NoSuchKind
from astroctl.kube.resources import ASTROJOB, POOL, RAYJOB
from astroctl.render.names import LABEL_JOB
from astroctl.render.settings import Settings
from astrosage.errors import AstroError

log = logging.getLogger("astroctl.operator")
LEASE_NAME = "astrosage-operator"
_KINDS_SECONDS = 30.0
_IDLE_SECONDS = 60.0
_RESYNC_SECONDS = 60.0


class Operator:
    """Everything that one operator process does.

    Args:
        kube: The cluster, with the operator's rights.
        settings: The installation's.
        namespace: Where the lease lies.
        identity: This process; made up if not given.
        workers: Looks at once.
    """

    def __init__(
        self,
        kube: Kube,
        settings: Settings,
        namespace: str,
        *,
        identity: str | None = None,
        workers: int = 8,
    ) -> None:
        self._kube, self._settings = kube, settings
        self.store = Store()
        self._reconciler = Reconciler(kube, self.store, settings)
        self.metrics = Metrics(self.store, clock=time.time)
        self._queue = WorkQueue(
            lambda key: self._reconciler(cast(Key, key)),
            workers,
            failed=self._failed,
            looked=self.metrics.looked,
        )
        self._stop, self._watching = threading.Event(), threading.Event()
        name = identity or f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}"
        self._leader = Leader(kube, namespace, LEASE_NAME, name)
        self._alive = time.monotonic()
        self.leading = False

    def stop(self, *_: Any) -> None:
        """End soon; also a signal handler."""
        self._stop.set()

    def run(self, *, health_port: int = 8080, metrics_port: int = 9090) -> int:
        """Lead when it is this one's turn, until stopped; the exit code says whether that was
        asked for."""
        health = Server(
            health_port,
            {"/healthz": check(self._healthy), "/readyz": check(lambda: not self._stop.is_set())},
        )
        metrics = Server(metrics_port, {"/metrics": self.metrics.page})
        try:
            if not self._leader.acquire(self._stop.is_set):
                return 0
            self._lead()
            self._leader.hold(self._ended)
        finally:
            metrics.close()
            health.close()
        if self._stop.is_set():
            self._queue.close()
            return 0
        # Whoever leads now must not find this one still at work.
        os._exit(1)

    def _lead(self) -> None:
        self.leading = True
        self.metrics.leading = True
        self._queue.start()
        self._thread("watch", self._watch)
        self._thread("kinds", self._await_kinds)
        self._every("resync", _RESYNC_SECONDS, self.resync)
        idlers = Idlers(self._kube, self.store, self._settings)
        self._every("idle", _IDLE_SECONDS, idlers.tick)
        if self._settings.pools_enabled:
            pools = PoolController(self._kube, self._settings)
            self._every("pools", self._settings.poll_seconds, lambda: self._tend(pools))

    def _thread(self, name: str, work: Callable[[], None]) -> None:
        threading.Thread(target=work, name=name, daemon=True).start()

    def _ended(self) -> bool:
        self._alive = time.monotonic()
        return self._stop.is_set()

    def _healthy(self) -> bool:
        """A leader whose lease loop hangs is no longer healthy; a candidate always is."""
        return not self.leading or time.monotonic() - self._alive < 60

    def _watch(self) -> None:
        """Run kopf until stopped. If it ends by itself, nothing is seen any more: end too."""
        import kopf

        try:
            kopf.run(
                registry=self._registry(),
                settings=_kopf_settings(),
                standalone=True,
                clusterwide=not self._settings.watch_namespaces,
                namespaces=tuple(self._settings.watch_namespaces),
                stop_flag=self._stop,
                ready_flag=self._watching,
            )
        except Exception:
            log.exception("the watches ended")
        if not self._stop.is_set():
            os._exit(1)

    def _registry(self) -> Any:
        import kopf

        registry = kopf.OperatorRegistry()
        jobs = (ASTROJOB.group, ASTROJOB.version, ASTROJOB.plural)
        rayjobs = (RAYJOB.group, RAYJOB.version, RAYJOB.plural)

        # The official library knows all ways to log in; kopf asks again when a login has expired.
        kopf.on.login(registry=registry)(kopf.login_via_client)

        @kopf.on.event(*jobs, registry=registry)
        async def job_seen(event: Any, **_: Any) -> None:
            self._see_job(event["type"], event["object"])

        @kopf.on.event(*rayjobs, labels={LABEL_JOB: kopf.PRESENT}, registry=registry)
        async def rayjob_seen(event: Any, **_: Any) -> None:
            self._see_rayjob(event["type"], event["object"])

        if self._settings.pools_enabled:

            @kopf.on.event(POOL.group, POOL.version, POOL.plural, registry=registry)
            async def pool_seen(event: Any, **_: Any) -> None:
                change = self.store.drop_pool if event["type"] == "DELETED" else self.store.put_pool
                change(event["object"])

        return registry

    def _see_job(self, change: str | None, obj: dict[str, Any]) -> None:
        if change == "DELETED":
            self._queue.forget(self.store.drop_job(obj))
            self._reconciler.forget(obj)
        else:
            self._queue.add(self.store.put_job(obj))

    def _see_rayjob(self, change: str | None, obj: dict[str, Any]) -> None:
        key = (self.store.drop_rayjob if change == "DELETED" else self.store.put_rayjob)(obj)
        if key is not None:
            self._queue.add(key)

    def resync(self) -> int:
        """Look at what is really there; returns how much of it no watch had told of.

        A watch may end without a word, and one that breaks does not tell what went meanwhile.
        """
        missed = 0
        everywhere: list[str | None] = [None]
        for namespace in self._settings.watch_namespaces or everywhere:
            jobs = self._kube.list(ASTROJOB, namespace)
            for obj in jobs:
                if self.store.is_news(obj):
                    missed += 1
                    self._see_job("MODIFIED", obj)
            there = {obj["metadata"]["uid"] for obj in jobs}
            for known in self.store.jobs():
                meta = known["metadata"]
                here = namespace is None or meta["namespace"] == namespace
                if here and meta["uid"] not in there and self._is_gone(known):
                    missed += 1
                    self._see_job("DELETED", known)
            with contextlib.suppress(NoSuchKind):
                for rayjob in self._kube.pages(RAYJOB, namespace, labels=LABEL_JOB):
                    if self.store.is_news(rayjob):
                        missed += 1
                        self._see_rayjob("MODIFIED", rayjob)
        if missed:
            log.info("resync: %d changes that no watch had told of yet", missed)
        return missed

    def _is_gone(self, job: dict[str, Any]) -> bool:
        """Whether a job that a list lacks is really gone, and not just younger than the list."""
        meta = job["metadata"]
        found = self._kube.find(ASTROJOB, meta["name"], meta["namespace"])
        return found is None or bool(found["metadata"]["uid"] != meta["uid"])

    def _failed(self, key: object, error: Exception) -> None:
        known = isinstance(error, AstroError)
        name = "/".join(cast(Key, key))
        self.metrics.failed(type(error).__name__)
        if known:
            log.warning("%s: %s", name, error)
        else:
            log.error("%s: look failed", name, exc_info=error)

    def _tend(self, pools: PoolController) -> None:
        outcomes = pools.tick(time.time())
        self.metrics.idle_gpus = {o.pool: o.idle_gpus for o in outcomes}

    def _every(self, name: str, seconds: float, work: Callable[[], object]) -> None:
        """Do something again and again, whatever becomes of it."""

        def loop() -> None:
            while not self._stop.wait(seconds):
                try:
                    work()
                except Exception as error:
                    self.metrics.failed(type(error).__name__)
                    known = isinstance(error, AstroError)
                    log.warning("%s: %s", name, error, exc_info=None if known else error)

        self._thread(name, loop)

    def _await_kinds(self) -> None:
        """Start anew when KubeRay is installed later: kinds are looked up once, at the start."""
        if self._knows_rayjobs():
            return
        log.warning("KubeRay is not installed: jobs wait")
        while not self._stop.wait(_KINDS_SECONDS):
            if self._knows_rayjobs():
                log.warning("KubeRay was installed: starting anew")
                os._exit(0)

    def _knows_rayjobs(self) -> bool:
        namespace = next(iter(self._settings.watch_namespaces), None)
        try:
            self._kube.request("GET", RAYJOB.path(namespace), limit=1)
        except NoSuchKind:
            return False
        except ApiError:
            return True  # not now; it says nothing of the kind
        return True


def _kopf_settings() -> Any:
    import kopf

    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    # Kinds and namespaces are known from the start; to watch for new ones would take rights that
    # an operator of some namespaces does not have.
    settings.scanning.disabled = True
    settings.watching.server_timeout = 240
    settings.watching.client_timeout = 300
    settings.watching.connect_timeout = 10
    settings.networking.request_timeout = 30
    settings.persistence.finalizer = "astrosage.io/kopf"
    return settings
