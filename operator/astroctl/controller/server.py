"""The operator's own pages: liveness, readiness, metrics. Plain HTTP, inside the cluster."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Page = Callable[[], tuple[int, str, bytes]]


class Server:
    """Serves pages on a port, in a thread.

    Args:
        port: The port; 0 takes a free one.
        pages: Path to a function that gives status, content type and body.
        host: The interface; all of them in a pod, since the kubelet asks from outside.
    """

    def __init__(self, port: int, pages: dict[str, Page], host: str = "0.0.0.0") -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                page = pages.get(self.path.partition("?")[0])
                status, kind, body = page() if page else (404, "text/plain", b"not found\n")
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                """Probes every few seconds are no news."""

        self._server = ThreadingHTTPServer((host, port), Handler)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


def check(ok: Callable[[], bool]) -> Page:
    """A page that says whether something holds, by its status."""

    def page() -> tuple[int, str, bytes]:
        good = ok()
        return (200, "text/plain", b"ok\n") if good else (503, "text/plain", b"not ready\n")

    return page
