"""GPUNodePools: look, decide, carry out, tell. Nothing of kopf here.

Every round starts from what is there, so that a round cut short anywhere is made good by the
next. A scale-up is noted in the pool's status before it is asked for; nodes are cordoned in one
round and removed in a later one, when they are still without work.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from astroctl.controller import pool_status as telling
from astroctl.kube.client import Kube, Object
from astroctl.kube.errors import Changed, Missing
from astroctl.kube.events import post
from astroctl.kube.resources import NODE, POOL
from astroctl.kube.times import timestamp
from astroctl.pools.cluster import nodes as noding
from astroctl.pools.cluster.look import Look, Looker, MakeDriver, PoolLook
from astroctl.pools.cluster.survey import busy_nodes
from astroctl.pools.drivers.choose import driver_of
from astroctl.pools.model import Decision
from astroctl.render.settings import Settings
from astrosage.errors import AstroError

log = logging.getLogger("astroctl.pools")
_NOTES_A_ROUND = 50
_DEFAULT_NAMESPACE = "default"


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
                namespace=_DEFAULT_NAMESPACE,
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
        driver = one_driver(self.one)
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
        one, driver = self.one, one_driver(self.one)
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
        one, driver = self.one, one_driver(self.one)
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
            namespace=_DEFAULT_NAMESPACE,
        )


def one_driver(one: PoolLook) -> Any:
    """The pool's driver, which is there when there is something to do."""
    assert one.driver is not None
    return one.driver


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
