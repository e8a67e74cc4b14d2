"""A small HTTP server with a script: for clouds whose emulator there is none of."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, Any, dict[str, str]]
Route = Callable[[str, str, Any, dict[str, str]], Answer]


class JsonServer:
    """Answers every request by a function of method, path, body and headers.

    Attributes:
        seen: Method, path and body of each request.
    """

    def __init__(self, route: Route) -> None:
        self.route = route
        self.seen: list[tuple[str, str, Any]] = []
        self.faults: list[Answer] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                raw = self.rfile.read(length)
                body = json.loads(raw) if raw[:1] == b"{" else raw.decode()
                outer.seen.append((self.command, self.path, body))
                headers = {k.lower(): v for k, v in self.headers.items()}
                fault = outer.faults.pop(0) if outer.faults else None
                status, data, more = fault or outer.route(self.command, self.path, body, headers)
                text = data if isinstance(data, bytes) else json.dumps(data).encode()
                text = text if data is not None else b""
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", **more}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def do_GET(self) -> None:
                self._answer()

            def do_POST(self) -> None:
                self._answer()

            def do_PUT(self) -> None:
                self._answer()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        """Stop it."""
        self._server.shutdown()
        self._server.server_close()
