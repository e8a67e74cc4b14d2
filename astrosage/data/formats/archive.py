"""Tar archives, read member by member from a stream: nothing is written, nothing is followed."""

from __future__ import annotations

import posixpath
import tarfile
from collections.abc import Callable, Iterator
from typing import IO, Any, cast

from astrosage.data.compressed import Limits
from astrosage.data.tally import Tally
from astrosage.errors import DataError

_BLOCK = tarfile.BLOCKSIZE
_LARGEST_HEADER = 2**20
_HEADERS = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)


def members(
    stream: IO[bytes],
    where: str,
    limits: Limits,
    tally: Tally,
    wanted: Callable[[str], bool],
    *,
    marked_end: bool = True,
) -> Iterator[tuple[str, bytes]]:
    """Name and content of the archive's plain files, in their order.

    Links, devices, names that lead out of the archive and members that are too large are left out
    and counted.

    Args:
        stream: The archive, unpacked.
        where: Its name, for messages.
        limits: The largest member is ``record_bytes``.
        tally: Counts what is left out.
        wanted: Whether a member is to be read, by its name.
        marked_end: Whether the empty block that ends an archive must be there.

    Raises:
        DataError: If the archive is damaged or cut off; the members before that were given.
    """
    last: list[bytes] = [b""]
    try:
        with tarfile.open(fileobj=stream, mode="r|", tarinfo=_remembering(last)) as archive:
            for info in archive:
                if info.isdir():
                    continue
                name = posixpath.normpath(info.name)
                if reason := _refusal(info, name, limits):
                    tally.add(reason, example=f"{info.name} in {where}")
                elif wanted(name):
                    content = cast(IO[bytes], archive.extractfile(info)).read()
                    yield name, content
    except (tarfile.TarError, EOFError, UnicodeError) as error:
        raise DataError(
            f"{where}: broken or cut tar archive: {error}", "copy or download it again"
        ) from None
    if any(last[0]) or len(last[0]) != (_BLOCK if marked_end or last[0] else 0):
        raise DataError(
            f"{where}: the tar archive is damaged or cut off before its end",
            "copy or download it again",
        )


def is_tar(data: bytes) -> bool:
    """Whether bytes are a tar archive, which a single text is not."""
    if len(data) < _BLOCK:
        return False
    try:
        tarfile.TarInfo.frombuf(data[:_BLOCK], "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def _refusal(info: tarfile.TarInfo, name: str, limits: Limits) -> str:
    if info.issym() or info.islnk():
        return "archiveLinks"
    if not info.isfile():
        return "archiveDevices"
    if name.startswith(("/", "../")) or name == ".." or "\0" in name:
        return "archivePathsOutside"
    return "archiveTooLarge" if info.size > limits.record_bytes else ""


class _Info(tarfile.TarInfo):
    """A header; the library would take headers of any length into memory."""

    def _proc_member(self, archive: Any) -> Any:
        if self.type in _HEADERS and self.size > _LARGEST_HEADER:
            raise tarfile.ReadError(f"a header of {self.size} bytes")
        return super()._proc_member(archive)  # type: ignore[misc]


def _remembering(last: list[bytes]) -> type[tarfile.TarInfo]:
    """Headers of which the last one is kept: the library takes a damaged one for the end."""

    class Info(_Info):
        @classmethod
        def frombuf(cls, buf: Any, encoding: str, errors: str) -> Any:
            last[:] = [bytes(buf)]
            return super().frombuf(buf, encoding, errors)

    return Info
