"""Bytes to text: plain or gzip, local or through fsspec, with errors that name the file."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from astrosage.errors import DataError, NotFoundError

_BOM = b"\xef\xbb\xbf"


def read_text(path: Path | str) -> str:
    """A whole file as text.

    Raises:
        NotFoundError, DataError: If it is missing, empty, broken gzip or not UTF-8.
    """
    with _opened(path) as stream:
        raw = stream.read()
    text = _decoded(raw.removeprefix(_BOM), path, len(raw) - len(raw.removeprefix(_BOM)))
    if not text.strip():
        raise empty(path, len(raw))
    return text


def read_lines(path: Path | str) -> Iterator[tuple[int, str]]:
    """A file's lines with their numbers from 1, one line in memory at a time.

    Raises:
        NotFoundError, DataError: If the file is missing, broken gzip or not UTF-8.
    """
    offset = 0
    with _opened(path) as stream:
        for number, raw in enumerate(stream, 1):
            body = raw.removeprefix(_BOM) if number == 1 else raw
            yield number, _decoded(body, path, offset + len(raw) - len(body))
            offset += len(raw)


def count_lines(path: Path | str) -> int:
    """Lines that hold something; as quick as the file can be read, nothing is checked."""
    with _opened(path) as stream:
        return sum(1 for raw in stream if not raw.isspace())


def empty(path: Path | str, size: int) -> DataError:
    """The error for a file that holds nothing."""
    found = f"{size} bytes, only white space" if size else "0 bytes"
    return DataError(f"{path} is empty ({found})", "remove it from the sources or fill it")


@contextmanager
def _opened(path: Path | str) -> Iterator[IO[bytes]]:
    try:
        with _raw(path) as raw:
            if not str(path).endswith(".gz"):
                yield raw
                return
            with gzip.open(raw) as stream:
                yield cast(IO[bytes], stream)
    except FileNotFoundError:
        raise NotFoundError(f"{path} does not exist", "check the path in the run file") from None
    except EOFError:
        raise DataError(
            f"{path}: the gzip stream is cut off before its end", "copy or download it again"
        ) from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path}: broken gzip: {error}", "copy or download it again") from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(f"{path} cannot be read: {reason}", "check the file's rights") from None


def _raw(path: Path | str) -> IO[bytes]:
    if isinstance(path, Path):
        return path.open("rb")
    import fsspec

    return cast(IO[bytes], fsspec.open(path, "rb").open())


def _decoded(raw: bytes, path: Path | str, offset: int) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        where = "of the unpacked text" if str(path).endswith(".gz") else "of the file"
        raise DataError(
            f"{path}: not UTF-8: byte 0x{raw[error.start]:02x} at offset "
            f"{offset + error.start} {where}",
            "save it as UTF-8, for example with `iconv -f latin1 -t utf-8`",
        ) from None
