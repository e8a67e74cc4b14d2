"""A real HTTP server on loopback that answers as it is told to."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, dict[str, str], bytes]


class Service:
    """Answers every POST with what ``answer`` makes of its body.

    Attributes:
        answer: From a request's body to status, headers and content.
        requests: Path, body and authorization of each request.
        at_once: The most requests that were under way together.
        delay: Seconds that an answer takes.
    """

    def __init__(self) -> None:
        self.answer: Callable[[dict[str, Any]], Answer] = lambda body: (500, {}, b"")
        self.requests: list[tuple[str, dict[str, Any], str | None]] = []
        self.at_once, self.delay = 0, 0.0
        self._busy, self._lock = 0, threading.Lock()
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                service.begin(self.path, body, self.headers.get("authorization"))
                status, headers, content = service.answer(body)
                service.end()
                with suppress(ConnectionError):  # a client that has given up hangs up
                    self.send_response(status)
                    for name, value in headers.items():
                        self.send_header(name, value)
                    if "transfer-encoding" not in headers:
                        self.send_header("content-length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            request_queue_size = 128  # connections that come at once are not let wait a second

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def begin(self, path: str, body: dict[str, Any], key: str | None) -> None:
        """A request comes."""
        with self._lock:
            self.requests.append((path, body, key))
            self._busy += 1
            self.at_once = max(self.at_once, self._busy)
        time.sleep(self.delay)

    def end(self) -> None:
        """It is answered."""
        with self._lock:
            self._busy -= 1

    def close(self) -> None:
        """Hang up."""
        self.server.shutdown()
        self.server.server_close()


def reply(data: Any) -> Answer:
    """JSON with status 200."""
    return 200, {"content-type": "application/json"}, json.dumps(data).encode()


def chat(text: str, **more: Any) -> Answer:
    """A chat completion."""
    return reply(
        {
            "choices": [{"message": {"content": text}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 20, "completion_tokens": 5},
            **more,
        }
    )


def stem(body: dict[str, Any]) -> str:
    """The question that a chat asks."""
    return str(body["messages"][-1]["content"]).splitlines()[0]


def right_half(body: dict[str, Any]) -> Answer:
    """A steady service: the answer depends on the question's length alone."""
    return chat("AB"[len(stem(body)) % 2], model="m-1", system_fingerprint="f1")


if __name__ == "__main__":
    running = Service()
    running.answer, running.delay = right_half, 0.02
    print(running.url, flush=True)
    threading.Event().wait()
