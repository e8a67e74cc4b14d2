"""Reads the file that W&B keeps offline: protobuf records in LevelDB's log format."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HEADER = 7  # ":W&B", a magic number, a version
BLOCK = 32768
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def records(file: Path) -> Iterator[Any]:
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, held = file.read_bytes(), HEADER, b""
    while at + 7 <= len(data):
        if BLOCK - at % BLOCK < 7:  # a block's end that is too short for a record
            at += BLOCK - at % BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        if kind == 0:
            break
        held += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (FULL, LAST):
            record = Record()
            record.ParseFromString(held)
            held = b""
            yield record


def history(file: Path) -> list[dict[str, Any]]:
    """What was logged, a dict a step."""
    found = []
    for record in records(file):
        if record.WhichOneof("record_type") == "history":
            items = record.history.item
            found.append({i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in items})
    return found


def run_of(file: Path) -> Any:
    """The run's own record."""
    return next(r.run for r in records(file) if r.WhichOneof("record_type") == "run")
