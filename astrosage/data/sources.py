"""Find a source's files and read their records, one at a time.

Light enough for the command line, which checks records before a job is submitted.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from astrosage.data.formats.base import File, Raw, Reading, whole
from astrosage.data.formats.kinds import PARTED, kind_of, reader
from astrosage.data.reading import count_lines
from astrosage.data.records import Format, Record
from astrosage.data.tally import Tally
from astrosage.errors import AstroError, NotFoundError, SpecError, StorageError
from astrosage.runs.manifest import sha256_file
from astrosage.spec.stages import Source

# Rough figures, as they are stored: a paper with its figures, an article of a packed dump.
_BYTES_A_RECORD = {"arxiv": 1_000_000, "wikipedia": 1_500}

CHECKED_CHARACTERS = 2**28
"""How much of a source's text is read before anything runs: seconds, not hours."""


def expand(path: str, field: str) -> list[Path | str]:
    """The files that a path, glob (``**`` too) or URI means, sorted.

    Args:
        path: As written in the run file.
        field: Where it stands there, for the message.

    Returns:
        Local files as :class:`~pathlib.Path`, others as URIs.

    Raises:
        NotFoundError: If nothing matches.
        SpecError, StorageError: If a URI cannot be understood or its store not be reached.
    """
    if is_stored(path):
        return list(_expand_uri(path, field))
    local = Path(path.removeprefix("file://"))
    if local.is_file():
        return [local]
    if local.is_dir():
        raise NotFoundError(
            f"{field}: {path} is a folder, not files", f"write a pattern, such as {path}/*.md"
        )
    found = sorted(p for p in map(Path, glob.glob(str(local), recursive=True)) if p.is_file())
    if not found:
        raise _nothing(path, field)
    return list(found)


def is_stored(path: str) -> bool:
    """Whether a path means files of an object store or a hub."""
    return "://" in path and not path.startswith("file://")


def _expand_uri(path: str, field: str) -> list[str]:
    import fsspec

    try:
        fs, inner = fsspec.core.url_to_fs(path)
        found = [inner] if fs.isfile(inner) else []
        if not found and glob.has_magic(path):
            listed = fs.glob(inner, detail=True)
            # In the order of local paths, so that the same files give the same records anywhere.
            found = sorted(
                (p for p, facts in listed.items() if facts["type"] == "file"),
                key=lambda p: p.split("/"),
            )
        if not found:
            _ask(fs, inner, path)
            raise _nothing(path, field)
        return [str(fs.unstrip_protocol(p)) for p in found]
    except AstroError:
        raise
    except ImportError as error:
        raise StorageError(f"{field}: {path}: {error}", "install the driver it names") from None
    except ValueError as error:
        raise SpecError(f"{field}: {path}: {error}", "use a local path or s3://, gs://…") from None
    except Exception as error:  # each store's driver raises a family of its own
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise StorageError(f"{field}: {path} cannot be listed: {reason}", _hint(path)) from error


def _ask(fs: Any, inner: str, path: str) -> None:
    """Let a hub that cannot be reached say so; asked for files alone, it has none."""
    if path.startswith("hf://") and not glob.has_magic(path):
        with contextlib.suppress(FileNotFoundError):
            fs.info(inner)


def _hint(path: str) -> str:
    if path.startswith("hf://"):
        return (
            "the model hub must be reachable: HF_ENDPOINT names a mirror, HF_TOKEN opens private "
            "data sets; without either, copy the files and name their folder"
        )
    return "check the address and the credentials"


def _nothing(path: str, field: str) -> NotFoundError:
    what = "no file matches the pattern" if glob.has_magic(path) else "no such file:"
    hint = "local paths are relative to the run file's folder"
    if path.startswith("hf://"):
        hint = "name files, as in hf://datasets/OWNER/NAME@REVISION/**/*.parquet"
    return NotFoundError(f"{field}: {what} {path}", hint)


def read_records(
    source: Source,
    format: Format,  # noqa: A002
    field: str,
    tally: Tally | None = None,
    *,
    glance: bool = False,
) -> Iterator[Record]:
    """All records of a source, in the order of its files and lines.

    Args:
        source: What to read; see ``kind``.
        format: ``text`` or ``chat``.
        field: The source's place in the run file, such as ``spec.stages[0].prepare.sources[0]``.
        tally: Takes what is left out or changed.
        glance: Read the first of each large file only, to check the form.

    Raises:
        NotFoundError, DataError: At the first file or record that cannot be used; where the source
            says ``onError: skip``, once there are too many of them.
    """
    reading = Reading(source, format, field, tally if tally is not None else Tally())
    reading.glance = glance
    yield from whole(read_on(reading), reading.tally, reading.attempt)
    reading.judge()


def read_on(reading: Reading) -> Iterator[Record | Raw]:
    """The records from the reading's mark on, some still to be read; see :func:`read_records`.

    Who reads those counts them as tried, and judges the source at its end.
    """
    for kind, files in _by_kind(reading.source, reading.format, reading.field):
        if kind in PARTED or reading.begin(len(files)):
            yield from reader(kind)(files, reading)


def _by_kind(
    source: Source,
    format: Format,  # noqa: A002
    field: str,
) -> Iterator[tuple[str, list[File]]]:
    """The source's files in order, consecutive ones of a kind together."""
    files: list[File] = []
    last = ""
    for file in expand(source.path, f"{field}.path"):
        kind = kind_of(file, source, format, field)
        if kind != last and files:
            yield last, files
            files = []
        files.append(file)
        last = kind
    yield last, files


def check_source(source: Source, format: Format, field: str) -> int:  # noqa: A002
    """Read a source, so that its first fault is found before anything runs.

    Archives and dumps, which take hours, are only begun, and so is what is larger than
    :data:`CHECKED_CHARACTERS`.

    Returns:
        The number of records that were read.

    Raises:
        NotFoundError, DataError: As :func:`read_records`.
    """
    for name, path in source.lists():
        expand(path, f"{field}.{name}")
    records = characters = 0
    for record in read_records(source, format, field, glance=True):
        records += 1
        characters += sum(map(len, record.texts))
        if characters > CHECKED_CHARACTERS:
            break
    return records


def count_records(source: Source, field: str) -> int:
    """About how many records a source has, without reading them; for progress only."""
    return sum(
        _count(kind, file, source, field)
        for kind, files in _by_kind(source, "text", field)
        for file in files
    )


def _count(kind: str, file: File, source: Source, field: str) -> int:
    reading = Reading(source, "text", field)
    if kind == "jsonl":
        return count_lines(file, reading.limits)
    if kind == "parquet":
        from astrosage.data.formats.parquet import count_rows

        return count_rows(file, reading)
    if kind in _BYTES_A_RECORD:
        return max(1, size_of(file) // _BYTES_A_RECORD[kind])
    return 1


def size_of(file: File) -> int:
    """A file's size in bytes, as it is stored; 0 where a store does not say."""
    if isinstance(file, Path):
        return file.stat().st_size
    import fsspec

    fs, inner = fsspec.core.url_to_fs(file)
    return int(fs.size(inner) or 0)


def digest(source: Source, field: str = "source") -> list[tuple[str, str]]:
    """``(path, SHA-256)`` of each of a source's files, for the lineage."""
    lists = [d for name, path in source.lists() for d in digests(path, f"{field}.{name}")]
    return digests(source.path, f"{field}.path") + lists


def digests(path: str, field: str) -> list[tuple[str, str]]:
    """``(path, SHA-256)`` of each file that a path, pattern or URI means."""
    return [(str(f), _sha256(f)) for f in expand(path, field)]


def _sha256(file: Path | str) -> str:
    if isinstance(file, Path):
        return sha256_file(file)
    import fsspec

    with fsspec.open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
