"""A port of this machine that leads to a port of a pod, as ``kubectl port-forward`` makes one."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from astroctl.kube import websockets
from astroctl.kube.client import Kube
from astrosage.errors import AstroError, ConflictError

_PROTOCOL = "v4.channel.k8s.io"
_PIECE_BYTES = 64 * 1024
_JOIN_SECONDS = 2.0


class Forward:
    """Listens on loopback; every connection gets a way of its own to the pod.

    A connection that breaks ends alone: the next one asks anew which pod is meant, so that a pod
    may be replaced meanwhile.

    Args:
        kube: The cluster.
        namespace: The pod's.
        pod: Its name, or what gives the name of the present one.
        remote: The pod's port.
        local: The port here; 0 takes a free one.
        say: Told of connections that did not come about.

    Raises:
        ConflictError: If the local port is in use.
    """

    def __init__(
        self,
        kube: Kube,
        namespace: str,
        pod: str | Callable[[], str],
        remote: int,
        local: int = 0,
        say: Callable[[str], None] = lambda message: None,
    ) -> None:
        self._kube, self._namespace, self._remote, self._say = kube, namespace, remote, say
        self._pod = pod if callable(pod) else lambda: pod
        self._threads: set[threading.Thread] = set()
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._listener.bind(("127.0.0.1", local))
        except OSError as error:
            self._listener.close()
            raise ConflictError(
                f"port {local} on this machine cannot be used: {error.strerror}",
                "choose another with --port",
            ) from None
        self._listener.listen()
        self.port = int(self._listener.getsockname()[1])
        self._acceptor = threading.Thread(target=self._accept, daemon=True)

    def start(self) -> Forward:
        """Begin to accept connections."""
        self._acceptor.start()
        return self

    def close(self) -> None:
        """End all connections."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join(_JOIN_SECONDS)
        with self._lock:
            still, threads = list(self._open), list(self._threads)
        for one in still:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(_JOIN_SECONDS)

    def wait(self) -> None:
        """Until the listener is closed."""
        self._acceptor.join()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(client,), daemon=True)
            with self._lock:
                self._open.add(client)
                self._threads.add(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        try:
            query = [("ports", str(self._remote))]
            way = websockets.connect(
                self._kube, self._namespace, self._pod(), "portforward", query, _PROTOCOL
            )
        except AstroError as error:
            self._say(error.message)
        else:
            with contextlib.closing(_Way(way)) as opened:
                opened.join(client, self._say)
        finally:
            client.close()
            with self._lock:
                self._open.discard(client)
                self._threads.discard(threading.current_thread())


class _Way:
    """One forwarded connection: channel 0 carries the data, channel 1 what went wrong."""

    def __init__(self, way: Any) -> None:
        self._way = way

    def join(self, client: socket.socket, say: Callable[[str], None]) -> None:
        """Carry bytes both ways until either side has ended."""
        up = threading.Thread(target=self._up, args=(client,), daemon=True)
        up.start()
        try:
            self._down(client, say)
        finally:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
            up.join(_JOIN_SECONDS)

    def _up(self, client: socket.socket) -> None:
        try:
            while data := client.recv(_PIECE_BYTES):
                self._way.send_binary(b"\x00" + data)
        except Exception:  # the other direction ends with it, and tells
            pass
        finally:
            # The protocol cannot close one direction only.
            with contextlib.suppress(Exception):
                self._way.abort()

    def _down(self, client: socket.socket, say: Callable[[str], None]) -> None:
        from websocket import ABNF, WebSocketException

        begun: set[int] = set()
        while True:
            try:
                kind, frame = self._way.recv_data_frame(True)
            except (WebSocketException, OSError):
                return
            if kind == ABNF.OPCODE_CLOSE:
                return
            if kind != ABNF.OPCODE_BINARY or not frame.data:
                continue
            channel, data = frame.data[0], frame.data[1:]
            if channel not in begun:  # each channel begins with its port number
                begun.add(channel)
            elif channel == 1:
                say(f"the pod does not take the connection: {data.decode(errors='replace')}")
                return
            else:
                try:
                    client.sendall(data)
                except OSError:
                    return

    def close(self) -> None:
        """End it."""
        with contextlib.suppress(Exception):
            self._way.close(timeout=1)
        with contextlib.suppress(Exception):
            self._way.shutdown()


@contextmanager
def forward(
    kube: Kube,
    namespace: str,
    pod: str | Callable[[], str],
    remote: int,
    local: int = 0,
    say: Callable[[str], None] = lambda message: None,
) -> Iterator[int]:
    """The local port that leads to a pod's, while the block runs; see :class:`Forward`."""
    opened = Forward(kube, namespace, pod, remote, local, say).start()
    try:
        yield opened.port
    finally:
        opened.close()
