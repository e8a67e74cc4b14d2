from __future__ import annotations

import http.server
import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from astroctl.kube.client import Kube
from astroctl.kube.forward import Forward, forward
from astroctl.kube.resources import POD
from astrosage.errors import ConflictError
from tests.kube.kubelet import Kubelet
from tests.kube.objects import eventually

BODY = os.urandom(700_000)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def do_POST(self) -> None:
        size = int(self.headers["Content-Length"])
        got = self.rfile.read(size)
        self.send_response(200)
        self.send_header("Content-Length", str(len(got)))
        self.end_headers()
        self.wfile.write(got)

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
        pass


@pytest.fixture
def server() -> Iterator[int]:
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    yield running.server_port
    running.shutdown()
    running.server_close()
    thread.join()


def make_pod(kube: Kube, namespace: str, name: str = "pod") -> None:
    container = {"name": "main", "image": "any", "command": ["sleep", "300"]}
    meta = {"name": name, "namespace": namespace}
    kube.create(
        {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {"containers": [container]}}
    )
    eventually(lambda: kube.get(POD, name, namespace)["status"]["phase"] == "Running")


def test_requests_go_through_one_after_the_other_and_at_once(
    kube: Kube, namespace: str, kubelet: Kubelet, server: int
) -> None:
    kubelet.ports["pod", 8000] = server
    make_pod(kube, namespace)
    with forward(kube, namespace, "pod", 8000) as port:
        url = f"http://127.0.0.1:{port}/"
        with httpx.Client(trust_env=False) as client:
            for _ in range(3):
                assert client.get(url).content == BODY
            assert client.post(url, content=BODY).content == BODY
        with ThreadPoolExecutor(5) as pool:
            answers = list(pool.map(lambda _: httpx.get(url, trust_env=False).content, range(10)))
        assert answers == [BODY] * 10
    with pytest.raises(httpx.ConnectError):
        httpx.get(url, trust_env=False)


def test_a_pod_that_is_replaced_is_found_again(
    kube: Kube, namespace: str, kubelet: Kubelet, server: int
) -> None:
    kubelet.ports["second", 8000] = server
    said: list[str] = []
    current = ["first"]
    make_pod(kube, namespace, "second")
    with forward(kube, namespace, lambda: current[0], 8000, say=said.append) as port:
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"http://127.0.0.1:{port}/", trust_env=False)
        assert any("first" in line for line in said)
        current[0] = "second"
        assert httpx.get(f"http://127.0.0.1:{port}/", trust_env=False).status_code == 200


def test_a_port_of_the_pod_where_nobody_listens(
    kube: Kube, namespace: str, kubelet: Kubelet
) -> None:
    make_pod(kube, namespace)
    with forward(kube, namespace, "pod", 9) as port, pytest.raises(httpx.HTTPError):
        httpx.get(f"http://127.0.0.1:{port}/", trust_env=False)


def test_closing_ends_connections_that_are_open(
    kube: Kube, namespace: str, kubelet: Kubelet, server: int
) -> None:
    kubelet.ports["pod", 8000] = server
    make_pod(kube, namespace)
    opened = Forward(kube, namespace, "pod", 8000).start()
    with socket.create_connection(("127.0.0.1", opened.port)) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(10)
        opened.close()
        client.settimeout(5)
        while client.recv(100_000):
            pass
    assert not opened._threads


def test_a_port_here_that_is_in_use(kube: Kube, namespace: str, server: int) -> None:
    with pytest.raises(ConflictError, match=str(server)):
        Forward(kube, namespace, "pod", 8000, server)
