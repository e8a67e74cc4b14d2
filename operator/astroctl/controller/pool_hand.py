"""Carries out what was decided for one pool: cordons, sizes, removals, limits of others."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from astroctl.controller import pool_status as telling
from astroctl.kube.client import Kube, Object
from astroctl.kube.errors import Changed, Missing
from astroctl.kube.events import post
from astroctl.kube.resources import NODE, POOL
from astroctl.kube.times import timestamp
from astroctl.pools.cluster import nodes as noding
from astroctl.pools.cluster.look import Looker, PoolLook
from astroctl.pools.cluster.survey import busy_nodes
from astroctl.pools.model import Decision
from astrosage.errors import AstroError

log = logging.getLogger("astroctl.pools")
EVENTS_NAMESPACE = "default"
"""Where events of objects without a namespace go."""


class Hand:
    """Carries out what was decided for one pool.

    Args:
        kube: The cluster.
        looker: Told of changes.
        one: The pool.
        now: The time.
    """

    def __init__(self, kube: Kube, looker: Looker, one: PoolLook, now: float) -> None:
        self.kube, self.looker, self.one, self.now = kube, looker, one, now
        self.done: list[str] = []
        asked = one.status.get("asked")
        self.did = telling.Did(
            size=one.state.desired if one.state else 0,
            asked=None if asked is None else int(asked),
            scaled=one.status.get("lastScaleTime"),
        )

    def carry_out(self, decision: Decision) -> None:
        """Do it.

        Raises:
            AstroError: As the driver does; what was done before it stays done.
        """
        one = self.one
        if one.pool is None or one.size is None or one.driver is None or one.pool.spec.paused:
            return
        if one.size.controls == "replicas":
            self._resize(decision)
        elif one.size.controls in ("bounds", "limits"):
            self._rebound(decision)

    def _resize(self, decision: Decision) -> None:
        self._uncordon(decision.uncordon)
        if decision.after > decision.before:
            self._grow(decision)
        self._cordon(decision.cordon)
        if decision.remove:
            self._remove(decision)
        elif decision.after < decision.before:
            self._set_size(decision.after, decision)

    def _grow(self, decision: Decision) -> None:
        before = self.did.asked
        self._note_asked(decision.after)
        try:
            self._set_size(decision.after, decision)
        except AstroError:
            self.did.asked = before
            raise

    def _note_asked(self, size: int) -> None:
        """Before it is asked for: whoever goes on after us must know since when it is."""
        self.did.asked, self.did.scaled = size, timestamp(self.now)
        body = {"status": {"asked": size, "lastScaleTime": timestamp(self.now)}}
        self.one.obj = self.kube.patch(POOL, self.one.name, body, subresource="status")

    def _set_size(self, nodes: int, decision: Decision) -> None:
        driver = _driver(self.one)
        driver.set_size(nodes)
        self._sized(nodes)
        self._say(
            "ScaledUp" if nodes > decision.before else "ScaledDown",
            f"from {decision.before} to {nodes} nodes: {decision.message}",
        )

    def _sized(self, nodes: int) -> None:
        self.looker.changed(self.one)
        if nodes < self.did.size:
            self.did.asked = None
        self.did.size, self.did.scaled = nodes, timestamp(self.now)

    def _cordon(self, names: Iterable[str]) -> None:
        closed = [
            name
            for name in names
            if self._patch_node(
                name, noding.cordon_patch(self.one.nodes[name], self.one.name, self.now)
            )
        ]
        if closed:
            self._say("Cordoned", f"idle nodes take no more pods: {', '.join(closed)}")

    def _uncordon(self, names: Iterable[str]) -> None:
        opened = [
            name
            for name in names
            if self._patch_node(name, noding.uncordon_patch(self.one.nodes[name]))
        ]
        if opened:
            self._say("Uncordoned", f"needed after all: {', '.join(opened)}")

    def _patch_node(self, name: str, body: Object) -> bool:
        try:
            self.one.nodes[name] = self.kube.patch(NODE, name, body)
        except (Changed, Missing):
            return False  # the next round sees what became of it
        return True

    def _remove(self, decision: Decision) -> None:
        """Remove nodes that were cordoned long enough ago, if they have no work even now."""
        one, driver = self.one, _driver(self.one)
        assert one.pool is not None
        assert one.size is not None
        withdrawn = decision.before - decision.after - len(decision.remove)
        if withdrawn > 0:
            # One thing at a time: what never came is given up first.
            self._set_size(decision.before - withdrawn, decision)
            return
        busy = busy_nodes(self.kube, one.pool, decision.remove)
        names = [n for n in decision.remove if n not in busy]
        if not names or (busy and not one.size.names_nodes):
            return
        if one.size.names_nodes:
            driver.remove([noding.node_ref(one.nodes[n]) for n in names])
            after = decision.before - len(names)
            self._sized(after)
            self._say(
                "ScaledDown",
                f"from {decision.before} to {after} nodes: removes {', '.join(sorted(names))}",
            )
        else:
            self._set_size(decision.after, decision)

    def _rebound(self, decision: Decision) -> None:
        """Let whoever owns the number go as far as was decided, and no further."""
        one, driver = self.one, _driver(self.one)
        assert one.pool is not None
        assert one.size is not None
        least = 0 if one.size.controls == "limits" or one.pool.spec.driver == "scale" else 1
        maximum = max(decision.after, one.size.desired, least)
        minimum = min(one.pool.spec.min_nodes, maximum)
        if decision.after > decision.before:
            self._note_asked(decision.after)
        elif decision.after < decision.before:
            self.did.asked = None
        self.did.size = decision.after
        there = (one.size.minimum, one.size.maximum)
        wanted = (None if one.size.controls == "limits" else minimum, maximum)
        if there == wanted:
            return
        driver.set_bounds(minimum, maximum)
        self.looker.changed(one)
        self._say("LimitsSet", f"{minimum} to {maximum} nodes: {decision.message}")

    def _say(self, reason: str, message: str) -> None:
        self.done.append(message)
        log.info("pool %s: %s", self.one.name, message)
        post(
            self.kube,
            self.one.obj,
            "Normal",
            reason,
            message,
            key=f"{int(self.now)}/{message}",
            now=self.now,
            namespace=EVENTS_NAMESPACE,
        )


def _driver(one: PoolLook) -> Any:
    """The pool's driver, which is there when there is something to do."""
    assert one.driver is not None
    return one.driver
