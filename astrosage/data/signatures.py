"""The file by which later runs know what a stage has used.

``signatures.npz`` beside the shards, uncompressed: ``keys`` uint8 ``[n, 16]`` hashes of whole
records, ``signatures`` uint32 ``[m, K]`` their MinHash (records without words have none), and
``ngram``, the words that a signature is made from.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.lib import format as npy
from numpy.typing import DTypeLike, NDArray

from astrosage.data.appended import Table
from astrosage.data.near import NearDuplicates
from astrosage.data.sources import expand
from astrosage.errors import DataError, NotFoundError, SpecError
from astrosage.spec.deduplicate import Near

NAME = "signatures.npz"
_BLOCK_ROWS = 2048
_BROKEN = (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class Signatures:
    """What a file holds, read as it is asked for.

    Attributes:
        path: The file, as it was named.
        field: Where it was named.
        open: Opens it.
    """

    path: str
    field: str
    open: Callable[[], IO[bytes]]

    def record_keys(self) -> Iterator[NDArray[np.uint8]]:
        """``[some, 16]`` at a time.

        Raises:
            DataError: If the file is something else, or broken.
        """
        return self._blocks("keys", np.uint8)

    def signatures(self) -> Iterator[NDArray[np.uint32]]:
        """``[some, K]`` at a time.

        Raises:
            DataError: If the file is something else, or broken.
        """
        return self._blocks("signatures", np.uint32)

    def options(self) -> dict[str, int]:
        """What they were made with.

        Raises:
            DataError: If the file is something else, or broken.
        """
        with self._array("ngram", np.int64, 0) as (file, _):
            ngram = int.from_bytes(_read(file, 8), "little")
        with self._array("signatures", np.uint32, 2) as (_, shape):
            return {"ngram": ngram, "permutations": shape[1]}

    def _blocks(self, name: str, dtype: DTypeLike) -> Iterator[NDArray[Any]]:
        with self._array(name, dtype, 2) as (file, (left, width)):
            while left:
                count = min(left, _BLOCK_ROWS)
                data = _read(file, count * width * np.dtype(dtype).itemsize)
                yield np.frombuffer(data, dtype).reshape(count, width)
                left -= count

    @contextmanager
    def _array(
        self, name: str, dtype: DTypeLike, dimensions: int
    ) -> Iterator[tuple[IO[bytes], tuple[int, ...]]]:
        """An array's bytes and its shape."""
        try:
            with (
                self.open() as opened,
                zipfile.ZipFile(opened) as archive,
                archive.open(f"{name}.npy") as file,
            ):
                version = npy.read_magic(file)
                read = npy.read_array_header_2_0 if version > (1, 0) else npy.read_array_header_1_0
                shape, in_columns, found = read(file)
                if found != np.dtype(dtype) or len(shape) != dimensions or in_columns:
                    raise ValueError(f"{name} are {found} of shape {shape}")
                yield file, shape
        except _BROKEN as error:
            raise self._broken(error) from None

    def _broken(self, error: Exception) -> DataError:
        return DataError(
            f"{self.field}: {self.path} holds no signatures: {error}",
            f"name the shards/{NAME} of a prepare stage whose `deduplicate.near` is enabled",
        )


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


def read_stage(folder: Path, stage: str, near: Near, field: str) -> Signatures:
    """The file of another stage of the run.

    Raises:
        SpecError: If the stage keeps none, or one that cannot be compared with.
    """
    path = folder / NAME
    if not path.is_file():
        raise SpecError(
            f"{field}: stage `{stage}` keeps no signatures",
            f"set `deduplicate: {{near: {{enabled: true}}}}` in stage `{stage}` too",
        )
    return _checked(Signatures(str(path), field, lambda: path.open("rb")), near)


def read_file(path: str, near: Near, field: str) -> Signatures:
    """A file of another run, local or at a URI.

    Raises:
        NotFoundError: If there is none.
        DataError: If it is something else.
        SpecError: If it was made with other options.
    """
    files = expand(path, field)
    if len(files) > 1:
        raise NotFoundError(
            f"{field}: {path} matches {len(files)} files, one is needed",
            "name each file on a line of its own",
        )
    (file,) = files
    return _checked(Signatures(path, field, lambda: _opened(file)), near)


def _checked(found: Signatures, near: Near) -> Signatures:
    made = found.options()
    wanted = {"ngram": near.ngram, "permutations": near.permutations}
    if near.enabled and made != wanted:
        raise SpecError(
            f"{found.field}: {found.path} was made with {_words(made)}, "
            f"this stage has {_words(wanted)}",
            f"set `deduplicate.near` to {_words(made)}, or prepare the other data anew",
        )
    return found


def _opened(file: Path | str) -> IO[bytes]:
    if isinstance(file, Path):
        return file.open("rb")
    import fsspec

    return cast(IO[bytes], fsspec.open(file, "rb").open())


def _read(file: IO[bytes], count: int) -> bytes:
    data = file.read(count)
    if len(data) < count:
        raise EOFError("it breaks off")
    return data


def _words(options: dict[str, int]) -> str:
    return ", ".join(f"{name} {value}" for name, value in options.items())
