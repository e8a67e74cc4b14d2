"""An aiohttp server in a thread of its own, which leaves nothing open when it ends."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from aiohttp import web

from tests.kube.processes import free_port

T = TypeVar("T")
_LAST_WORDS_SECONDS = 0.1


class LoopServer:
    """Serves an application on loopback.

    Args:
        name: Of the thread.
        tls: For encrypted connections.
    """

    def __init__(self, name: str, tls: ssl.SSLContext | None = None) -> None:
        self.port = free_port()
        self._tls = tls
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name=name, daemon=True)
        self._runner: web.AppRunner | None = None

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    def routes(self, app: web.Application) -> None:
        """Add what is served."""
        raise NotImplementedError

    async def closing(self) -> None:
        """Close what else was opened in the loop."""

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()
        self.do(self._begin()).result(10)

    def stop(self) -> None:
        """End it, and whatever is under way."""
        self.do(self._finish()).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()

    def do(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Run something in the server's loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    async def _begin(self) -> None:
        app = web.Application(client_max_size=64 * 2**20)
        self.routes(app)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=self._tls).start()

    async def _finish(self) -> None:
        if self._runner is not None and self._runner.server is not None:
            open_ones = [c.transport for c in self._runner.server.connections]
            await self._runner.cleanup()
            for transport in filter(None, open_ones):
                transport.abort()  # encrypted ones would wait for the other side
        await self.closing()
        rest = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
        # Encrypted connections to others say goodbye first, and a busy server takes its time.
        for transport in list(getattr(self.loop, "_transports", {}).values()):
            transport.abort()
        await asyncio.sleep(_LAST_WORDS_SECONDS)
