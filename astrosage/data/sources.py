"""Find a source's files and read their records, one at a time.

Light enough for the command line, which checks every record before a job is submitted.
"""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Iterator
from pathlib import Path

from astrosage.data.reading import count_lines, empty, read_lines, read_text
from astrosage.data.records import Format, Record, parse_line
from astrosage.errors import AstroError, DataError, NotFoundError, SpecError, StorageError
from astrosage.runs.manifest import sha256_file
from astrosage.spec.stages import Source

TEXT_ENDINGS = (".txt", ".md")
LINE_ENDINGS = (".jsonl",)


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
    if "://" in path and not path.startswith("file://"):
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
            raise _nothing(path, field)
        return [str(fs.unstrip_protocol(p)) for p in found]
    except AstroError:
        raise
    except ImportError as error:
        raise StorageError(f"{field}: {path}: {error}", "install the driver it names") from None
    except ValueError as error:
        raise SpecError(f"{field}: {path}: {error}", "use a local path or s3://, gs://…") from None
    except Exception as error:  # each store's driver raises a family of its own
        raise StorageError(
            f"{field}: {path} cannot be listed: {error}", "check the address and the credentials"
        ) from error


def _nothing(path: str, field: str) -> NotFoundError:
    what = "no file matches the pattern" if glob.has_magic(path) else "no such file:"
    return NotFoundError(
        f"{field}: {what} {path}",
        "local paths are relative to the run file's folder",
    )


def read_records(source: Source, format: Format, field: str) -> Iterator[Record]:  # noqa: A002
    """All records of a source, in the order of its files and lines.

    Args:
        source: What to read: ``.txt`` and ``.md`` (one document a file), ``.jsonl``, each also
            with ``.gz``.
        format: ``text`` or ``chat``.
        field: The source's place in the run file, such as ``spec.stages[0].prepare.sources[0]``.

    Raises:
        NotFoundError, DataError: At the first file or line that cannot be used.
    """
    for file in expand(source.path, f"{field}.path"):
        ending = _check_ending(file, format, field)
        if ending in TEXT_ENDINGS:
            name = str(file).rsplit("/", 1)[-1]
            yield Record(name, str(file), 1, text=read_text(file))
        else:
            yield from _read_jsonl(file, format, source.text_field)


def _read_jsonl(file: Path | str, format: Format, text_field: str) -> Iterator[Record]:  # noqa: A002
    records, size = 0, 0
    for number, line in read_lines(file):
        size += len(line)
        if line.strip():
            records += 1
            yield parse_line(line, str(file), number, format, text_field)
    if not records:
        raise empty(file, size)


def _check_ending(file: Path | str, format: Format, field: str) -> str:  # noqa: A002
    ending = Path(str(file).removesuffix(".gz")).suffix.lower()
    allowed = LINE_ENDINGS if format == "chat" else (*TEXT_ENDINGS, *LINE_ENDINGS)
    if ending not in allowed:
        raise DataError(
            f"{field}.path: {file} ends in `{ending or 'nothing'}`, which `format: {format}` "
            "does not read",
            f"allowed: {', '.join(allowed)}, each also with .gz; narrow the pattern",
        )
    return ending


def check_source(source: Source, format: Format, field: str) -> int:  # noqa: A002
    """Read a source whole, so that its first fault is found before anything runs.

    Returns:
        The number of records.

    Raises:
        NotFoundError, DataError: As :func:`read_records`.
    """
    return sum(1 for _ in read_records(source, format, field))


def count_records(source: Source, field: str) -> int:
    """About how many records a source has, without reading them as JSON; for progress only."""
    files = expand(source.path, f"{field}.path")
    return sum(
        count_lines(f) if str(f).removesuffix(".gz").endswith(LINE_ENDINGS) else 1 for f in files
    )


def digest(source: Source, field: str = "source") -> list[tuple[str, str]]:
    """``(path, SHA-256)`` of each of a source's files, for the lineage."""
    return digests(source.path, f"{field}.path")


def digests(path: str, field: str) -> list[tuple[str, str]]:
    """``(path, SHA-256)`` of each file that a path, pattern or URI means."""
    return [(str(f), _sha256(f)) for f in expand(path, field)]


def _sha256(file: Path | str) -> str:
    if isinstance(file, Path):
        return sha256_file(file)
    import fsspec

    with fsspec.open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
