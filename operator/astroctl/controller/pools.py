"""GPUNodePools: look, decide, carry out, tell. Nothing of kopf here.

Every round starts from what is there, so that a round cut short anywhere is made good by the
next. A scale-up is noted in the pool's status before it is asked for; nodes are cordoned in one
round and removed in a later one, when they are still without work.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from astroctl.controller import pool_status as telling
from astroctl.controller.pool_hand import EVENTS_NAMESPACE, Hand
from astroctl.kube.client import Kube, Object
from astroctl.kube.errors import Missing
from astroctl.kube.events import post
from astroctl.kube.resources import NODE, POOL
from astroctl.kube.times import timestamp
from astroctl.pools.cluster import nodes as noding
from astroctl.pools.cluster.look import Look, Looker, MakeDriver, PoolLook
from astroctl.pools.drivers.choose import driver_of
from astroctl.pools.model import Decision
from astroctl.render.settings import Settings
from astrosage.errors import AstroError

log = logging.getLogger("astroctl.pools")
_NOTES_A_ROUND = 50


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one round did with one pool.

    Attributes:
        pool: Its name.
        decision: What was decided; None where the pool could not be looked at.
        done: What was done, in words; empty for nothing.
        error: What went wrong.
        idle_gpus: GPUs of ready nodes that no pod uses.
    """

    pool: str
    decision: Decision | None
    done: tuple[str, ...] = ()
    error: AstroError | None = None
    idle_gpus: int = 0


class PoolController:
    """Keeps all pools at the size that their jobs need.

    Args:
        kube: The cluster, with the rights for pools.
        settings: The operator's.
        make_driver: Makes a pool's driver.
    """

    def __init__(self, kube: Kube, settings: Settings, make_driver: MakeDriver = driver_of) -> None:
        self.kube, self.settings = kube, settings
        self.looker = Looker(kube, make_driver)

    def tick(self, now: float) -> list[Outcome]:
        """One round.

        Args:
            now: Seconds since the epoch.

        Returns:
            What was done with each pool; a pool that fails does not keep others waiting.

        Raises:
            AstroError: If pools, nodes or pods cannot be read at all.
        """
        look = self.looker.look(now)
        outcomes = [self._tend(one, look, now) for one in look.pools]
        self._note_empty(look)
        return outcomes

    def _tend(self, one: PoolLook, look: Look, now: float) -> Outcome:
        hand = Hand(self.kube, self.looker, one, now)
        error = one.error
        if error is None and one.decision is not None:
            try:
                hand.carry_out(one.decision)
            except AstroError as raised:
                error = raised
            except Exception as raised:
                log.exception("pool %s", one.name)
                error = AstroError(f"{type(raised).__name__}: {raised}", "see the operator's log")
        try:
            self._tell(one, look, now, hand, error)
        except Missing:
            pass  # it was deleted meanwhile
        except AstroError as raised:
            error = error or raised
        if error is not None:
            log.warning("pool %s: %s", one.name, error.message)
        return Outcome(one.name, one.decision, tuple(hand.done), error, telling.idle_gpus(one))

    def _tell(
        self, one: PoolLook, look: Look, now: float, hand: Hand, error: AstroError | None
    ) -> None:
        before = one.status
        after = telling.pool_status(one, look, now, error=error, did=hand.did)
        for event in _turned(before, after):
            post(
                self.kube,
                one.obj,
                *event,
                key=f"{event[1]}/{event[2]}/{int(now) // 3600}",
                now=now,
                namespace=EVENTS_NAMESPACE,
            )
        patch = telling.changes(before, after)
        if patch:
            self.kube.patch(POOL, one.name, {"status": patch}, subresource="status")

    def _note_empty(self, look: Look) -> None:
        """Write on nodes since when they are empty, so that a new operator goes on counting."""
        left = _NOTES_A_ROUND
        for one in look.pools:
            if one.pool is None or one.pool.spec.paused:
                continue
            for name, node in one.nodes.items():
                if left and (note := self._note(name, node)) is not None:
                    left -= 1
                    self._write_note(name, note[0])

    def _note(self, name: str, node: Object) -> tuple[str | None] | None:
        """The note that a node should have, if it has another."""
        since = self.looker.empty_since.get(name)
        wanted = timestamp(since) if since else None
        there = noding.marks_of(node).get(noding.EMPTY_SINCE)
        return None if wanted == there else (wanted,)

    def _write_note(self, name: str, since: str | None) -> None:
        body = {"metadata": {"annotations": {noding.EMPTY_SINCE: since}}}
        try:
            self.kube.patch(NODE, name, body)
        except AstroError as error:
            log.debug("node %s: %s", name, error.message)


def _turned(before: dict[str, Any], after: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Events for conditions that changed for the worse, or got well again."""
    was = {c["type"]: c for c in before.get("conditions") or []}
    told = []
    for state in after["conditions"]:
        old = was.get(state["type"])
        if old is not None and (old["status"], old["reason"]) == (
            state["status"],
            state["reason"],
        ):
            continue
        if state["type"] == "Ready" and state["status"] == "False":
            told.append(("Warning", state["reason"], state["message"]))
        elif state["type"] == "Ready" and old is not None and old["status"] == "False":
            told.append(("Normal", "Recovered", "the pool can be asked and changed again"))
        elif state["type"] == "Limited" and state["status"] == "True":
            told.append(("Warning", state["reason"], state["message"]))
    return told
