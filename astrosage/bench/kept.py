"""Answers of services, kept as they come, so that nothing is asked or paid for twice.

A line of JSON for each: the key is a hash of the service's address, the model's name, the prompt
and all parameters, so an answer is never used for another question, model or setting. A last line
that a crash has torn is passed over.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from astrosage.bench.replies import Reply
from astrosage.bench.usage import Usage
from astrosage.errors import NotFoundError, StorageError
from astrosage.runs.metrics import AppendOnly
from astrosage.runs.storage import Storage, os_hint, os_reason

NAME = "answers.jsonl"


class KeptAnswers:
    """Answers of one stage, and those that other runs left in a shared file.

    Args:
        stage: The stage's folder.
        shared: A local file that several runs read and write; None for none.

    Attributes:
        spent: Tokens that this stage has asked a service for, in all its attempts.
        calls: Requests that it has made.

    Raises:
        StorageError: If a file cannot be read or written.
    """

    def __init__(self, stage: Storage, shared: str | Path | None = None) -> None:
        self._answers: dict[str, Reply] = {}
        self.spent, self.calls = Usage(), 0
        self._shared = None if shared is None else Path(shared)
        if self._shared is not None:
            self._take(_read_shared(self._shared))
        try:
            own = list(_lines(stage.read_bytes(NAME)))
        except NotFoundError:
            own = []
        self._take(own)
        for line in own:
            self.spent += _reply(line).usage
            self.calls += 1
        self._file = AppendOnly(stage, NAME)

    def _take(self, lines: Iterable[dict[str, Any]]) -> None:
        for line in lines:
            reply = _reply(line)
            if reply.problem is None:
                self._answers[line["key"]] = reply

    def get(self, key: str) -> Reply | None:
        """The answer to a request, if it was given before."""
        return self._answers.get(key)

    def add(self, key: str, reply: Reply) -> None:
        """Keep an answer; one that failed is kept for the account alone."""
        line = json.dumps({"key": key, "reply": reply.to_dict()}, ensure_ascii=False) + "\n"
        self._file.write(line)
        self.spent += reply.usage
        self.calls += 1
        if reply.problem is None:
            self._answers[key] = reply
            if self._shared is not None:
                _append_shared(self._shared, line)

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


def _lines(raw: bytes) -> Iterable[dict[str, Any]]:
    for line in raw.splitlines():
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


def _read_shared(path: Path) -> list[dict[str, Any]]:
    try:
        return list(_lines(path.read_bytes()))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise _unusable(path, error) from error


def _append_shared(path: Path, line: str) -> None:
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
        raise _unusable(path, error) from error


def _unusable(path: Path, error: OSError) -> StorageError:
    return StorageError(
        f"bench.endpoint.cache: {path} cannot be used: {os_reason(error)}",
        os_hint(error, str(path)) if error.errno else "name another file",
    )
