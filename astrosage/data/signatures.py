"""Signatures written to and read from a stage's file (:mod:`astrosage.data.signature_file`)."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import DTypeLike, NDArray

from astrosage.data.appended import Table
from astrosage.data.near import NearDuplicates
from astrosage.data.signature_file import NAME, SignatureFile, read
from astrosage.spec.deduplicate import Near

_BLOCK_ROWS = 2048


def record_keys(file: SignatureFile) -> Iterator[NDArray[np.uint8]]:
    """``[some, 16]`` at a time.

    Raises:
        DataError: If the file is something else, or broken.
    """
    return _blocks(file, "keys", np.uint8)


def fingerprints(file: SignatureFile) -> Iterator[NDArray[np.uint32]]:
    """``[some, K]`` at a time.

    Raises:
        DataError: If the file is something else, or broken.
    """
    return _blocks(file, "signatures", np.uint32)


def _blocks(source: SignatureFile, name: str, dtype: DTypeLike) -> Iterator[NDArray[Any]]:
    kind = np.dtype(dtype)
    with source.array(name, kind.str, 2) as (file, (left, width)):
        while left:
            count = min(left, _BLOCK_ROWS)
            data = read(file, count * width * kind.itemsize)
            yield np.frombuffer(data, kind).reshape(count, width)
            left -= count


def write(folder: Path, keys: Table, near: NearDuplicates, options: Near) -> None:
    """Write a stage's file, a part at a time; the same records give the same bytes.

    Args:
        folder: For it.
        keys: ``[n, 16]`` of the kept records.
        near: Has their signatures.
        options: What these were made with.
    """
    ngram = np.array(options.ngram, np.int64)
    with zipfile.ZipFile(folder / NAME, "w") as archive:
        _store(archive, "keys", (len(keys), keys.width), keys.dtype, keys.blocks())
        shape = (len(near), options.permutations)
        _store(archive, "signatures", shape, np.dtype(np.uint32), near.signatures())
        _store(archive, "ngram", (), ngram.dtype, [ngram])


def _store(
    archive: zipfile.ZipFile,
    name: str,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    blocks: Iterable[NDArray[Any]],
) -> None:
    """An array, as :func:`numpy.savez` does, but in parts."""
    header = {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
        npy.write_array_header_1_0(file, header)
        for block in blocks:
            file.write(block.tobytes())
