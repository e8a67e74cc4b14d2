"""A conversation with the agent that runs in a pod: files there, over one connection."""

from __future__ import annotations

import json
import struct
from importlib import resources
from pathlib import Path
from typing import Any

from astroctl.kube.client import Kube
from astroctl.kube.exec import Exec
from astrosage.errors import CapacityError, NotFoundError, StorageError
from astrosage.runs.storage import os_hint

PYTHON = "python3"
ANSWER_SECONDS = 60.0
_NO_PROGRAM = (126, 127)


class Session:
    """One connection.

    Args:
        kube: The cluster.
        namespace: The pod's.
        pod: A running pod with Python in it.
        container: Which of its containers.
        root: The folder there that names are relative to.

    Raises:
        ExecCut: If the connection breaks.
        CapacityError: If there is no Python in the pod.
    """

    def __init__(self, kube: Kube, namespace: str, pod: str, container: str, root: str) -> None:
        agent = resources.files("astroctl.kube").joinpath("claim_agent.py").read_bytes()
        # The agent itself goes through the connection: a URL has no room for it.
        loader = f"import sys;exec(sys.stdin.buffer.read({len(agent)}))"
        self._exec = Exec(kube, namespace, pod, [PYTHON, "-c", loader, root], container)
        try:
            self._exec.send(agent)
            self.call("hello")
        except BaseException as error:
            self.close()
            if self._exec.exit_code in _NO_PROGRAM:
                raise CapacityError(
                    f"pod {namespace}/{pod} has no python3: {error}",
                    "its image must be this project's Ray image; `settings.image` says which",
                ) from None
            raise

    def call(self, do: str, payload: bytes = b"", **fields: Any) -> tuple[dict[str, Any], bytes]:
        """Ask for something.

        Args:
            do: What.
            payload: Bytes that go with it.
            fields: Its arguments.

        Returns:
            The answer's header and bytes.

        Raises:
            NotFoundError, StorageError: What the disk there says.
            ExecCut: If the connection breaks.
        """
        header = json.dumps({"do": do, **fields, "size": len(payload)}).encode()
        self._exec.send(struct.pack(">I", len(header)) + header + payload)
        while True:
            size = struct.unpack(">I", self._exec.read(4, ANSWER_SECONDS))[0]
            answer: dict[str, Any] = json.loads(self._exec.read(size, ANSWER_SECONDS))
            if not answer.get("busy"):
                break
        data = self._exec.read(answer["size"], ANSWER_SECONDS)
        if "error" in answer:
            raise _refusal(str(fields.get("name", "")), answer)
        return answer, data

    def close(self) -> None:
        """End the connection."""
        self._exec.close()


def _refusal(name: str, answer: dict[str, Any]) -> NotFoundError | StorageError:
    error = OSError(answer["errno"], answer["error"])
    if isinstance(error, FileNotFoundError):
        return NotFoundError(f"{name} does not exist")
    return StorageError(f"{name}: {answer['error']}", os_hint(error, name))


def fetch(session: Session, name: str, target: Path, size: int, block: int) -> None:
    """Copy a file here; a part that is there from before is gone on with.

    Raises:
        StorageError: If it changes meanwhile.
    """
    part = target.with_name(f".{target.name}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    offset = part.stat().st_size if part.exists() else 0
    if offset > size:
        part.unlink()
        offset = 0
    with part.open("ab") as file:
        while offset < size:
            answer, data = session.call("read", name=name, offset=offset, length=block)
            if answer["bytes"] != size or not data:
                part.unlink()
                raise StorageError(f"{name} changed while it was copied", "try again")
            file.write(data)
            offset += len(data)
    part.replace(target)
