"""A run's logs: the driver's from the Ray head, over all attempts, while the cluster has it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from astroctl.kube.client import Kube, Object
from astroctl.kube.errors import ApiError, Forbidden, Missing, NoSuchKind
from astroctl.kube.resources import EVENT, POD, RAYJOB
from astroctl.render.names import LABEL_ATTEMPT, LABEL_GROUP, LABEL_JOB, RAY_CONTAINER
from astroctl.runs.registry import Record
from astroctl.targets.jobs_api import JobsApi
from astroctl.targets.kubernetes.dashboard import dashboard, head_pod, ray_token
from astrosage.errors import AstroError

_HEAD_LINES = 200


class DriverLogs:
    """``name -> text so far`` of a run's drivers; called again and again.

    The newest attempt's driver is read through its dashboard. What was read of earlier attempts is
    kept, so that a follower goes on with the next one. Where no driver has started, the head pod's
    log and what happened to its objects are shown.

    Args:
        kube: The cluster.
        record: The run.
        stored: Reads the run directory's log files, for when no cluster has the output.
    """

    def __init__(self, kube: Kube, record: Record, stored: Callable[[], Mapping[str, str]]) -> None:
        self._kube, self._record, self._stored = kube, record, stored
        self._texts: dict[str, str] = {}
        self._events: dict[str, str] = {}
        self._stack = contextlib.ExitStack()
        self._open: tuple[str, JobsApi] | None = None
        self._token: str | None = None
        self._first: str | None = None
        self._why = ""

    def __call__(self) -> Mapping[str, str]:
        """What there is now."""
        newest = self._newest()
        if newest is None:
            return self._texts or self._from_directory()
        name = newest["metadata"]["name"]
        self._first = self._first or name
        cluster = (newest.get("status") or {}).get("rayClusterName")
        text = self._driver(name, cluster) if cluster else None
        if text is not None:
            header = "" if name == self._first else f"{_attempt(newest)} ({name})"
            self._texts[header] = text
        elif not self._texts:
            if _is_over(newest):
                return self._from_directory()
            return self._before_driver(newest, cluster)
        return self._texts

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

    def _driver(self, job: str, cluster: str) -> str | None:
        try:
            api = self._connected(cluster)
            text = api.logs(job)
            return text if text or api.get(job) is not None else None
        except AstroError as error:
            self._why = error.message
            self.close()
            return None

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

    def _before_driver(self, rayjob: Object, cluster: str | None) -> Mapping[str, str]:
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
    except (ApiError, Missing, AstroError):
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
