"""A run's logs: the driver's from the Ray head, over all attempts, while the cluster has it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from astroctl.kube.client import Kube, Object
from astroctl.kube.errors import Forbidden, NoSuchKind
from astroctl.kube.resources import EVENT, POD, RAYJOB
from astroctl.render.names import LABEL_ATTEMPT, LABEL_GROUP, LABEL_JOB, RAY_CONTAINER
from astroctl.runs.registry import Record
from astroctl.targets.jobs_api import JobsApi
from astroctl.targets.kubernetes.dashboard import dashboard, head_pod, ray_token
from astrosage.errors import AstroError

_HEAD_LINES = 200


@dataclass(frozen=True)
class _Followed:
    """An attempt: Ray's submission id, and the RayCluster that runs it."""

    job: str
    cluster: str


class DriverLogs:
    """``name -> text so far`` of a run's drivers; called again and again.

    The newest attempt's driver is read through its dashboard. What was read of earlier attempts is
    kept, so that a follower goes on with the next one. Where no driver has started, the head pod's
    log and what happened to its objects are shown.

    Args:
        kube: The cluster.
        record: The run.
        stored: Reads the run directory's log files, for when no cluster has the output.
        tell: Told why a driver that runs cannot be read.
    """

    def __init__(
        self,
        kube: Kube,
        record: Record,
        stored: Callable[[], Mapping[str, str]],
        tell: Callable[[str], None],
    ) -> None:
        self._kube, self._record, self._stored, self._tell = kube, record, stored, tell
        self._texts: dict[str, str] = {}
        self._events: dict[str, str] = {}
        self._stack = contextlib.ExitStack()
        self._open: tuple[str, JobsApi] | None = None
        self._token: str | None = None
        self._followed: _Followed | None = None
        self._headers: dict[str, str] = {}
        self._why, self._told = "", False

    def __call__(self) -> Mapping[str, str]:
        """What there is now."""
        newest = self._newest()
        if newest is None:
            return self._texts or self._from_directory()
        status = newest.get("status") or {}
        followed = _Followed(newest["metadata"]["name"], status.get("rayClusterName") or "")
        if self._followed is not None and followed != self._followed:
            # What it said last, while its cluster is still there.
            self._read(self._followed)
        if self._followed is None or followed.job != self._followed.job:
            first = self._followed is None
            self._headers[followed.job] = "" if first else f"{_attempt(newest)} ({followed.job})"
        self._followed = followed
        self._read(followed)
        if self._texts:
            return self._texts
        if _is_over(newest):
            return self._from_directory()
        if self._why and status.get("jobDeploymentStatus") == "Running" and not self._told:
            self._told = True
            self._tell(f"the driver's output cannot be read: {self._why}")
        return self._before_driver(newest, followed.cluster)

    def close(self) -> None:
        """End the connection to the head."""
        self._stack.close()
        self._open = None

    def _newest(self) -> Object | None:
        labels = f"{LABEL_JOB}={self._record.name}"
        try:
            found = self._kube.list(RAYJOB, self._record.namespace, labels=labels)
        except (Forbidden, NoSuchKind):
            return None
        return max(found, key=_order, default=None)

    def _read(self, followed: _Followed) -> None:
        """Keep what a driver has said so far; what was read before stays if it is gone."""
        if not followed.cluster:
            return
        try:
            api = self._connected(followed.cluster)
            text = api.logs(followed.job)
            if text or api.get(followed.job) is not None:
                self._texts[self._headers[followed.job]] = text or ""
        except AstroError as error:
            self._why = error.message
            self.close()

    def _connected(self, cluster: str) -> JobsApi:
        if self._open is None or self._open[0] != cluster:
            self.close()
            namespace = self._record.namespace
            if self._token is None:
                self._token = ray_token(self._kube, namespace, self._record.name)
            opened = dashboard(self._kube, namespace, cluster, self._token)
            self._open = (cluster, self._stack.enter_context(opened))
        return self._open[1]

    def _from_directory(self) -> Mapping[str, str]:
        """The stages' files; the reason why the driver could not be read goes along."""
        try:
            return self._stored()
        except AstroError as error:
            if self._why:
                error.message = f"{error.message} (and of the Ray head: {self._why})"
            raise

    def _before_driver(self, rayjob: Object, cluster: str) -> Mapping[str, str]:
        """The head pod's log and events; both only grow."""
        found: dict[str, str] = {}
        objects = [rayjob["metadata"]["name"], *([cluster] if cluster else [])]
        pod = head_pod(self._kube, self._record.namespace, cluster) if cluster else None
        if pod is not None:
            objects.append(pod["metadata"]["name"])
        for event in events_of(self._kube, self._record.namespace, objects):
            about = event["involvedObject"]
            line = f"{about['kind']}/{about['name']}: {event.get('reason')}: "
            self._events.setdefault(event["metadata"]["uid"], line + str(event.get("message")))
        if self._events:
            found["events"] = "\n".join(self._events.values()) + "\n"
        if pod is not None:
            name = pod["metadata"]["name"]
            text = pod_log(self._kube, self._record.namespace, name)
            if text:
                found[f"head pod {name}"] = text
        return found


def pod_log(kube: Kube, namespace: str, pod: str, container: str = RAY_CONTAINER) -> str:
    """The first lines of a container's log, as far as they may and can be read."""
    try:
        answer = kube.request(
            "GET",
            POD.path(namespace, pod, "log"),
            stream=True,
            container=container,
            limitBytes=_HEAD_LINES * 1000,
        )
    except AstroError:
        return ""
    try:
        return str(answer.read().decode(errors="replace"))
    finally:
        answer.release_conn()


def events_of(kube: Kube, namespace: str, names: list[str]) -> list[Object]:
    """What happened to the objects of these names, oldest first; nothing where it may not be seen.

    One request for each: events cannot be selected by several names.
    """
    found: list[Object] = []
    for name in names:
        with contextlib.suppress(Forbidden, NoSuchKind):
            found += kube.list(EVENT, namespace, fields=f"involvedObject.name={name}")
    return sorted(found, key=lambda e: str(e.get("lastTimestamp") or e.get("eventTime") or ""))


def _order(rayjob: Object) -> tuple[int, int]:
    labels: dict[str, Any] = rayjob["metadata"].get("labels") or {}
    return int(labels.get(LABEL_GROUP) or 0), int(labels.get(LABEL_ATTEMPT) or 0)


def _attempt(rayjob: Object) -> str:
    group, attempt = _order(rayjob)
    return f"attempt {attempt} of group {group}"


def _is_over(rayjob: Object) -> bool:
    return (rayjob.get("status") or {}).get("jobDeploymentStatus") in ("Complete", "Failed")
