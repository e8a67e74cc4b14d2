"""One look at one AstroJob: compare what is wanted with what is there, take one step, say so.

Level-triggered: a look depends on the present alone, whatever event caused it, and any look may be
the first after a restart.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from astroctl.controller import accept as accepting
from astroctl.controller import statuses
from astroctl.controller.accept import Accepted, Refusal, accept
from astroctl.controller.attempts import Attempt, attempt
from astroctl.controller.create import Creator
from astroctl.controller.dashboard import Dashboard
from astroctl.controller.decide import Record, Situation, Step, backoff, decide
from astroctl.controller.failures import ending_of
from astroctl.controller.observe import Nodes, observe
from astroctl.controller.pending import Ending, explain
from astroctl.controller.store import Key, Store
from astroctl.kube.client import Kube, Object
from astroctl.kube.errors import Missing, NoSuchKind
from astroctl.kube.events import post
from astroctl.kube.resources import ASTROJOB, RAYJOB
from astroctl.render.names import LABEL_JOB, attempt_name
from astroctl.render.settings import Settings
from astrosage.errors import AstroError, ClusterError
from astrosage.spec.pool import GPUNodePool

log = logging.getLogger("astroctl.operator")
FINALIZER = "astrosage.io/finalizer"
RETRY = "astrosage.io/retry"
_PENDING_SECONDS = 10.0
_MISSING_SECONDS = 30.0
_EXPLAIN_SECONDS = 8.0
_STOPPING_SECONDS = 3.0
# KubeRay removes its finalizer within seconds; if it is gone, nobody will.
_DELETE_PATIENCE = 300.0
_QUIET_SECONDS = 60.0


class Reconciler:
    """Looks at AstroJobs.

    Args:
        kube: The cluster.
        store: What the watches have seen.
        settings: The operator's.
        clock: Seconds since the epoch.
        connect: Makes a dashboard from address and token.
    """

    def __init__(
        self,
        kube: Kube,
        store: Store,
        settings: Settings,
        *,
        clock: Callable[[], float] = time.time,
        connect: Callable[[str, str | None], Dashboard] = Dashboard,
    ) -> None:
        self.kube, self.store, self.settings = kube, store, settings
        self.clock, self.connect = clock, connect
        self.creator = Creator(kube, settings)
        self.nodes = Nodes(kube)
        self.polled: dict[str, float] = {}
        self.explained: dict[str, tuple[Attempt, float]] = {}
        self.verified: dict[str, float] = {}
        self._accepted: dict[str, tuple[Any, Accepted | Refusal]] = {}

    def __call__(self, key: Key) -> float | None:
        """Look at a job; returns after how many seconds to look again without an event."""
        obj = self.store.job(key)
        if obj is None:
            return None
        return Look(self, obj).run()

    def accept(self, obj: Object) -> Accepted:
        """As :func:`accept`, once for each generation."""
        meta = obj["metadata"]
        version = (meta["generation"], (meta.get("annotations") or {}).get(accepting.STAGES))
        cached = self._accepted.get(meta["uid"])
        if cached is None or cached[0] != version:
            try:
                found: Accepted | Refusal = accept(obj, self.settings)
            except Refusal as refusal:
                found = refusal
            cached = self._accepted[meta["uid"]] = (version, found)
        if isinstance(cached[1], Refusal):
            raise cached[1]
        return cached[1]

    def forget(self, obj: Object) -> None:
        """Drop what is remembered of a job that is gone."""
        uid = obj["metadata"]["uid"]
        self._accepted.pop(uid, None)
        self.polled.pop(uid, None)
        self.explained.pop(uid, None)
        self.verified.pop(uid, None)
        self.creator.forget(uid)


class Look:
    """One look at one job."""

    def __init__(self, shared: Reconciler, obj: Object) -> None:
        self.shared, self.kube, self.obj = shared, shared.kube, obj
        meta = obj["metadata"]
        self.name, self.namespace, self.uid = meta["name"], meta["namespace"], meta["uid"]
        self.now = shared.clock()
        self.status = statuses.Draft(obj.get("status") or {}, meta.get("generation"), self.now)
        self.attempts = self._known_attempts()
        self._fresh = False
        self._label = {LABEL_JOB: self.name}

    def run(self) -> float | None:
        """Take a step; returns after how many seconds to look again."""
        if "deletionTimestamp" in self.obj["metadata"]:
            return self._delete()
        try:
            accepted = self.shared.accept(self.obj)
            again = self._step(accepted)
        except Refusal as refusal:
            again = self._refuse(refusal)
        self._write()
        return again

    # -- steps ---------------------------------------------------------------------------------

    def _step(self, accepted: Accepted) -> float | None:
        self._ensure_finalizer()
        self.status.accepted(self.shared.settings, accepted)
        step = decide(self._situation(accepted))
        if step.action in ("create", "rest") and self.status.phase != "Suspended":
            self._freshen()
            step = decide(self._situation(accepted))
        self._note_changes(accepted, step)
        return {
            "create": self._create,
            "watch": self._watch,
            "stop": self._stop,
            "remove": self._remove,
            "fail": self._fail,
            "wait": self._wait,
            "rest": self._rest,
            "succeed": self._succeed,
            "stopped": self._stopped,
        }[step.action](accepted, step)

    def _situation(self, accepted: Accepted) -> Situation:
        spec = accepted.job.spec
        return Situation(
            records=[
                Record(**self.status.record(i, group.stages, accepted.contents[i]))
                for i, group in enumerate(accepted.groups)
            ],
            attempts=self.attempts,
            suspend=spec.suspend,
            was_suspended=self.status.phase == "Suspended",
            finished=self.status.phase == "Succeeded",
            retry=self._asked_again(),
            max_failures=spec.retry.max_failures,
            retry_at=self.status.retry_at,
            now=self.now,
        )

    def _asked_again(self) -> bool:
        asked = self._annotation(RETRY)
        return asked is not None and asked != self.status.get("observedRetry")

    def _create(self, accepted: Accepted, step: Step) -> float | None:
        group = accepted.groups[step.group]
        pool = self._pool(accepted, step.group)
        fallback = self._fallback(pool)
        made = self.shared.creator.create(self.obj, accepted, group, step.number, pool, fallback)
        if self._asked_again():
            self.status.start_over(self._annotation(RETRY))
        self.status.awaiting(accepted, step)
        self._event("Normal", "Started", f"RayJob {made} runs {', '.join(group.stages)}", made)
        return _PENDING_SECONDS

    def _watch(self, accepted: Accepted, step: Step) -> float | None:
        assert step.attempt is not None
        if step.group >= len(accepted.groups):
            return self.shared.settings.poll_seconds  # of a spec that had more groups
        if self._is_silent(step.attempt) and self._vanished(step.attempt):
            return 0.0
        if self._asked_again():
            self.status.start_over(self._annotation(RETRY))
        self.status.active(accepted, step.attempt)
        if step.attempt.runs:
            self._poll(accepted, step.attempt)
            self.status.running(step.attempt)
        self._explain(accepted, step.attempt)
        return self.shared.settings.poll_seconds if step.attempt.runs else _PENDING_SECONDS

    def _stop(self, accepted: Accepted, step: Step) -> float | None:
        assert step.attempt is not None
        since = self.status.suspending()
        clusters = [g.cluster for g in accepted.groups if g.index == step.group]
        cluster = next(iter(clusters), accepted.job.spec.cluster)
        grace = cluster.kubernetes.termination_grace_seconds
        if not step.attempt.runs or self.now - since > grace + _QUIET_SECONDS:
            self.kube.delete(RAYJOB, step.attempt.name, self.namespace)
            return _STOPPING_SECONDS
        self._poll(accepted, step.attempt)
        try:
            self._dashboard(accepted, step.attempt).stop(step.attempt.name)
        except ClusterError as error:
            log.info("%s/%s: %s", self.namespace, self.name, error.message)
        return _STOPPING_SECONDS

    def _remove(self, accepted: Accepted, step: Step) -> float | None:
        assert step.attempt is not None
        log.warning("%s/%s: removing stray %s", self.namespace, self.name, step.attempt.name)
        self.kube.delete(RAYJOB, step.attempt.name, self.namespace)
        return _STOPPING_SECONDS

    def _fail(self, accepted: Accepted, step: Step) -> float | None:
        """An attempt has failed: count it once, and try again if that can help."""
        assert step.attempt is not None
        if self.status.counted(step):
            return self._finished(accepted)
        self._poll(accepted, step.attempt, last=True)
        cause = self._cause(step.attempt)
        retry = accepted.job.spec.retry
        failures = self.status.count_failure(accepted, step.attempt)
        if not cause.retryable or failures > retry.max_failures:
            self.status.failed(cause, failures, retry.max_failures)
            self._event("Warning", "Failed", cause.message, step.attempt.name)
            return self._finished(accepted)
        pause = backoff(failures, retry.backoff_seconds)
        self.status.retrying(cause, failures, retry.max_failures, pause)
        text = f"attempt {step.number} failed: {cause.message}; the next starts in {pause:.0f} s"
        self._event("Warning", "Retrying", text, step.attempt.name)
        return pause

    def _wait(self, accepted: Accepted, step: Step) -> float | None:
        return max(0.5, self.status.retry_at - self.now)

    def _rest(self, accepted: Accepted, step: Step) -> float | None:
        last = max(self.attempts, key=lambda a: (a.group, a.number), default=None)
        if last is not None and self.status.phase != "Suspended":
            self._poll(accepted, last, last=True)
        self.status.suspended(accepted, last)
        return None

    def _succeed(self, accepted: Accepted, step: Step) -> float | None:
        if self.status.phase != "Succeeded":
            for one in self.attempts:
                if one.group == len(accepted.groups) - 1 and one.outcome == "succeeded":
                    self._poll(accepted, one, last=True)
            self.status.succeeded(accepted, self.attempts)
            self._event("Normal", "Succeeded", "all stages are finished", "succeeded")
        return self._finished(accepted)

    def _stopped(self, accepted: Accepted, step: Step) -> float | None:
        assert step.attempt is not None
        if self.status.phase != "Stopped":
            self._poll(accepted, step.attempt, last=True)
            self.status.stopped(accepted, step.attempt)
        return self._finished(accepted)

    def _finished(self, accepted: Accepted) -> float | None:
        """Remove the object when its time has come; the run directory stays."""
        ttl = accepted.job.spec.ttl_seconds_after_finished
        if ttl is None or not self.status.completed:
            return None
        left = self.status.completed + ttl - self.now
        if left <= 0:
            self.kube.delete(ASTROJOB, self.name, self.namespace)
            return None
        return left

    def _refuse(self, refusal: Refusal) -> float | None:
        """Say why; what runs already goes on."""
        active = [a for a in self.attempts if a.outcome == "active"]
        again = _MISSING_SECONDS if refusal.passes else None
        if active:
            self.status.not_applied(refusal.reason, refusal.text)
            if active[0].runs:
                self.status.running(active[0])
            return self.shared.settings.poll_seconds
        self.status.refused(refusal)
        self._event("Warning", refusal.reason, refusal.text, str(self.status.generation))
        return again

    def _delete(self) -> float | None:
        """Stop Ray, leave the run directory, let go."""
        meta = self.obj["metadata"]
        if FINALIZER not in (meta.get("finalizers") or []):
            return None
        waited = self.now - statuses.seconds(meta["deletionTimestamp"])
        if not self.attempts:
            self._freshen()
        for one in self.attempts:
            if not one.deleting:
                self.kube.delete(RAYJOB, one.name, self.namespace)
        if self.attempts and waited < _DELETE_PATIENCE:
            return _STOPPING_SECONDS
        if self.attempts:
            names = ", ".join(a.name for a in self.attempts)
            text = f"{names} still there after {waited:.0f} s: does KubeRay's operator run?"
            self._event("Warning", "RayJobsLeft", text, "left")
        self._set_finalizers([f for f in meta["finalizers"] if f != FINALIZER])
        return None

    def _known_attempts(self) -> list[Attempt]:
        found = self.shared.store.rayjobs((self.namespace, self.name), self.uid)
        return [a for a in map(attempt, found) if a is not None]

    def _freshen(self) -> None:
        """Ask for the RayJobs themselves, before anything is done because there seem to be none.

        What the watches have seen may be older than what was made a moment ago, or by an operator
        that has just died; and two watches start one after the other. Attempts are asked for by
        name: a list by label makes the API server read every RayJob of the namespace, which takes
        seconds where there are thousands, for each of the jobs.
        """
        if self._fresh:
            return
        self._fresh = True
        known = {(a.group, a.number) for a in self.attempts}
        for group, recorded in enumerate(self._recorded()):
            numbers = sorted(n for g, n in known if g == group)
            for number in {*numbers, recorded} - {0}:
                self._ask_for(group, number)
            following = max([recorded, *numbers]) + 1
            while self._ask_for(group, following):
                following += 1
        self.attempts = self._known_attempts()

    def _recorded(self) -> list[int]:
        """The newest attempt that is known of each group, and 0 for the group after them.

        One that is not known yet is the next of its group, or the first of the next group: each is
        written down before another is made.
        """
        recorded = [int(r.get("attempt") or 0) for r in self.status.get("rayJobs") or []]
        groups = max([len(recorded), *(a.group + 1 for a in self.attempts)])
        return recorded + [0] * (groups + 1 - len(recorded))

    def _ask_for(self, group: int, number: int) -> bool:
        """Note an attempt as it is now; tells whether it is there."""
        name = attempt_name(self.name, group, number)
        try:
            found = self.kube.get(RAYJOB, name, self.namespace)
        except (Missing, NoSuchKind):  # the latter: KubeRay is not installed
            self.shared.store.drop_rayjob(
                {"metadata": {"namespace": self.namespace, "name": name, "labels": self._label}}
            )
            return False
        self.shared.store.put_rayjob(found)
        return True

    def _is_silent(self, one: Attempt) -> bool:
        """Whether nothing has been heard of an attempt for a while."""
        beats = one.runs and 0.0 < self.status.quiet_for() <= _QUIET_SECONDS
        since = self.shared.verified.setdefault(self.uid, self.now)
        return not beats and self.now - since > _QUIET_SECONDS

    def _vanished(self, one: Attempt) -> bool:
        """Whether a RayJob is gone although no watch told of it, as happens when one breaks."""
        self.shared.verified[self.uid] = self.now
        self._freshen()
        return one.name not in [a.name for a in self.attempts]

    # -- helpers -------------------------------------------------------------------------------

    def _note_changes(self, accepted: Accepted, step: Step) -> None:
        """Say so when a run goes on with an older spec than the object has."""
        active = step.attempt if step.action == "watch" else None
        known = step.group < len(accepted.groups)
        wanted = accepted.spec_hash(accepted.groups[step.group]) if active and known else ""
        if active and active.spec_hash and active.spec_hash != wanted:
            self.status.not_applied(
                "ChangeWaits",
                "the spec was changed while it runs; the change applies from the next attempt on: "
                f"`astroctl stop {self.name}`, then `astroctl resume {self.name}`",
            )
        else:
            self.status.applied()

    def _pool(self, accepted: Accepted, group: int) -> GPUNodePool | None:
        store = self.shared.store
        return accepting.pool_of(
            accepted.groups[group],
            store.pool,
            lambda: [p["metadata"]["name"] for p in store.pools()],
        )

    def _fallback(self, pool: GPUNodePool | None) -> GPUNodePool | None:
        """The pool that another names for when it cannot deliver, if there is one."""
        name = pool.spec.fallback if pool else None
        obj = self.shared.store.pool(name) if name else None
        return accepting.parse_pool(obj) if obj else None

    def _explain(self, accepted: Accepted, one: Attempt) -> None:
        """Whether it has what it needs, and what it waits for: at once when something about the
        RayJob has changed, else now and then."""
        before, when = self.shared.explained.get(self.uid, (None, 0.0))
        if before == one and self.now - when < _EXPLAIN_SECONDS:
            return
        self.shared.explained[self.uid] = (one, self.now)
        try:
            self._pool(accepted, one.group)
        except Refusal as refusal:
            self.status.waiting(refusal.reason, refusal.text)
            return
        pool = self.shared.store.pool(accepted.groups[one.group].cluster.pool or "")
        rayjob = self._rayjob(one)
        if rayjob is None:
            return
        group = accepted.groups[one.group]
        nodes = self.shared.nodes
        facts = observe(self.kube, accepted.job, group, rayjob, pool, nodes=nodes, now=self.now)
        self.status.capacity(explain(facts))

    def _cause(self, one: Attempt) -> Ending:
        error = self.status.driver_error(one)
        return ending_of(self.kube, self.namespace, one, self._rayjob(one), error)

    def _rayjob(self, one: Attempt) -> Object | None:
        found = self.shared.store.rayjobs((self.namespace, self.name), self.uid)
        return next((r for r in found if r["metadata"]["name"] == one.name), None)

    def _poll(self, accepted: Accepted, one: Attempt, *, last: bool = False) -> None:
        """Read the driver's account of itself, not more often than the settings say."""
        since = self.now - self.shared.polled.get(self.uid, 0.0)
        if not one.dashboard or (not last and since < self.shared.settings.poll_seconds):
            return
        self.shared.polled[self.uid] = self.now
        try:
            progress = self._dashboard(accepted, one).progress(one.name)
        except AstroError as error:
            log.debug("%s/%s: no progress: %s", self.namespace, self.name, error.message)
            return
        if progress:
            self.status.progress(progress)

    def _dashboard(self, accepted: Accepted, one: Attempt) -> Dashboard:
        token = self.shared.creator.token(accepted.job, self.uid)
        return self.shared.connect(one.dashboard, token)

    def _annotation(self, name: str) -> str | None:
        found = (self.obj["metadata"].get("annotations") or {}).get(name)
        return None if found is None else str(found)

    def _ensure_finalizer(self) -> None:
        found = self.obj["metadata"].get("finalizers") or []
        if FINALIZER not in found:
            self._set_finalizers([*found, FINALIZER])

    def _set_finalizers(self, wanted: list[str]) -> None:
        # The version that was seen goes along: finalizers of others must not be lost.
        meta = {"finalizers": wanted, "resourceVersion": self.obj["metadata"]["resourceVersion"]}
        try:
            self.obj = self.kube.patch(ASTROJOB, self.name, {"metadata": meta}, self.namespace)
        except Missing:
            return
        self.shared.store.put_newer_job(self.obj)

    def _event(self, kind: str, reason: str, message: str, key: str) -> None:
        log.info("%s/%s: %s: %s", self.namespace, self.name, reason, message)
        post(self.kube, self.obj, kind, reason, message, key=key, now=self.now)

    def _write(self) -> None:
        """Write the status if it changed."""
        patch = self.status.patch()
        if not patch:
            return
        try:
            made = self.kube.patch(
                ASTROJOB, self.name, {"status": patch}, self.namespace, subresource="status"
            )
        except Missing:
            self.shared.store.drop_job(self.obj)
            return
        self.shared.store.put_newer_job(made)
