"""The file by which later runs know what a stage has used.

``signatures.npz`` beside the shards, uncompressed: ``keys`` uint8 ``[n, 16]`` hashes of whole
records, ``signatures`` uint32 ``[m, K]`` their MinHash (records without words have none), and
``ngram``, the words that a signature is made from.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from astrosage.data.deduplicate import KEY_BYTES
from astrosage.data.sources import expand
from astrosage.errors import DataError, NotFoundError, SpecError
from astrosage.spec.deduplicate import Near

NAME = "signatures.npz"


@dataclass(frozen=True)
class Signatures:
    """What a file holds.

    Attributes:
        keys: ``[n, 16]``.
        signatures: ``[m, K]``.
    """

    keys: NDArray[np.uint8]
    signatures: NDArray[np.uint32]

    def key_list(self) -> list[bytes]:
        """The keys, one by one."""
        return [row.tobytes() for row in self.keys]


def write(folder: Path, keys: Iterable[bytes], signatures: NDArray[np.uint32], ngram: int) -> None:
    """Write a stage's file; the same records give the same bytes."""
    flat = np.frombuffer(b"".join(keys), np.uint8).reshape(-1, KEY_BYTES)
    np.savez(folder / NAME, keys=flat, signatures=signatures, ngram=np.int64(ngram))


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
    return _parsed(path.read_bytes(), str(path), near, field)


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
    if isinstance(file, Path):
        return _parsed(file.read_bytes(), path, near, field)
    import fsspec

    with fsspec.open(file, "rb") as stream:
        return _parsed(stream.read(), path, near, field)


def _parsed(data: bytes, path: str, near: Near, field: str) -> Signatures:
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as found:
            keys, signatures, ngram = found["keys"], found["signatures"], int(found["ngram"])
    except (ValueError, KeyError, OSError, EOFError, TypeError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{field}: {path} holds no signatures: {error}",
            f"name the shards/{NAME} of a prepare stage whose `deduplicate.near` is enabled",
        ) from None
    made = {"ngram": ngram, "permutations": signatures.shape[1]}
    wanted = {"ngram": near.ngram, "permutations": near.permutations}
    if near.enabled and made != wanted:
        raise SpecError(
            f"{field}: {path} was made with {_words(made)}, this stage has {_words(wanted)}",
            f"set `deduplicate.near` to {_words(made)}, or prepare the other data anew",
        )
    return Signatures(keys, signatures)


def _words(options: dict[str, int]) -> str:
    return ", ".join(f"{name} {value}" for name, value in options.items())
