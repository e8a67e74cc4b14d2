"""What a kubelet serves to the API server: logs, ``exec`` and port forwarding.

Over WebSockets with Kubernetes' channel protocols: the first byte of each message is the channel.
Only clients with the cluster's certificate get in.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import ssl
import struct
from collections.abc import Callable
from typing import Any

from aiohttp import WSMsgType, web

from astroctl.kube.client import Object
from tests.kube.containers import Container, Sandbox
from tests.kube.loops import LoopServer
from tests.kube.plane import OwnPlane

STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
_MOST_BYTES = 32 * 2**20
_PIECE = 64 * 1024
Finder = Callable[[str, str], Sandbox | None]


class KubeletApi(LoopServer):
    """The server, in a thread of its own.

    Args:
        plane: Whose API server may ask.
        find: The pod of a namespace and name.
        target: Which port of loopback stands for a port of a pod.
        name: Of its certificate.

    Attributes:
        protocols: The channel protocols that it speaks, best first.
        cut_after: Bytes of standard input after which an ``exec`` is cut, once; None: never.
    """

    def __init__(
        self, plane: OwnPlane, find: Finder, target: Callable[[Object, int], int], name: str
    ) -> None:
        certificate, key = plane.certificate(name, f"system:node:{name}", "system:nodes")
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=plane.authority)
        tls.verify_mode = ssl.CERT_REQUIRED
        tls.load_cert_chain(certificate, key)
        super().__init__(name, tls)
        self._find, self._target = find, target
        self.protocols: tuple[str, ...] = ("v5.channel.k8s.io", "v4.channel.k8s.io")
        self.cut_after: int | None = None

    def routes(self, app: web.Application) -> None:
        app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._logs)
        for method in ("GET", "POST"):
            app.router.add_route(method, "/exec/{namespace}/{pod}/{container}", self._exec)
            app.router.add_route(method, "/portForward/{namespace}/{pod}", self._forward)

    def _pod(self, request: web.Request) -> Sandbox:
        where = request.match_info
        sandbox = self._find(where["namespace"], where["pod"])
        if sandbox is None:
            raise web.HTTPNotFound(text=f"pod {where['pod']} does not run here")
        return sandbox

    def _container(self, request: web.Request) -> Container:
        name = request.match_info["container"]
        sandbox = self._pod(request)
        found: dict[str, Container] = {c.name: c for c in sandbox.init}
        found |= sandbox.containers
        if name not in found:
            raise web.HTTPBadRequest(text=f"container {name} is not in the pod")
        return found[name]

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        container = self._container(request)
        data = container.log.read_bytes()
        offset = len(data)
        if tail := request.query.get("tailLines"):
            lines = data.splitlines(keepends=True)
            data = b"".join(lines[len(lines) - int(tail) :] if int(tail) else [])
        answer = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await answer.prepare(request)
        await answer.write(data)
        while request.query.get("follow") in ("true", "1"):
            ended = container.poll() is not None
            with container.log.open("rb") as log:
                log.seek(offset)
                data = log.read()
            offset += len(data)
            try:
                await answer.write(data)
            except ConnectionError:
                break
            if ended:
                break
            await asyncio.sleep(0.1)
        return answer

    async def _exec(self, request: web.Request) -> web.StreamResponse:
        container = self._container(request)
        command = [container.place(part) for part in request.query.getall("command")]
        socket = web.WebSocketResponse(protocols=self.protocols, max_msg_size=_MOST_BYTES)
        await socket.prepare(request)
        wants_input = request.query.get("input") in ("1", "true")
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                env=await asyncio.to_thread(container.environment),
                cwd=container.log.parent,
                stdin=asyncio.subprocess.PIPE if wants_input else asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            await self._outcome(socket, 126 if isinstance(error, PermissionError) else 127)
            return socket
        try:
            await self._pump(socket, process)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        return socket

    async def _pump(
        self, socket: web.WebSocketResponse, process: asyncio.subprocess.Process
    ) -> None:
        assert process.stdout
        assert process.stderr
        reading: asyncio.Future[Any] = asyncio.create_task(self._input(socket, process))
        writing: asyncio.Future[Any] = asyncio.gather(
            _output(socket, STDOUT, process.stdout), _output(socket, STDERR, process.stderr)
        )
        try:
            await asyncio.wait([reading, writing], return_when=asyncio.FIRST_COMPLETED)
            if not socket.closed:
                await writing
                await self._outcome(socket, await process.wait())
        except (ConnectionError, RuntimeError):
            pass  # the client has gone
        finally:
            for task in (reading, writing):
                task.cancel()
            await asyncio.gather(reading, writing, return_exceptions=True)

    async def _input(
        self, socket: web.WebSocketResponse, process: asyncio.subprocess.Process
    ) -> None:
        """Hand on standard input until the client goes away."""
        got = 0
        async for message in socket:
            if message.type is not WSMsgType.BINARY or not message.data:
                continue
            channel, data = message.data[0], message.data[1:]
            if process.stdin is None:
                continue
            with contextlib.suppress(ConnectionError):
                if channel == STDIN:
                    process.stdin.write(data)
                    await process.stdin.drain()
                    got += len(data)
                elif channel == CLOSE and data[:1] == bytes([STDIN]):
                    process.stdin.close()
            if self.cut_after is not None and got >= self.cut_after:
                self.cut_after = None
                break
        await socket.close()

    async def _outcome(self, socket: web.WebSocketResponse, code: int) -> None:
        status: dict[str, Any] = {"metadata": {}, "status": "Success"}
        if code:
            causes = [{"reason": "ExitCode", "message": str(code)}]
            status = {
                "metadata": {},
                "status": "Failure",
                "message": f"command terminated with non-zero exit code: exit status {code}",
                "reason": "NonZeroExitCode",
                "details": {"causes": causes},
            }
        await socket.send_bytes(bytes([ERROR]) + json.dumps(status).encode())
        await socket.close()

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        pod = self._pod(request).pod
        wanted = [int(p) for value in request.query.getall("port") for p in value.split(",")]
        socket = web.WebSocketResponse(protocols=("v4.channel.k8s.io",), max_msg_size=_MOST_BYTES)
        await socket.prepare(request)
        streams: dict[int, asyncio.StreamWriter] = {}
        tasks = []
        for index, port in enumerate(wanted):
            for channel in (2 * index, 2 * index + 1):
                await socket.send_bytes(bytes([channel]) + struct.pack("<H", port))
            target = self._target(pod, port)
            try:
                reader, streams[2 * index] = await asyncio.open_connection("127.0.0.1", target)
            except OSError as error:
                await socket.send_bytes(bytes([2 * index + 1]) + str(error).encode())
                continue
            tasks.append(asyncio.create_task(_output(socket, 2 * index, reader, last=True)))
        try:
            async for message in socket:
                if message.type is WSMsgType.BINARY and message.data:
                    stream = streams.get(message.data[0])
                    if stream is not None:
                        stream.write(message.data[1:])
                        await stream.drain()
        except ConnectionError:
            pass  # the server in the pod has closed
        finally:
            for stream in streams.values():
                stream.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return socket


async def _output(
    socket: web.WebSocketResponse, channel: int, reader: asyncio.StreamReader, last: bool = False
) -> None:
    while data := await reader.read(_PIECE):
        await socket.send_bytes(bytes([channel]) + data)
    if last:
        await socket.close()
