"""A proxy before the API server that injects faults by rule, and counts what is asked.

Faults come at the network's level, so that clients, the official library and kopf meet them as
they would in a cluster.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import ssl
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml
from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout, TCPConnector, web

from tests.kube.loops import LoopServer
from tests.kube.plane import OwnPlane, write_kubeconfig

_REASONS = {
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    410: "Expired",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "upgrade", "host", "content-length"}
_NAMES = re.compile(r"(?<=/namespaces/)[^/]+")


@dataclass
class Rule:
    """A fault, and which requests meet it.

    Attributes:
        path: Regular expression that the path with its query contains.
        method: Regular expression of the whole method.
        count: How many requests meet it; None: all.
        skip: How many are let through before.
        status: Answered instead of asking the server; 410 to a watch comes as an event in it.
        retry_after: Seconds, sent with the status.
        delay: Seconds before anything else.
        cut: ``before``: the connection is cut and nothing asked; ``after``: the server does what
            is asked, but the answer is lost; ``middle``: after the first piece of the answer.
        hits: How many requests have met it.
    """

    path: str = ""
    method: str = ".*"
    count: int | None = None
    skip: int = 0
    status: int | None = None
    retry_after: int | None = None
    delay: float = 0.0
    cut: Literal["before", "after", "middle"] | None = None
    hits: int = 0

    def meets(self, method: str, path: str) -> bool:
        """Whether a request meets the fault; counts it."""
        if not (re.fullmatch(self.method, method) and re.search(self.path, path)):
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.count is not None and self.hits >= self.count:
            return False
        self.hits += 1
        return True


@dataclass
class Call:
    """One request.

    Attributes:
        method: HTTP method.
        path: With its query.
        agent: The client's User-Agent.
        status: What was answered; 0: nothing.
        at: When (monotonic seconds).
    """

    method: str
    path: str
    agent: str = ""
    status: int = 0
    at: float = field(default_factory=time.monotonic)

    @property
    def is_write(self) -> bool:
        """Whether it changes something."""
        return self.method not in ("GET", "HEAD")

    @property
    def kind(self) -> str:
        """Method and path without names, for counting."""
        path = self.path.partition("?")[0]
        verb = "WATCH" if "watch=true" in self.path else self.method
        return f"{verb} {_NAMES.sub('*', path)}"


class Faults(LoopServer):
    """The proxy.

    Args:
        plane: Before whose API server it stands.

    Attributes:
        rules: The faults; the first that meets a request is taken.
        calls: All requests so far.
        before: Called with each request before it goes on, in the proxy's thread.
        after: Called with each request once the server has done what was asked.
    """

    def __init__(self, plane: OwnPlane) -> None:
        super().__init__("faults")
        self._plane = plane
        self._token = secrets.token_urlsafe()
        self.rules: list[Rule] = []
        self.calls: list[Call] = []
        self.before: Callable[[Call], None] = lambda call: None
        self.after: Callable[[Call], None] = lambda call: None
        self._sessions: dict[bool, ClientSession] = {}

    def add(self, path: str = "", **options: Any) -> Rule:
        """Add a fault (see :class:`Rule`)."""
        rule = Rule(path, **options)
        self.rules.append(rule)
        return rule

    def clear(self) -> None:
        """No faults any more, and nothing counted."""
        self.rules.clear()
        self.calls.clear()

    def count(self, agent: str = "") -> Counter[str]:
        """How often each kind of request came, from clients whose User-Agent contains a text."""
        return Counter(c.kind for c in list(self.calls) if agent in c.agent)

    def kubeconfig(self, path: Path, like: Path | None = None, namespace: str = "default") -> Path:
        """Write a kubeconfig that leads through here.

        Args:
            path: Where.
            like: A kubeconfig with a token, whose user is meant; default: the administrator.
            namespace: Of its context.
        """
        token = self._token
        if like is not None:
            data = yaml.safe_load(like.read_text())
            token = data["users"][0]["user"]["token"]
            namespace = data["contexts"][0]["context"]["namespace"]
        cluster = {"server": f"http://{self.address}"}
        return write_kubeconfig(path, cluster, {"token": token}, namespace)

    def routes(self, app: web.Application) -> None:
        app.router.add_route("*", "/{path:.*}", self._answer)

    async def closing(self) -> None:
        for session in self._sessions.values():
            await session.close()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        call = Call(request.method, request.path_qs, request.headers.get("User-Agent", ""))
        self.calls.append(call)
        self.before(call)
        rule = next((r for r in self.rules if r.meets(call.method, call.path)), Rule())
        if rule.delay:
            await asyncio.sleep(rule.delay)
        if rule.cut == "before":
            return self._cut(request)
        if rule.status is not None:
            call.status = rule.status
            return _refusal(rule, call)
        try:
            return await self._forward(request, call, rule)
        except (ClientError, ConnectionError, TimeoutError):
            return self._cut(request)

    async def _forward(self, request: web.Request, call: Call, rule: Rule) -> web.StreamResponse:
        headers = {k: v for k, v in request.headers.items() if k.lower() not in _HOP_BY_HOP}
        is_admin = headers.get("Authorization") == f"Bearer {self._token}"
        if is_admin:
            del headers["Authorization"]
        async with self._session(is_admin).request(
            request.method,
            f"{self._plane.server}{request.path_qs}",
            headers=headers,
            # Even an empty body would be given a content type, which discovery refuses.
            data=await request.read() or None,
            skip_auto_headers=("Accept", "Content-Type", "User-Agent"),
            timeout=ClientTimeout(total=None, connect=5),
        ) as answer:
            call.status = answer.status
            self.after(call)
            if rule.cut == "after":
                return self._cut(request)
            return await self._hand_on(request, answer, rule)

    async def _hand_on(
        self, request: web.Request, answer: ClientResponse, rule: Rule
    ) -> web.StreamResponse:
        dropped = {*_HOP_BY_HOP, "content-encoding"}
        kept = {k: v for k, v in answer.headers.items() if k.lower() not in dropped}
        response = web.StreamResponse(status=answer.status, headers=kept)
        await response.prepare(request)
        async for piece in answer.content.iter_any():
            await response.write(piece)
            if rule.cut == "middle":
                return self._cut(request)
        await response.write_eof()
        return response

    def _session(self, is_admin: bool) -> ClientSession:
        if is_admin not in self._sessions:
            tls = ssl.create_default_context(cafile=self._plane.authority)
            if is_admin:
                tls.load_cert_chain(*self._plane.admin)
            connector = TCPConnector(ssl=tls, limit=0)
            self._sessions[is_admin] = ClientSession(connector=connector)
        return self._sessions[is_admin]

    @staticmethod
    def _cut(request: web.Request) -> web.StreamResponse:
        if request.transport is not None:
            request.transport.abort()
        return web.Response()


def _refusal(rule: Rule, call: Call) -> web.StreamResponse:
    assert rule.status is not None
    status = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": f"injected: {_REASONS.get(rule.status, 'Unknown')}",
        "reason": _REASONS.get(rule.status, "Unknown"),
        "details": {"name": "injected"},
        "code": rule.status,
    }
    if rule.status == 410 and "watch=true" in call.path:
        event = json.dumps({"type": "ERROR", "object": status}) + "\n"
        return web.Response(text=event, content_type="application/json")
    headers = {} if rule.retry_after is None else {"Retry-After": str(rule.retry_after)}
    return web.json_response(status, status=rule.status, headers=headers)
