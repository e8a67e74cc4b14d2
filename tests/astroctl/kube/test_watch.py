from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from astroctl.kube import resources as kinds
from astroctl.kube.client import Kube
from astroctl.kube.errors import ApiError, Forbidden
from astroctl.kube.watch import watch
from tests.astroctl.kube.test_client import config_map

Seen = queue.Queue[tuple[str, str, str]]


@pytest.fixture
def seen(kube: Kube, namespace: str) -> Iterator[Seen]:
    """Changes of config maps of the test's namespace, as a watch tells them."""
    found: Seen = queue.Queue()
    over = threading.Event()

    def look() -> None:
        for change, obj in watch(kube, kinds.CONFIGMAP, namespace, stop=over.is_set):
            if obj["metadata"]["name"].startswith("w"):
                found.put((change, obj["metadata"]["name"], (obj.get("data") or {}).get("n", "")))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    yield found
    over.set()
    # One more change wakes the watch, which then sees that it is over.
    kube.create(config_map("w-end", namespace))
    thread.join(20)
    assert not thread.is_alive()


def expect(seen: Seen, *changes: tuple[str, str, str], timeout: float = 60) -> None:
    for change in changes:
        assert seen.get(timeout=timeout) == change


def test_what_is_there_then_what_changes(kube: Kube, namespace: str, seen: Seen) -> None:
    kube.create(config_map("w1", namespace, n="1"))
    expect(seen, ("ADDED", "w1", "1"))
    kube.patch(kinds.CONFIGMAP, "w1", {"data": {"n": "2"}}, namespace)
    kube.delete(kinds.CONFIGMAP, "w1", namespace)
    expect(seen, ("MODIFIED", "w1", "2"), ("DELETED", "w1", "2"))


def test_a_restarted_server_loses_nothing(
    kube: Kube, namespace: str, seen: Seen, own_plane: Any
) -> None:
    kube.create(config_map("w1", namespace, n="1"))
    kube.create(config_map("w2", namespace, n="1"))
    expect(seen, ("ADDED", "w1", "1"), ("ADDED", "w2", "1"))
    own_plane.restart()
    kube.patch(kinds.CONFIGMAP, "w1", {"data": {"n": "2"}}, namespace)
    kube.delete(kinds.CONFIGMAP, "w2", namespace)
    kube.create(config_map("w3", namespace, n="1"))
    got = {seen.get(timeout=90) for _ in range(3)}
    assert got == {("MODIFIED", "w1", "2"), ("DELETED", "w2", "1"), ("ADDED", "w3", "1")}


def test_patience_ends(kube: Kube, namespace: str, own_plane: Any) -> None:
    own_plane.stop_api()
    try:
        with pytest.raises(ApiError, match="cannot be reached"):
            next(watch(kube, kinds.CONFIGMAP, namespace, patience=1.0))
    finally:
        own_plane.start_api()


def test_what_is_forbidden_is_told_at_once(user: Any, namespace: str) -> None:
    nobody = Kube.connect(kubeconfig=str(user("nobody")))
    with pytest.raises(Forbidden):
        next(watch(nobody, kinds.CONFIGMAP, namespace))
