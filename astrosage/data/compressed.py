"""Compressed files as streams that end with an error before they fill a disk or the memory.

A few kilobytes of gzip, bzip2 or Zstandard can unpack to terabytes. Reading stops once a file has
become larger than allowed, or many times larger than itself.
"""

from __future__ import annotations

import bz2
import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from astrosage.errors import DataError
from astrosage.units import format_bytes

ENDINGS = (".gz", ".zst", ".bz2")
_RATIO_FROM = 64 * 2**20  # short texts may well be a thousand times the same
_BUFFER = 2**18
# A block of Zstandard becomes at most 2^17 bytes and takes at least 4: so much is unpacked at once.
_ZSTD_STEP = 2**11
_ZSTD_WINDOW = 2**27


@dataclass(frozen=True, slots=True)
class Limits:
    """How far data may expand.

    Attributes:
        record_bytes: Largest record, in bytes.
        expansion: Unpacked by packed bytes, past 64 MiB.
        expanded_bytes: Largest unpacked file, in bytes.
    """

    record_bytes: int = 64 * 2**20
    expansion: int = 200
    expanded_bytes: int = 2**40


def compression(path: Path | str) -> str:
    """The ending that says how a file is compressed; empty where it is not."""
    name = str(path).lower()
    if name.endswith(".tgz"):
        return ".gz"
    return next((ending for ending in ENDINGS if name.endswith(ending)), "")


def without_compression(path: Path | str) -> str:
    """The name without such an ending."""
    name = str(path)
    if name.lower().endswith(".tgz"):
        return name[: -len(".tgz")] + ".tar"
    return name[: len(name) - len(compression(path))]


@contextmanager
def unpacked(raw: IO[bytes], path: Path | str, limits: Limits) -> Iterator[IO[bytes]]:
    """The stream's content, unpacked as the name's ending says.

    Args:
        raw: The packed bytes.
        path: The file's name, for its ending and for messages.
        limits: Beyond which reading ends.

    Raises:
        DataError: While reading, if the stream is damaged, cut off or expands too far.
    """
    ending = compression(path)
    if not ending:
        yield raw
        return
    packed = _Counted(raw)
    try:
        inner: Any = _OPENERS[ending](packed, path)
        bounded = _Bounded(inner, lambda: packed.count, limits, path)
        with io.BufferedReader(bounded, _BUFFER) as stream:
            yield cast(IO[bytes], stream)
    except EOFError:
        raise DataError(
            f"{path}: the {_NAMES[ending]} stream is cut off before its end",
            "copy or download it again",
        ) from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise _broken(path, ending, error) from None
    except OSError as error:
        if error.errno is not None:
            raise
        raise _broken(path, ending, error) from None  # bz2 says so


def _broken(path: Path | str, ending: str, error: Exception) -> DataError:
    return DataError(f"{path}: broken {_NAMES[ending]}: {error}", "copy or download it again")


class _Counted(io.RawIOBase):
    """Counts the bytes that are read, where the stream itself cannot tell (pipes, archives)."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw, self.count = raw, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._raw.read(len(buffer))
        buffer[: len(data)] = data
        self.count += len(data)
        return len(data)


class _Bounded(io.RawIOBase):
    """A stream of unpacked bytes that refuses to become too large."""

    def __init__(
        self, inner: Any, packed: Callable[[], int], limits: Limits, path: Path | str
    ) -> None:
        self._inner, self._packed, self._limits, self._path = inner, packed, limits, path
        self._count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count: int = self._inner.readinto(buffer)
        self._count += count
        too_large = self._count > self._limits.expanded_bytes
        ratio = self._count / max(self._packed(), 1)
        if too_large or (self._count > _RATIO_FROM and ratio > self._limits.expansion):
            raise DataError(
                f"{self._path}: unpacks to over {format_bytes(self._count)}, {ratio:.0f} times its "
                f"size; allowed are {format_bytes(self._limits.expanded_bytes)} and "
                f"{self._limits.expansion} times",
                "if the file is what it should be, raise the source's `maxExpandedBytes` and "
                "`maxExpansion`",
            )
        return count


class _Zstandard(io.RawIOBase):
    """Zstandard frames; unlike the library's own reader it notices a cut stream."""

    def __init__(self, packed: _Counted, path: Path | str) -> None:
        self._packed, self._path = io.BufferedReader(packed, _BUFFER), path
        self._zstandard = needed("zstandard", f"{path}: Zstandard")
        self._frame: Any = None
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            if not self._step():
                return 0
        count = min(len(buffer), len(self._ready))
        buffer[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count

    def _step(self) -> bool:
        data = self._packed.read(_ZSTD_STEP)
        if not data:
            if self._frame is not None:
                raise EOFError
            return False
        try:
            while data:
                if self._frame is None:
                    make = self._zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
                    self._frame = make.decompressobj()
                self._ready = memoryview(bytes(self._ready) + self._frame.decompress(data))
                data = self._frame.unused_data if self._frame.eof else b""
                if self._frame.eof:
                    self._frame = None
        except self._zstandard.ZstdError as error:
            raise _broken(self._path, ".zst", error) from None
        return True


def needed(package: str, purpose: str) -> Any:
    """Import what only some sources need.

    Args:
        package: The module.
        purpose: What wants it, for the message.

    Raises:
        DataError: If it is not installed.
    """
    import importlib

    try:
        return importlib.import_module(package)
    except ImportError:
        name = package.split(".")[0].replace("_", "-")
        raise DataError(
            f"{purpose} needs the package {name}, which is not installed",
            "pip install 'astrosage[data]'",
        ) from None


def _open_gzip(packed: _Counted, path: Path | str) -> Any:
    return gzip.GzipFile(fileobj=cast(IO[bytes], packed), mode="rb")


def _open_bzip2(packed: _Counted, path: Path | str) -> Any:
    return bz2.BZ2File(cast(IO[bytes], packed))


_OPENERS: dict[str, Callable[[_Counted, Path | str], Any]] = {
    ".gz": _open_gzip,
    ".zst": _Zstandard,
    ".bz2": _open_bzip2,
}
_NAMES = {".gz": "gzip", ".zst": "Zstandard", ".bz2": "bzip2"}
