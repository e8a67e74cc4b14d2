"""The other end of a file transfer: runs in a pod, on the standard library alone.

It is sent through the connection itself, so that it fits the version that talks to it, whatever
image the pod has. Requests and answers are a header (4 bytes of length, JSON) and, if the header
says ``size``, so many bytes after it. Paths are relative to the folder in which it runs; it never
leaves that folder. A file appears under its name when it is whole and its hash is right.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import struct
import sys
import time
import uuid
from typing import Any, BinaryIO

BLOCK = 1 << 20
BUSY_SECONDS = 5.0


class Agent:
    """Answers requests from ``source`` on ``sink`` until the source ends."""

    def __init__(self, source: BinaryIO, sink: BinaryIO, root: str = ".") -> None:
        self.source, self.sink = source, sink
        self.root = os.path.realpath(root)
        self.part: BinaryIO | None = None
        self.part_name = ""
        self.hash = hashlib.sha256()
        self.said = time.monotonic()

    def serve(self) -> None:
        """Answer until the end of the input."""
        while True:
            head = self.source.read(4)
            if len(head) < 4:
                return
            request = json.loads(self.source.read(struct.unpack(">I", head)[0]))
            payload = self.source.read(request.get("size", 0))
            if len(payload) < request.get("size", 0):
                return
            try:
                answer, data = getattr(self, "do_" + request["do"])(request, payload)
            except OSError as error:
                facts = {"errno": error.errno, "error": error.strerror or str(error)}
                answer, data = facts, b""
            except ValueError as error:
                answer, data = {"errno": 22, "error": str(error)}, b""
            self.answer(answer, data)

    def answer(self, header: dict[str, Any], data: bytes = b"") -> None:
        """Send one answer."""
        text = json.dumps({**header, "size": len(data)}).encode()
        self.sink.write(struct.pack(">I", len(text)) + text + data)
        self.sink.flush()
        self.said = time.monotonic()

    def busy(self) -> None:
        """Say now and then that a long request is under way."""
        if time.monotonic() - self.said > BUSY_SECONDS:
            self.answer({"busy": True})

    def at(self, name: str) -> str:
        """The path of a name, which must not lead out of the folder."""
        path = os.path.realpath(os.path.join(self.root, name))
        if path != self.root and not path.startswith(self.root + os.sep):
            raise ValueError(f"{name} leads out of the volume")
        return path

    def do_hello(self, request: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
        """Tell the space that is left."""
        facts = os.statvfs(self.root)
        return {"free": facts.f_bavail * facts.f_frsize, "python": sys.version.split()[0]}, b""

    def do_stat(self, request: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
        """What a name is, and its bytes."""
        path = self.at(request["name"])
        if os.path.isdir(path):
            return {"type": "folder", "bytes": 0}, b""
        if os.path.isfile(path):
            return {"type": "file", "bytes": os.path.getsize(path)}, b""
        return {"type": None, "bytes": 0}, b""

    def do_names(self, request: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
        """What is in a folder."""
        path = self.at(request["name"])
        names = sorted(os.listdir(path)) if os.path.isdir(path) else []
        return {}, json.dumps([n for n in names if not is_part(n)]).encode()

    def do_sizes(self, request: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
        """Bytes of each file below a folder."""
        root = self.at(request["name"])
        found = {}
        for folder, _, files in os.walk(root):
            self.busy()
            for file in files:
                path = os.path.join(folder, file)
                if not is_part(file) and os.path.isfile(path):
                    found[os.path.relpath(path, root)] = os.path.getsize(path)
        return {}, json.dumps(found).encode()

    def do_read(self, request: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
        """A piece of a file, and the bytes of the whole."""
        with open(self.at(request["name"]), "rb") as file:
            whole = os.fstat(file.fileno()).st_size
            file.seek(request["offset"])
            return {"bytes": whole}, file.read(request["length"])

    def do_write(self, request: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
        """A whole small file, in one step."""
        path = self.at(request["name"])
        if hashlib.sha256(payload).hexdigest() != request["sha256"]:
            raise ValueError(f"{request['name']} came damaged")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        temporary = part_of(path, uuid.uuid4().hex[:8])
        try:
            with open(temporary, "wb") as file:
                file.write(payload)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            if os.path.exists(temporary):
                os.unlink(temporary)
        return {}, b""

    def do_begin(self, request: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
        """Open a large file for appending; tells how much of it is there from before."""
        self.close_part()
        path = self.at(request["name"])
        os.makedirs(os.path.dirname(path), exist_ok=True)
        self.part_name = part_of(path, request["sha256"][:16])
        self.part = open(self.part_name, "a+b")  # noqa: SIM115
        try:
            fcntl.flock(self.part, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # someone else brings the same file: not into the same part
            self.part.close()
            self.part_name = part_of(path, uuid.uuid4().hex[:16])
            self.part = open(self.part_name, "a+b")  # noqa: SIM115
        except OSError:
            pass  # volumes without locks
        there = os.fstat(self.part.fileno()).st_size
        if there > request["bytes"]:
            self.part.truncate(0)
            there = 0
        self.hash = hashlib.sha256()
        self.part.seek(0)
        left = there
        while left:
            block = self.part.read(min(left, BLOCK))
            self.hash.update(block)
            left -= len(block)
            self.busy()
        return {"offset": there}, b""

    def do_append(self, request: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
        """The next piece of the file that was begun."""
        if self.part is None:
            raise ValueError("no file was begun")
        self.part.write(payload)
        self.part.flush()
        self.hash.update(payload)
        return {}, b""

    def do_commit(self, request: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
        """Give the file its name, if it is what it should be; else what came is dropped."""
        if self.part is None:
            raise ValueError("no file was begun")
        if self.hash.hexdigest() != request["sha256"]:
            os.unlink(self.part_name)
            self.close_part()
            return {"damaged": True}, b""
        os.fsync(self.part.fileno())
        os.replace(self.part_name, self.at(request["name"]))
        self.close_part()
        return {}, b""

    def do_remove(self, request: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
        """Delete a file or a folder with all that is in it."""
        path = self.at(request["name"])
        if path == self.root:
            raise ValueError("the whole volume is not deleted")
        if os.path.isdir(path):
            shutil.rmtree(path)
        elif os.path.lexists(path):
            os.unlink(path)
        return {}, b""

    def close_part(self) -> None:
        """Let go of the file that was begun."""
        if self.part is not None:
            self.part.close()
            self.part = None


def part_of(path: str, tag: str) -> str:
    """The name of a file that is not whole yet."""
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name[:180]}.{tag}.part")


def is_part(name: str) -> bool:
    """Whether a file is not whole yet."""
    return name.startswith(".") and name.endswith(".part")


if __name__ == "__main__":
    Agent(sys.stdin.buffer, sys.stdout.buffer, *sys.argv[1:2]).serve()
