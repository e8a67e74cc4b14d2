"""Watches that go on: list, then watch from there, and again whatever happens in between."""

from __future__ import annotations

import contextlib
import json
import random
import time
from collections.abc import Callable, Iterator
from typing import Any

from astroctl.kube.client import Kube, Object
from astroctl.kube.errors import ApiError, Gone, Unauthorized, explain
from astroctl.kube.resources import Resource
from astrosage.errors import AstroError

# The server ends a watch after this time; reading waits a little longer, so that a connection that
# died without a word is noticed.
_WATCH_SECONDS = 120
_GRACE_SECONDS = 15.0
_LONGEST_PAUSE = 30.0
_MOMENT = 0.5


def watch(
    kube: Kube,
    kind: Resource,
    namespace: str | None = None,
    *,
    labels: str | None = None,
    fields: str | None = None,
    stop: Callable[[], bool] = lambda: False,
    patience: float | None = None,
    trouble: Callable[[AstroError], None] | None = None,
) -> Iterator[tuple[str, Object]]:
    """``(type, object)`` of all that is and all that changes: ADDED, MODIFIED, DELETED.

    After a break everything is listed again: objects come as MODIFIED that may not have changed,
    and those that went in between come as DELETED.

    Args:
        kube: The cluster.
        kind: What to watch.
        namespace: Only there.
        labels: Label selector.
        fields: Field selector.
        stop: Asked between events; true ends the watch.
        patience: Give up when the server could not be reached for so many seconds; None never.
        trouble: Told once of each break that lasts longer than a moment.

    Raises:
        ApiError: When patience is over.
        Forbidden, NoSuchKind: At once.
    """
    known: dict[str, Object] = {}
    failing_since: float | None = None
    pause, told = 0.2, False
    while not stop():
        try:
            version, items = _list(kube, kind, namespace, labels, fields)
            yield from _relisted(known, items)
            failing_since, pause, told = None, 0.2, False
            for change, obj in _changes(kube, kind, namespace, labels, fields, version, stop):
                uid = obj["metadata"]["uid"]
                if change == "DELETED":
                    known.pop(uid, None)
                else:
                    known[uid] = obj
                yield change, obj
        except Gone:
            continue
        except (ApiError, Unauthorized) as error:
            if not error.retryable and not isinstance(error, Unauthorized):
                raise
            if isinstance(error, Unauthorized):
                _renew(kube)
            failing_since = failing_since or time.monotonic()
            if patience is not None and time.monotonic() - failing_since > patience:
                raise
            if trouble is not None and pause > _MOMENT and not told:
                trouble(error)
                told = True
            time.sleep(pause * random.uniform(0.5, 1.5))
            pause = min(2 * pause, _LONGEST_PAUSE)


def _renew(kube: Kube) -> None:
    """New credentials, if there are any; a kubeconfig that is just being written is no trouble."""
    with contextlib.suppress(AstroError):
        kube.renew()


def _list(
    kube: Kube, kind: Resource, namespace: str | None, labels: str | None, fields: str | None
) -> tuple[str, dict[str, Object]]:
    page = kube.request("GET", kind.path(namespace), labelSelector=labels, fieldSelector=fields)
    items = {
        item["metadata"]["uid"]: {"apiVersion": kind.api_version, "kind": kind.kind, **item}
        for item in page.get("items") or []
    }
    return page["metadata"]["resourceVersion"], items


def _relisted(known: dict[str, Object], items: dict[str, Object]) -> Iterator[tuple[str, Object]]:
    for uid in [u for u in known if u not in items]:
        yield "DELETED", known.pop(uid)
    for uid, item in items.items():
        before = known.get(uid)
        known[uid] = item
        if before is None:
            yield "ADDED", item
        elif before["metadata"]["resourceVersion"] != item["metadata"]["resourceVersion"]:
            yield "MODIFIED", item


def _changes(
    kube: Kube,
    kind: Resource,
    namespace: str | None,
    labels: str | None,
    fields: str | None,
    version: str,
    stop: Callable[[], bool],
) -> Iterator[tuple[str, Object]]:
    """Changes from a version on, over one or more requests; ends with :class:`Gone`."""
    from urllib3.exceptions import HTTPError

    while not stop():
        answer = kube.request(
            "GET",
            kind.path(namespace),
            stream=True,
            timeout=(5.0, _WATCH_SECONDS + _GRACE_SECONDS),
            watch="true",
            resourceVersion=version,
            allowWatchBookmarks="true",
            timeoutSeconds=_WATCH_SECONDS,
            labelSelector=labels,
            fieldSelector=fields,
        )
        try:
            for line in _lines(answer):
                event = json.loads(line)
                obj: dict[str, Any] = event["object"]
                if event["type"] == "ERROR":
                    raise explain(int(obj.get("code") or 500), line_of(obj), f"WATCH {kind.plural}")
                version = obj["metadata"]["resourceVersion"]
                if event["type"] != "BOOKMARK":
                    yield event["type"], obj
                if stop():
                    return
        except (HTTPError, OSError, ValueError) as error:
            raise ApiError(f"the watch of {kind.plural} broke: {error}", "try again") from None
        finally:
            answer.close()
            answer.release_conn()


def line_of(status: dict[str, Any]) -> str:
    """A Status object as text."""
    return json.dumps(status)


def _lines(answer: Any) -> Iterator[bytes]:
    rest = b""
    for piece in answer.stream(amt=None, decode_content=True):
        *lines, rest = (rest + piece).split(b"\n")
        yield from (line for line in lines if line.strip())
