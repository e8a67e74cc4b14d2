"""LaTeX: a document with its inputs is a record.

The files that the source's path matches are what a document may input, so that a run reads the same
wherever it runs. A tar archive is a project of its own.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import posixpath
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from astrosage.data.compressed import Limits, without_compression
from astrosage.data.formats.archive import members
from astrosage.data.formats.base import File, Raw, Reading
from astrosage.data.latex.convert import Converted, to_text
from astrosage.data.latex.project import HELPER_ENDINGS, SOURCE_ENDINGS, Project
from astrosage.data.reading import opened, read_bytes
from astrosage.data.records import Record
from astrosage.data.tally import Tally
from astrosage.errors import DataError
from astrosage.spec.sources import Source

_GLANCE = 100  # documents whose form is checked before a job is submitted
_KNOWN = (*SOURCE_ENDINGS, *HELPER_ENDINGS)


def read(files: list[File], reading: Reading) -> Iterator[Record | Raw]:
    """See :class:`~astrosage.data.formats.base.Reader`."""
    archives = [f for f in files if without_compression(f).endswith(".tar")]
    loose = [f for f in files if f not in set(archives)]
    if loose:
        yield from _read_loose(loose, reading)
    for file in archives:
        yield from _read_archive(file, reading)


def _read_loose(files: list[File], reading: Reading) -> Iterator[Record | Raw]:
    root = _common_folder(files)
    readers: dict[str, Callable[[], bytes]] = {}
    paths: dict[str, File] = {}
    for file in files:
        name = without_compression(file)
        if not name.lower().endswith(_KNOWN):
            reading.tally.add("otherFiles", example=str(file))
            continue
        name = name.removeprefix(root).lstrip("/")
        readers[name], paths[name] = partial(read_bytes, file, reading.limits), file
    project = Project(readers, root.rstrip("/"), reading.limits, reading.tally)
    documents = choose_documents(project, reading.source, reading.tally)
    for main in documents[:_GLANCE] if reading.glance else documents:
        document = _Document(main, str(paths[main]), root, reading.field)
        content: dict[str, bytes] | None = None
        with contextlib.suppress(DataError):  # who converts it is told
            content = project.needed(main)
        if content is None:
            with reading.attempt():
                record = document.record(project, reading.tally)
                if record is not None:
                    yield record
        else:
            told = (content, project.name, reading.limits)
            yield Raw(partial(document.read, *told), sum(map(len, content.values())))


@dataclass(frozen=True)
class _Document:
    """One of the documents of a folder.

    Attributes:
        main: Its main file's path below the folder.
        source: That file as the source has it.
        root: The folder.
        field: The source's place in the run file.
    """

    main: str
    source: str
    root: str
    field: str

    def read(
        self, content: dict[str, bytes], name: str, limits: Limits, tally: Tally
    ) -> Record | None:
        """The record, from the files that it needs."""
        files = {path: partial(bytes, data) for path, data in content.items()}
        return self.record(Project(files, name, limits, tally), tally)

    def record(self, project: Project, tally: Tally) -> Record | None:
        """The record, from all files of the folder."""
        converted = convert(project, self.main, tally)
        self._check_inputs(converted)
        if converted.text:
            return Record(self.main, self.source, 1, text=converted.text)
        tally.add("latexEmpty", example=self.main)
        return None

    def _check_inputs(self, converted: Converted) -> None:
        """Refuse to leave out a file that is there, but that the pattern does not match."""
        if "://" in self.root:
            return
        for name in converted.missing:
            for ending in ("", ".tex"):
                path = Path(self.root) / posixpath.dirname(self.main) / (name + ending)
                if path.is_file():
                    raise DataError(
                        f"{self.field}.path: {self.main} inputs {name}, which the path does not "
                        "match",
                        "let the path match every part of the document, such as "
                        f"{self.root}**/*.tex",
                    )


def _read_archive(file: File, reading: Reading) -> Iterator[Record]:
    with reading.attempt():
        with opened(file, reading.limits) as stream:
            project = project_of(
                members(stream, str(file), reading.limits, reading.tally, is_source),
                str(file),
                reading.limits,
                reading.tally,
            )
        stem = posixpath.basename(without_compression(file)).removesuffix(".tar")
        for main in choose_documents(project, reading.source, reading.tally):
            converted = convert(project, main, reading.tally)
            if converted.text:
                yield Record(f"{stem}/{main}", str(file), 1, text=converted.text)
            else:
                reading.tally.add("latexEmpty", example=f"{main} in {file}")


def is_source(name: str) -> bool:
    """Whether a file of a package is read at all."""
    return name.lower().endswith(_KNOWN)


def project_of(
    found: Iterator[tuple[str, bytes]], name: str, limits: Limits, tally: Tally
) -> Project:
    """A project of an archive's members, which are held in memory.

    Raises:
        DataError: If they are larger together than a record may be.
    """
    from astrosage.data.reading import too_large

    files: dict[str, Callable[[], bytes]] = {}
    size = 0
    for path, content in found:
        size += len(content)
        if size > limits.record_bytes:
            raise too_large(name, limits)
        files[path] = partial(bytes, content)
    return Project(files, name, limits, tally)


def choose_documents(project: Project, source: Source, tally: Tally) -> list[str]:
    """The files that become records."""
    mains, orphans = project.documents()
    options = source.latex
    wanted = options.orphans if options is not None else None
    if wanted is None:
        wanted = "skip" if source.kind == "arxiv" else "read"
    if wanted == "read" or not mains:
        return sorted([*mains, *orphans])
    tally.add("latexOrphans", len(orphans), ", ".join(orphans))
    return mains


def convert(project: Project, main: str, tally: Tally) -> Converted:
    """Convert one document and account for what was left out.

    Raises:
        DataError: If its groups lie too deep in one another, or its macros make too much of it.
    """
    try:
        converted = to_text(project, main)
    except RecursionError:
        raise DataError(
            f"{project.name}: {main}: groups or environments lie too deep in one another",
            "leave the document out",
        ) from None
    finally:
        project.forget()
    tally.update({f"latex:{kind}": n for kind, n in converted.counts.items()})
    for kind, words in converted.notes:
        known = tally.examples.setdefault(f"latex:{kind}", [])
        if len(known) < 5:
            known.append(words)
    return converted


def _common_folder(files: list[File]) -> str:
    """The folder that all files lie in, with a slash at its end."""
    folders = [str(f).rpartition("/")[0] for f in files]
    if any("://" in f for f in folders):
        first, last = min(folders).split("/"), max(folders).split("/")
        same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
        return "/".join(a for a, _ in same) + "/"
    return os.path.commonpath(folders) + "/" if all(folders) else ""
