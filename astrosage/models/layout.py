"""Safetensors files by their layout: read and written in pieces, at known places.

The format (safetensors, "Format"): eight bytes with the header's length, a JSON header with each
tensor's type, shape and place, then the tensors' bytes. Pieces at known places need no file mapped
into memory and no tensor held whole, and may be written by several threads.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from astrosage.models.writing import shard_name

DTYPES = {
    "BF16": torch.bfloat16,
    "F16": torch.float16,
    "F32": torch.float32,
    "F64": torch.float64,
}
_LENGTH = 8
_ALIGNMENT = 8


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tensor lies.

    Attributes:
        file: Open file descriptor.
        offset: Of its first byte.
        shape: Its shape.
        dtype: As the header has it.
    """

    file: int
    offset: int
    shape: tuple[int, ...]
    dtype: str

    @property
    def numel(self) -> int:
        """How many entries it has."""
        return math.prod(self.shape)

    def read(self, start: int, stop: int) -> Tensor:
        """Entries of the flattened tensor, in the file's type; safe from several threads.

        Raises:
            OSError: If the file ends too early.
        """
        dtype = DTYPES[self.dtype]
        piece = torch.empty(stop - start, dtype=dtype)
        view = piece.view(torch.uint8).numpy().data
        offset = self.offset + start * dtype.itemsize
        while view:
            got = os.preadv(self.file, [view], offset)
            if not got:
                raise OSError("the file ends before its tensors do")
            view, offset = view[got:], offset + got
        return piece


def places(file: int) -> dict[str, Place]:
    """Every tensor of an open safetensors file, whose header has been checked before."""
    length = int.from_bytes(os.pread(file, _LENGTH, 0), "little")
    header = json.loads(os.pread(file, length, _LENGTH))
    start = _LENGTH + length
    return {
        name: Place(file, start + entry["data_offsets"][0], tuple(entry["shape"]), entry["dtype"])
        for name, entry in header.items()
        if name != "__metadata__"
    }


@dataclass(frozen=True)
class Shard:
    """One bf16 weight file that is to be written.

    Attributes:
        name: The file's name.
        shapes: Its tensors, in their order in the file.
    """

    name: str
    shapes: Mapping[str, tuple[int, ...]]

    def header(self) -> bytes:
        """The file's first bytes, up to the first tensor's."""
        content: dict[str, Any] = {"__metadata__": {"format": "pt"}}
        for name, begin in self._begins().items():
            end = begin + self._size(name)
            shape = list(self.shapes[name])
            content[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [begin, end]}
        text = json.dumps(content, separators=(",", ":")).encode()
        text += b" " * (-len(text) % _ALIGNMENT)
        return len(text).to_bytes(_LENGTH, "little") + text

    def offsets(self) -> dict[str, int]:
        """Where each tensor begins in the file."""
        start = len(self.header())
        return {name: start + begin for name, begin in self._begins().items()}

    @property
    def size(self) -> int:
        """Bytes of the tensors."""
        return sum(map(self._size, self.shapes))

    def _begins(self) -> dict[str, int]:
        begins, at = {}, 0
        for name in self.shapes:
            begins[name] = at
            at += self._size(name)
        return begins

    def _size(self, name: str) -> int:
        return math.prod(self.shapes[name]) * torch.bfloat16.itemsize


def plan_shards(shapes: Mapping[str, tuple[int, ...]], limit: int) -> list[Shard]:
    """Distribute tensors to bf16 files in their order; a larger tensor gets a file of its own.

    Args:
        shapes: Of all tensors.
        limit: Most bytes of tensors in one file.
    """
    groups: list[dict[str, tuple[int, ...]]] = []
    room = 0
    for name, shape in shapes.items():
        size = math.prod(shape) * torch.bfloat16.itemsize
        if not groups or size > room:
            groups.append({})
            room = limit
        groups[-1][name] = shape
        room -= size
    return [Shard(shard_name(i, len(groups)), group) for i, group in enumerate(groups, start=1)]
