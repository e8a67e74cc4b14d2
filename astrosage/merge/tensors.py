"""Read a model directory's weights in pieces, without mapping files into memory."""

from __future__ import annotations

import json
import math
import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from astrosage.errors import DataError
from astrosage.models.layout import DTYPES, Place, places
from astrosage.models.resolve import check_directory
from astrosage.models.writing import INDEX

PIECE = 1 << 20
"""Entries of a piece: small enough to stay in a processor's cache between the steps of a merge."""

_HEAD = "lm_head.weight"


class ModelTensors:
    """The weights of a Hugging Face directory; an output head tied to the embedding is left out.

    Args:
        folder: The directory.
        label: How the run file names it, for messages.

    Raises:
        DataError, NotFoundError: If weights are missing, damaged or quantised.
    """

    def __init__(self, folder: Path, label: str) -> None:
        check_directory(folder, label)
        self.folder, self.label = folder, label
        self.config: dict[str, Any] = _read_json(folder / "config.json", label)
        self._places: dict[str, Place] = {}
        with ExitStack() as stack:
            for path in _weight_files(folder, label):
                self._places |= places(_opened(path, label, stack))
            self._check_complete()
            self._leave_out_tied_head()
            self._stack = stack.pop_all()

    def __enter__(self) -> ModelTensors:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def names(self) -> list[str]:
        """Sorted names."""
        return sorted(self._places)

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape."""
        return self._places[name].shape

    @property
    def size(self) -> int:
        """Bytes of all weights as they are stored."""
        return sum(p.numel * DTYPES[p.dtype].itemsize for p in self._places.values())

    def read(self, name: str, start: int, stop: int, dtype: torch.dtype) -> Tensor:
        """Entries of a flattened tensor, the caller's own to change.

        Raises:
            DataError: If they are not all finite, or not all there.
        """
        try:
            piece = self._places[name].read(start, stop).to(dtype)
        except OSError as error:
            raise DataError(
                f"{self.label}: weight {name} cannot be read: {error}", "fetch the model again"
            ) from error
        check_finite(piece, f"{self.label}: weight {name}")
        return piece

    def _check_complete(self) -> None:
        index = self.folder / INDEX
        expected = _read_json(index, self.label)["weight_map"] if index.is_file() else {}
        missing = sorted(set(expected) - set(self._places))
        if missing:
            raise DataError(
                f"{self.label}: {self.folder / expected[missing[0]]} has no {missing[0]}, "
                f"which {INDEX} says it has ({len(missing)} tensors in all)",
                "the model is incomplete; fetch or export it again",
            )
        for name, place in self._places.items():
            if place.dtype not in DTYPES:
                raise DataError(
                    f"{self.label}: weight {name} has type {place.dtype}, which cannot be merged",
                    f"give the model not quantised: {', '.join(DTYPES)}",
                )

    def _leave_out_tied_head(self) -> None:
        """Some writers store a tied head a second time; one that differs is not tied."""
        if not self.config.get("tie_word_embeddings") or _HEAD not in self._places:
            return
        head = self._places[_HEAD]
        for name in self.names():
            if name != _HEAD and _equal(self._places[name], head):
                del self._places[_HEAD]
                return


def pieces(shape: tuple[int, ...]) -> list[tuple[int, int]]:
    """The pieces of a tensor as ``(start, stop)`` of its flattened entries."""
    count = math.prod(shape)
    return [(start, min(start + PIECE, count)) for start in range(0, count, PIECE)]


def check_finite(piece: Tensor, what: str) -> None:
    """Refuse NaN and infinity.

    Raises:
        DataError: Naming what has them.
    """
    # They show in the sum, which takes far less time than isfinite() of all; so may an overflow.
    if not math.isfinite(piece.sum(dtype=torch.float32)) and not piece.isfinite().all():
        raise DataError(
            f"{what} has values that are not finite",
            "that model is damaged or diverged; leave it out or fetch it again",
        )


def _equal(a: Place, b: Place) -> bool:
    return (
        a.shape == b.shape
        and a.dtype == b.dtype
        and all(torch.equal(a.read(*piece), b.read(*piece)) for piece in pieces(a.shape))
    )


def _weight_files(folder: Path, label: str) -> list[Path]:
    """The files that make up the model: others may lie beside them."""
    if (folder / INDEX).is_file():
        content = _read_json(folder / INDEX, label)
        if not isinstance(content.get("weight_map"), dict):
            raise DataError(
                f"{label}: {folder / INDEX} has no `weight_map`", "fetch or export the model again"
            )
        return [folder / name for name in sorted(set(content["weight_map"].values()))]
    single = folder / "model.safetensors"
    return [single] if single.is_file() else sorted(folder.glob("*.safetensors"))


def _opened(path: Path, label: str, stack: ExitStack) -> int:
    """A descriptor of a weight file whose header is sound and whose bytes are all there."""
    try:
        with safe_open(path, framework="pt"):
            file = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        raise DataError(
            f"{label}: {path} is missing; {INDEX} names it",
            "the model is incomplete; fetch or export it again",
        ) from None
    except SafetensorError as error:
        raise DataError(
            f"{label}: {path} is no sound safetensors file: {error}", "fetch it again"
        ) from None
    stack.callback(os.close, file)
    return file


def _read_json(path: Path, label: str) -> Any:
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise DataError(f"{label}: {path} is not valid JSON: {error}", "fetch it again") from None
