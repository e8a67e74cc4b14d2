"""The runs that were submitted from this machine, and where."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass, field
from typing import Any

from astroctl.home import locked, read_json, write_json

_FILE = "runs.json"


@dataclass(frozen=True)
class Record:
    """One run.

    Attributes:
        namespace: Its namespace.
        name: Its name.
        uri: Its run directory.
        target: ``local``, ``ray`` or ``kubernetes``; empty if it was not submitted from here.
        address: The cluster's dashboard (``ray`` only).
        context: The kubeconfig's context (``kubernetes`` only).
        kubeconfig: The kubeconfig, if it is not the usual one (``kubernetes`` only).
        stages: Names of the stages asked for last.
        attempt: Newest attempt.
        submission_id: Its id on the cluster.
        submitted: When, in seconds since the epoch.
    """

    namespace: str
    name: str
    uri: str
    target: str = ""
    address: str = ""
    stages: list[str] = field(default_factory=list)
    attempt: int = 0
    submission_id: str = ""
    submitted: float = 0.0
    context: str = ""
    kubeconfig: str = ""

    @property
    def key(self) -> str:
        """``namespace/name``."""
        return f"{self.namespace}/{self.name}"

    @property
    def place(self) -> str:
        """The registry's key: runs of one name on several clusters stay apart."""
        return f"{self.context}:{self.key}" if self.target == "kubernetes" else self.key

    @property
    def called(self) -> str:
        """What a person types to mean it."""
        return self.name if self.namespace == "default" else self.key


def all_records() -> list[Record]:
    """Every known run, newest first."""
    records = [_record(value) for value in read_json(_FILE).values()]
    return sorted(records, key=lambda r: -r.submitted)


def get(place: str) -> Record | None:
    """The run of that :attr:`Record.place`, which is ``namespace/name`` but for Kubernetes."""
    value = read_json(_FILE).get(place)
    return _record(value) if value else None


def named(key: str) -> Record | None:
    """The run of that ``namespace/name``; the newest where several places have one."""
    return next((r for r in all_records() if r.key == key), None)


def put(record: Record) -> None:
    """Add or replace a run."""
    with locked("runs"):
        data = read_json(_FILE)
        data[record.place] = dataclasses.asdict(record)
        write_json(_FILE, data)


def remove(key: str) -> None:
    """Forget a run, named by its ``place``."""
    with locked("runs"):
        data = read_json(_FILE)
        if data.pop(key, None) is not None:
            write_json(_FILE, data)


def submission_id(namespace: str, name: str, attempt: int) -> str:
    """The id of an attempt on the cluster."""
    return f"{namespace}-{name}-{attempt}"


def now() -> float:
    """Seconds since the epoch, to the millisecond."""
    return round(time.time(), 3)


def _record(value: dict[str, Any]) -> Record:
    known = {f.name for f in dataclasses.fields(Record)}
    return Record(**{k: v for k, v in value.items() if k in known})
