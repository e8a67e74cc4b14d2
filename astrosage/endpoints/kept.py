"""Answers of services, kept as they come, so that nothing is asked or paid for twice.

A line of JSON for each: the key is a hash of the service's address, the model's name, the prompt
and all parameters, so an answer is never used for another question, model or setting. A last line
that a crash has torn is passed over. Of a file on a disk only the places of answers are in memory,
some 200 bytes each, so that millions may be kept.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from astrosage.endpoints.replies import Reply
from astrosage.endpoints.usage import Usage
from astrosage.errors import NotFoundError, StorageError
from astrosage.runs.metrics import AppendOnly
from astrosage.runs.storage import Storage, os_hint, os_reason

NAME = "answers.jsonl"


class KeptAnswers:
    """Answers of one stage, and those that other runs left in a shared file.

    Args:
        stage: The stage's folder.
        shared: A local file that several runs read and write; None for none.
        name: The stage's own file.
        field: Where the endpoint stands in the run file, for messages.

    Attributes:
        spent: Tokens that this stage has asked a service for, in all its attempts.
        calls: Requests that it has made.

    Raises:
        StorageError: If a file cannot be read or written.
    """

    def __init__(
        self,
        stage: Storage,
        shared: str | Path | None = None,
        name: str = NAME,
        field: str = "bench.endpoint",
    ) -> None:
        self._answers: dict[bytes, Reply | int] = {}  # an answer, or where it begins
        self._field = field
        self.spent, self.calls = Usage(), 0
        self._shared = None if shared is None else Path(shared)
        if self._shared is not None:
            for line in _read_shared(self._shared, field):
                self._hold(line["key"], _reply(line), None)
        self._own = None if stage.local is None else stage.local / name
        for place, line in _own_lines(stage, name):
            reply = _reply(line)
            self._hold(line["key"], reply, place)
            self.spent += reply.usage
            self.calls += 1
        self._file = AppendOnly(stage, name)
        self._size = 0
        if self._own is not None and self._own.exists():
            self._size = self._own.stat().st_size

    def _hold(self, key: str, reply: Reply, place: int | None) -> None:
        if reply.problem is None:
            self._answers[_short(key)] = reply if place is None else place

    def get(self, key: str) -> Reply | None:
        """The answer to a request, if it was given before."""
        found = self._answers.get(_short(key))
        if not isinstance(found, int):
            return found
        assert self._own is not None
        with self._own.open("rb") as file:
            file.seek(found)
            return _reply(json.loads(file.readline()))

    def add(self, key: str, reply: Reply) -> None:
        """Keep an answer; one that failed is kept for the account alone."""
        line = json.dumps({"key": key, "reply": reply.to_dict()}, ensure_ascii=False) + "\n"
        self._file.write(line)
        self._hold(key, reply, None if self._own is None else self._size)
        self._size += len(line.encode())
        self.spent += reply.usage
        self.calls += 1
        if reply.problem is None and self._shared is not None:
            _append_shared(self._shared, line, self._field)

    def close(self) -> None:
        """Make sure that all is stored."""
        self._file.flush()


def key_of(url: str, path: str, body: dict[str, Any]) -> str:
    """A request's key.

    Args:
        url: The service's base URL; credentials in it do not count.
        path: The method.
        body: All that is sent.
    """
    clean = re.sub(r"//[^/@]*@", "//", url.rstrip("/"))
    text = json.dumps([clean, path, body], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _short(key: str) -> bytes:
    """A key in little room."""
    return hashlib.blake2b(key.encode(), digest_size=16).digest()


def _own_lines(stage: Storage, name: str) -> Iterator[tuple[int | None, dict[str, Any]]]:
    """``(place, line)`` of the stage's own file; places on a disk only."""
    if stage.local is None:
        try:
            for line in _lines(stage.read_bytes(name).splitlines()):
                yield None, line
        except NotFoundError:
            return
    elif (stage.local / name).exists():
        with (stage.local / name).open("rb") as file:
            place = 0
            for raw in file:
                for line in _lines([raw]):
                    yield place, line
                place += len(raw)


def _lines(raw: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    for line in raw:
        try:
            found = json.loads(line)
        except ValueError:  # torn by a crash
            continue
        if isinstance(found, dict) and isinstance(found.get("key"), str):
            yield found


def _reply(line: dict[str, Any]) -> Reply:
    """A kept reply; one that another version wrote in another form counts as failed."""
    try:
        return Reply(**line["reply"])
    except (KeyError, TypeError):
        return Reply(problem="kept in another form")


def _read_shared(path: Path, field: str) -> list[dict[str, Any]]:
    try:
        return list(_lines(path.read_bytes().splitlines()))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise _unusable(path, error, field) from error


def _append_shared(path: Path, line: str, field: str) -> None:
    """Append a whole line; a lock keeps those of several runs apart."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            size = file.seek(0, os.SEEK_END)
            if size:
                file.seek(size - 1)
                if file.read(1) != b"\n":
                    file.write(b"\n")
            file.write(line.encode())
    except OSError as error:
        raise _unusable(path, error, field) from error


def _unusable(path: Path, error: OSError, field: str) -> StorageError:
    return StorageError(
        f"{field}.cache: {path} cannot be used: {os_reason(error)}",
        os_hint(error, str(path)) if error.errno else "name another file",
    )
