"""A process in a pod: its standard input and output as one stream of bytes."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from typing import Any

from astroctl.kube import websockets
from astroctl.kube.client import Kube
from astrosage.errors import ClusterError

_STDIN, _STDOUT, _STDERR, _STATUS = 0, 1, 2, 3
_FRAME_BYTES = 128 * 1024
_KEPT_STDERR = 4_000


class ExecCut(ClusterError):
    """The connection to the process broke, or the process ended; begin again."""


class Exec:
    """A process in a container, as ``kubectl exec`` starts one.

    Args:
        kube: The cluster.
        namespace: The pod's.
        pod: Its name.
        command: Program and arguments.
        container: Which container; default: the pod's first.

    Raises:
        AstroError: If it cannot be started.
    """

    def __init__(
        self,
        kube: Kube,
        namespace: str,
        pod: str,
        command: Sequence[str],
        container: str | None = None,
    ) -> None:
        query = [("command", part) for part in command]
        query += [(stream, "true") for stream in ("stdin", "stdout", "stderr")]
        if container:
            query.append(("container", container))
        self._socket = websockets.connect(kube, namespace, pod, "exec", query)
        self._pod = f"{namespace}/{pod}"
        self._out, self._stderr = bytearray(), b""
        self.status: dict[str, Any] | None = None

    def send(self, data: bytes) -> None:
        """Write to standard input; waits while the other side is busy.

        Raises:
            ExecCut: If it does not get through.
        """
        view = memoryview(data)
        for start in range(0, len(view), _FRAME_BYTES):
            frame = bytes([_STDIN]) + view[start : start + _FRAME_BYTES]
            try:
                self._socket.send_binary(frame)
            except Exception as error:
                raise self._cut(error) from None

    def read(self, size: int, timeout: float) -> bytes:
        """Exactly so many bytes of standard output.

        Args:
            size: How many.
            timeout: Seconds that may pass without any coming.

        Raises:
            ExecCut: If they do not come.
        """
        self._socket.settimeout(timeout)
        while len(self._out) < size:
            self._receive()
        data = bytes(self._out[:size])
        del self._out[:size]
        return data

    @property
    def exit_code(self) -> int | None:
        """The process's, once it has ended and said so."""
        if self.status is None:
            return None
        if self.status.get("status") == "Success":
            return 0
        causes = (self.status.get("details") or {}).get("causes") or []
        codes = [c["message"] for c in causes if c.get("reason") == "ExitCode"]
        return int(codes[0]) if codes and codes[0].isdigit() else None

    def close(self) -> None:
        """End the connection; the process sees the end of its input."""
        with contextlib.suppress(Exception):
            self._socket.close(timeout=1)
        with contextlib.suppress(Exception):
            self._socket.shutdown()  # the library leaves it open if the other side closed first

    def _receive(self) -> None:
        from websocket import ABNF

        try:
            kind, frame = self._socket.recv_data_frame(True)
        except Exception as error:
            raise self._cut(error) from None
        if kind == ABNF.OPCODE_CLOSE:
            raise self._cut(None)
        if kind not in (ABNF.OPCODE_BINARY, ABNF.OPCODE_TEXT) or not frame.data:
            return
        channel, data = frame.data[0], frame.data[1:]
        if channel == _STDOUT:
            self._out += data
        elif channel == _STDERR:
            self._stderr = (self._stderr + data)[-_KEPT_STDERR:]
        elif channel == _STATUS:
            self.status = json.loads(data)

    def _cut(self, error: Exception | None) -> ExecCut:
        from websocket import WebSocketException

        if error is not None and not isinstance(error, WebSocketException | OSError):
            raise error
        said = self._stderr.decode(errors="replace").strip()
        if self.status and self.status.get("status") != "Success":
            said = f"{said}\n{self.status.get('message') or ''}".strip()
        return ExecCut(
            f"the connection to pod {self._pod} broke: {said or error or 'the process ended'}",
            "try again; what was transferred stays",
        )
