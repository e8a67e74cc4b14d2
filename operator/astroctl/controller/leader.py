"""One leader among several operators, by a Lease, as client-go elects one.

A leader that cannot renew its lease steps down before another may take it: it counts from when it
last renewed, on its own clock; the others count from when they last saw a change, on theirs. So no
clocks are compared.
"""

from __future__ import annotations

import datetime
import logging
import time
from collections.abc import Callable

from astroctl.kube.client import Kube, Object
from astroctl.kube.errors import AlreadyExists, Changed
from astroctl.kube.resources import LEASE
from astrosage.errors import AstroError

log = logging.getLogger("astroctl.operator")


class Leader:
    """A candidate.

    Args:
        kube: The cluster.
        namespace: Where the lease lies.
        name: The lease's name.
        identity: This candidate's, different from all others'.
        lease: Seconds that a lease lasts.
        renew: Seconds within which the leader must have renewed it.
        retry: Seconds between tries.
    """

    def __init__(
        self,
        kube: Kube,
        namespace: str,
        name: str,
        identity: str,
        *,
        lease: float = 15.0,
        renew: float = 10.0,
        retry: float = 2.0,
    ) -> None:
        self._kube, self._namespace, self._name, self.identity = kube, namespace, name, identity
        self._lease, self._renew, self._retry = lease, renew, retry
        self._seen: tuple[str, str] | None = None
        self._seen_at = 0.0

    def acquire(self, stop: Callable[[], bool] = lambda: False) -> bool:
        """Wait until this candidate leads; False if it was told to stop."""
        while not stop():
            if self._try():
                log.info("leading as %s", self.identity)
                return True
            time.sleep(self._retry)
        return False

    def hold(self, stop: Callable[[], bool] = lambda: False) -> None:
        """Renew until that fails for too long or a stop is asked for; returns when not leading."""
        renewed = time.monotonic()
        while not stop():
            time.sleep(self._retry)
            if self._try():
                renewed = time.monotonic()
            elif time.monotonic() - renewed > self._renew:
                log.error("lost the lease: another leads, or the API server is out of reach")
                return
        self.release()

    def release(self) -> None:
        """Give the lease up, so that another need not wait for it to run out."""
        try:
            found = self._kube.find(LEASE, self._name, self._namespace)
            if found and found["spec"].get("holderIdentity") == self.identity:
                found["spec"] = {**found["spec"], "holderIdentity": "", "leaseDurationSeconds": 1}
                self._kube.replace(found)
        except AstroError as error:
            log.warning("the lease could not be released: %s", error.message)

    def _try(self) -> bool:
        try:
            found = self._kube.find(LEASE, self._name, self._namespace)
            if found is None:
                self._kube.create(self._made({"leaseTransitions": 0, "acquireTime": _now()}))
                return True
            spec = found.get("spec") or {}
            mine = spec.get("holderIdentity") == self.identity
            if not mine and spec.get("holderIdentity") and not self._expired(spec):
                return False
            taken = {} if mine else {"acquireTime": _now()}
            turns = int(spec.get("leaseTransitions") or 0) + (not mine)
            # The resource version that was read goes along, so that one of two takers fails.
            found["spec"] = {**spec, **self._spec(), **taken, "leaseTransitions": turns}
            self._kube.replace(found)
            return True
        except (AlreadyExists, Changed):
            return False
        except AstroError as error:
            log.warning("the lease cannot be had: %s", error.message)
            return False

    def _expired(self, spec: Object) -> bool:
        """Whether its holder has not renewed it for as long as it lasts."""
        now = time.monotonic()
        state = (str(spec.get("holderIdentity")), str(spec.get("renewTime")))
        if state != self._seen:
            self._seen, self._seen_at = state, now
        return now - self._seen_at > float(spec.get("leaseDurationSeconds") or self._lease)

    def _made(self, more: Object) -> Object:
        return {
            "apiVersion": LEASE.api_version,
            "kind": LEASE.kind,
            "metadata": {"name": self._name, "namespace": self._namespace},
            "spec": {**self._spec(), **more},
        }

    def _spec(self) -> Object:
        return {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": round(self._lease),
            "renewTime": _now(),
        }


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
