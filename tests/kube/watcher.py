"""A thread that sees every object of a kind, at once and again after each change."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable
from typing import Any

from urllib3.exceptions import HTTPError

from astroctl.kube.client import Kube, Object
from astroctl.kube.resources import Resource
from astrosage.errors import AstroError

_PAUSE_SECONDS = 0.2


class Watcher(threading.Thread):
    """Calls ``handle(type, object)`` for what is there and for what changes, until stopped.

    It goes on through restarts of the API server, and then sees everything once more.
    """

    def __init__(
        self,
        kube: Kube,
        kind: Resource,
        namespace: str | None,
        handle: Callable[[str, Object], None],
        labels: str | None = None,
    ) -> None:
        super().__init__(name=f"watch {kind.plural}", daemon=True)
        self._kube, self._kind, self._namespace = kube, kind, namespace
        self._handle, self._labels = handle, labels
        self._ended = threading.Event()
        self._answer: Any = None

    def run(self) -> None:
        while not self._ended.is_set():
            try:
                self._once()
            except (AstroError, HTTPError, OSError, ValueError):
                self._ended.wait(_PAUSE_SECONDS)

    def stop(self) -> None:
        """End it, also while it waits for the next change."""
        self._ended.set()
        while self.is_alive():
            if (answer := self._answer) is not None:
                # It may just have been closed.
                with contextlib.suppress(ValueError, OSError, RuntimeError):
                    answer.shutdown()
            self.join(0.1)

    def _once(self) -> None:
        path = self._kind.path(self._namespace)
        page = self._kube.request("GET", path, labelSelector=self._labels)
        for item in page.get("items") or []:
            self._tell("ADDED", item)
        version = page["metadata"]["resourceVersion"]
        self._answer = self._kube.request(
            "GET",
            path,
            stream=True,
            timeout=(5.0, 305.0),
            watch="true",
            resourceVersion=version,
            timeoutSeconds=300,
            labelSelector=self._labels,
        )
        try:
            rest = b""
            for piece in self._answer.stream(amt=None, decode_content=True):
                *lines, rest = (rest + piece).split(b"\n")
                for line in filter(None, lines):
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        return
                    self._tell(event["type"], event["object"])
        finally:
            answer, self._answer = self._answer, None
            answer.close()
            answer.release_conn()

    def _tell(self, change: str, item: Object) -> None:
        if not self._ended.is_set():
            kind = {"apiVersion": self._kind.api_version, "kind": self._kind.kind}
            self._handle(change, {**kind, **item})
