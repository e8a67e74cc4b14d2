"""The file by which later runs know what a stage has used, looked at without NumPy.

``signatures.npz`` beside the shards, uncompressed: ``keys`` uint8 ``[n, 16]`` hashes of whole
records, ``signatures`` uint32 ``[m, K]`` their MinHash (records without words have none), and
``ngram``, the words that a signature is made from. Light, so that a file that will not do is told
before anything starts.
"""

from __future__ import annotations

import ast
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from astrosage.data.sources import expand
from astrosage.errors import DataError, NotFoundError, SpecError
from astrosage.spec.deduplicate import Near

NAME = "signatures.npz"
_MAGIC = b"\x93NUMPY"
_BROKEN = (ValueError, KeyError, OSError, EOFError, SyntaxError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class SignatureFile:
    """A stage's file, read as it is asked for.

    Attributes:
        path: The file, as it was named.
        field: Where it was named.
        open: Opens it.
    """

    path: str
    field: str
    open: Callable[[], IO[bytes]]

    def check(self, near: Near) -> None:
        """Refuse a file that is none, or that was made otherwise than its stage compares.

        Raises:
            DataError: If it is something else, or broken.
            SpecError: If it was made with other options.
        """
        with self.array("ngram", "<i8", 0) as (file, _):
            ngram = int.from_bytes(read(file, 8), "little")
        with self.array("keys", "|u1", 2), self.array("signatures", "<u4", 2) as (_, shape):
            made = {"ngram": ngram, "permutations": shape[1]}
        _compare(f"{self.field}: {self.path}", made, near)

    @contextmanager
    def array(
        self, name: str, kind: str, dimensions: int
    ) -> Iterator[tuple[IO[bytes], tuple[int, ...]]]:
        """An array's bytes and its shape.

        Args:
            name: Of the array.
            kind: The type that it must have, as NumPy writes it: ``<u4``.
            dimensions: As many it must have.

        Raises:
            DataError: If the file is something else, or broken.
        """
        try:
            with (
                self.open() as opened,
                zipfile.ZipFile(opened) as archive,
                archive.open(f"{name}.npy") as file,
            ):
                found, shape = _header(file)
                if found != kind or len(shape) != dimensions:
                    raise ValueError(f"{name} are {found} of shape {shape}")
                yield file, shape
        except _BROKEN as error:
            raise DataError(
                f"{self.field}: {self.path} holds no signatures: {error}",
                f"name the shards/{NAME} of a prepare stage whose `deduplicate.near` is enabled",
            ) from None


def _header(file: IO[bytes]) -> tuple[str, tuple[int, ...]]:
    """Type and shape, from the header of NumPy's format, version 1 or 2."""
    start = read(file, 8)
    if start[:6] != _MAGIC:
        raise ValueError("no array of NumPy's")
    size = int.from_bytes(read(file, 2 if start[6] == 1 else 4), "little")
    said = ast.literal_eval(read(file, size).decode("latin-1").strip())
    if said["fortran_order"]:
        raise ValueError("its columns lie one after another")
    return said["descr"], tuple(said["shape"])


def of_stage(folder: Path, stage: str, near: Near, field: str) -> SignatureFile:
    """The file of another stage of the run.

    Raises:
        SpecError: If the stage keeps none, or one that cannot be compared with.
    """
    path = folder / NAME
    if not path.is_file():
        raise _keeps_none(stage, field)
    found = SignatureFile(str(path), field, lambda: path.open("rb"))
    found.check(near)
    return found


def of_run(path: str, near: Near, field: str) -> SignatureFile:
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
    found = SignatureFile(path, field, lambda: _opened(file))
    found.check(near)
    return found


def check_stages(stage: str, made: Near, near: Near, field: str) -> None:
    """Refuse a stage that will keep no signatures, or others than are compared with.

    Args:
        stage: Its name.
        made: What it is told of near-duplicates.
        near: What the stage is told that names it.
        field: Where it does.

    Raises:
        SpecError: Saying how to make them fit.
    """
    if not made.enabled:
        raise _keeps_none(stage, field)
    options = {"ngram": made.ngram, "permutations": made.permutations}
    _compare(f"{field}: stage `{stage}`", options, near)


def read(file: IO[bytes], count: int) -> bytes:
    """So many bytes.

    Raises:
        EOFError: If there are fewer.
    """
    data = file.read(count)
    if len(data) < count:
        raise EOFError("it breaks off")
    return data


def _keeps_none(stage: str, field: str) -> SpecError:
    return SpecError(
        f"{field}: stage `{stage}` keeps no signatures",
        f"set `deduplicate: {{near: {{enabled: true}}}}` in stage `{stage}` too",
    )


def _compare(what: str, made: dict[str, int], near: Near) -> None:
    wanted = {"ngram": near.ngram, "permutations": near.permutations}
    if near.enabled and made != wanted:
        raise SpecError(
            f"{what} was made with {_words(made)}, this stage has {_words(wanted)}",
            f"set `deduplicate.near` to {_words(made)}, or prepare the other data anew",
        )


def _opened(file: Path | str) -> IO[bytes]:
    if isinstance(file, Path):
        return file.open("rb")
    import fsspec

    return cast(IO[bytes], fsspec.open(file, "rb").open())


def _words(options: dict[str, int]) -> str:
    return ", ".join(f"{name} {value}" for name, value in options.items())
