"""Bytes to text: plain or compressed, local or through fsspec, with errors that name the file."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from astrosage.data.compressed import Limits, compression, unpacked
from astrosage.data.tally import Tally
from astrosage.errors import DataError, NotFoundError
from astrosage.units import format_bytes

_BOM = b"\xef\xbb\xbf"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_FALLBACK = "astrosage-latin"
_LIMITS = Limits()


def read_text(path: Path | str, limits: Limits = _LIMITS, tally: Tally | None = None) -> str:
    """A whole file as text.

    Args:
        path: The file.
        limits: How large it may be.
        tally: With it, text that is not UTF-8 is converted and counted; without, refused.

    Raises:
        NotFoundError, DataError: If it is missing, empty, too large, broken or not UTF-8.
    """
    raw = read_bytes(path, limits)
    if tally is not None:
        text = decoded(raw, str(path), tally)
    else:
        body = raw.removeprefix(_BOM)
        text = _strict(body, path, len(raw) - len(body))
    if not text.strip():
        raise empty(path, len(raw))
    return text


def read_bytes(path: Path | str, limits: Limits = _LIMITS) -> bytes:
    """A whole file, unpacked.

    Raises:
        NotFoundError, DataError: If it is missing, broken or larger than ``limits.record_bytes``.
    """
    with opened(path, limits) as stream:
        raw = stream.read(limits.record_bytes + 1)
    if len(raw) > limits.record_bytes:
        raise too_large(str(path), limits)
    return raw


def read_lines(
    path: Path | str, limits: Limits = _LIMITS, tally: Tally | None = None
) -> Iterator[tuple[int, str]]:
    """A file's lines with their numbers from 1, one line in memory at a time.

    Args:
        path: The file.
        limits: How long a line may be.
        tally: With it, lines that are not UTF-8 are converted and counted; without, refused.

    Raises:
        NotFoundError, DataError: If the file is missing, broken or not UTF-8, or a line too long.
    """
    offset = 0
    with opened(path, limits) as stream:
        for number, raw in enumerate(_pieces(stream, limits), 1):
            body = raw.removeprefix(_BOM) if number == 1 else raw
            if len(raw) > limits.record_bytes:
                raise too_large(f"{path}, line {number}", limits)
            if tally is None:
                yield number, _strict(body, path, offset + len(raw) - len(body))
            else:
                yield number, decoded(body, f"{path}, line {number}", tally)
            offset += len(raw)


def _pieces(stream: IO[bytes], limits: Limits) -> Iterator[bytes]:
    while raw := stream.readline(limits.record_bytes + 1):
        yield raw


def count_lines(path: Path | str, limits: Limits = _LIMITS) -> int:
    """Lines that hold something; as quick as the file can be read, nothing is checked."""
    with opened(path, limits) as stream:
        return sum(1 for raw in _pieces(stream, limits) if not raw.isspace())


def empty(path: Path | str, size: int) -> DataError:
    """The error for a file that holds nothing."""
    found = f"{size} bytes, only white space" if size else "0 bytes"
    return DataError(f"{path} is empty ({found})", "remove it from the sources or fill it")


def too_large(where: str, limits: Limits) -> DataError:
    """The error for a record over the bound."""
    return DataError(
        f"{where}: larger than {format_bytes(limits.record_bytes)}",
        "split it, or raise the source's `maxRecordBytes`",
    )


@contextmanager
def opened(path: Path | str, limits: Limits = _LIMITS) -> Iterator[IO[bytes]]:
    """The file's bytes, unpacked as its ending says (``.gz``, ``.zst``, ``.bz2``).

    Raises:
        NotFoundError, DataError: On opening or while reading, naming the file.
    """
    try:
        with opened_raw(path) as raw, unpacked(raw, path, limits) as stream:
            yield stream
    except FileNotFoundError:
        raise NotFoundError(f"{path} does not exist", "check the path in the run file") from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(f"{path} cannot be read: {reason}", "check the file's rights") from None


def opened_raw(path: Path | str) -> IO[bytes]:
    """The file's bytes as they are stored."""
    if isinstance(path, Path):
        return path.open("rb")
    import fsspec

    return cast(IO[bytes], fsspec.open(path, "rb").open())


def decoded(raw: bytes, where: str, tally: Tally) -> str:
    """Bytes as text, whatever of the usual encodings they are in.

    UTF-8, else UTF-16 with its mark, else UTF-8 in which single bytes are Windows-1252 or Latin-1:
    that reads plain Latin-1, of which hardly a pair of letters is valid UTF-8, and files in which
    both are mixed.

    Raises:
        DataError: If the bytes are no text.
    """
    try:
        return raw.removeprefix(_BOM).decode("utf-8")
    except UnicodeDecodeError:
        pass
    if raw.startswith(_UTF16):
        try:
            text = raw.decode("utf-16")
        except UnicodeDecodeError:
            raise _no_text(where, raw) from None
        tally.add("utf16Converted", example=where)
        return text
    if b"\0" in raw:
        raise _no_text(where, raw)
    tally.add("latin1Converted", example=where)
    return raw.removeprefix(_BOM).decode("utf-8", errors=_FALLBACK)


def _no_text(where: str, raw: bytes) -> DataError:
    return DataError(
        f"{where}: binary data, not text (it begins with {raw[:8]!r})",
        "narrow the pattern, or name the source's `kind`",
    )


def _strict(raw: bytes, path: Path | str, offset: int) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        where = "of the unpacked text" if compression(path) else "of the file"
        raise DataError(
            f"{path}: not UTF-8: byte 0x{raw[error.start]:02x} at offset "
            f"{offset + error.start} {where}",
            "save it as UTF-8, for example with `iconv -f latin1 -t utf-8`",
        ) from None


def _as_latin(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    wrong = error.object[error.start : error.end]
    # The five bytes that Windows-1252 leaves open are controls in Latin-1.
    letters = (bytes([b]).decode("cp1252", errors="ignore") or chr(b) for b in wrong)
    return "".join(letters), error.end


codecs.register_error(_FALLBACK, _as_latin)
