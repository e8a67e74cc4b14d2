"""What every reader is given, and how it tells what it could not read."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from astrosage.data.compressed import Limits
from astrosage.data.conversations.choice import LayoutChoice
from astrosage.data.records import Format, Record
from astrosage.data.tally import Tally
from astrosage.errors import DataError
from astrosage.spec.sources import Source

File: TypeAlias = Path | str
"""A local file, or a URI."""
JUDGED_FROM = 100
"""Records before which a source's share of failures is not judged."""


@dataclass(frozen=True, slots=True)
class Raw:
    """A record as it is stored, where reading it takes time: anyone may do it, anywhere.

    Attributes:
        read: The record, and in the tally what was left out of it; None where it holds no text. Can
            be pickled. Raises :class:`~astrosage.errors.DataError` if it cannot be read.
        size: About how many characters it holds, so that batches of it take no longer than others.
    """

    read: Callable[[Tally], Record | None]
    size: int


@dataclass(frozen=True)
class Mark:
    """Where a pass stood when it began a file, from which it can be taken up again.

    Attributes:
        file: The file's number in the source, from 0.
        tried: Records that were begun in the files before it.
        tally: What was left out or changed in them.
    """

    file: int = 0
    tried: int = 0
    tally: Tally = dataclasses.field(default_factory=Tally)


@dataclass
class Reading:
    """One pass over a source.

    Attributes:
        source: As the run file has it.
        format: ``text`` or ``chat``.
        field: The source's place in the run file.
        tally: What was left out or changed.
        tried: Records that were begun, also where others read them.
        glance: Whether the first records are enough, since only their form is checked.
        mark: Where the file that is being read began; what lies before a given one is passed over.
    """

    source: Source
    format: Format
    field: str
    tally: Tally = dataclasses.field(default_factory=Tally)
    tried: int = 0
    glance: bool = False
    mark: Mark = dataclasses.field(default_factory=Mark)
    _begun: int = 0

    @classmethod
    def taken_up(cls, source: Source, format: Format, field: str, mark: Mark) -> Reading:  # noqa: A002
        """A pass that goes on at the file of a mark."""
        return cls(source, format, field, mark.tally.copy(), mark.tried, mark=mark)

    def begin(self, count: int = 1) -> bool:
        """Begin so many files; False if an earlier pass has read them all."""
        number, self._begun = self._begun, self._begun + count
        if self._begun <= self.mark.file:
            return False
        self.mark = Mark(number, self.tried, self.tally.copy())
        return True

    def each(self, files: Sequence[File]) -> Iterator[File]:
        """Files that do not need one another, each begun by itself."""
        for file in files:
            if self.begin():
                yield file

    @property
    def layout(self) -> LayoutChoice:
        """How the source holds conversations; what is known of it is in the tally."""
        return LayoutChoice(self.source.layout, self.tally)

    @property
    def limits(self) -> Limits:
        """How large records and unpacked files may be."""
        source = self.source
        return Limits(source.max_record_bytes, source.max_expansion, source.max_expanded_bytes)

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Read one record: where the source's ``onError`` says so, its failure is only counted."""
        self.tried += 1
        with attempt(self.source, self.field, self.fail):
            yield

    def fail(self, message: str) -> None:
        """Count a record that could not be read.

        Raises:
            DataError: If these are more than the source's ``maxFailures`` allows.
        """
        self.tally.add("failed", example=message)
        if self.tried >= JUDGED_FROM:
            self.judge()

    def judge(self) -> None:
        """See :func:`judge`."""
        judge(self.source, self.field, self.tried, self.tally)


def whole(
    items: Iterable[Record | Raw], tally: Tally, attempt: Callable[[], AbstractContextManager[None]]
) -> Iterator[Record]:
    """All as records: what is raw is read, each in an attempt of its own."""
    for item in items:
        record: Record | None = None
        if isinstance(item, Record):
            record = item
        else:
            with attempt():
                record = item.read(tally)
        if record is not None:
            yield record


@contextmanager
def attempt(source: Source, field: str, fail: Callable[[str], None]) -> Iterator[None]:
    """Read one record of a source: where its ``onError`` says so, a failure is only told."""
    try:
        yield
    except DataError as error:
        if not source.skips:
            raise
        fail(error.message)
    except RecursionError:
        message = f"{field}: a record is nested too deeply to be read"
        if not source.skips:
            raise DataError(message, "leave it out, or set `onError: skip`") from None
        fail(message)


def judge(source: Source, field: str, tried: int, tally: Tally) -> None:
    """Refuse a source of which too much could not be read.

    Raises:
        DataError: Naming the share, the bound and the first failures.
    """
    failed = tally.counts["failed"]
    if failed > source.max_failures * tried:
        examples = "; ".join(tally.examples.get("failed", [])[:3])
        raise DataError(
            f"{field}: {failed} of {tried} records of {source.path} cannot "
            f"be read, more than `maxFailures` {source.max_failures:g}: {examples}",
            "mend or remove them, or raise `maxFailures`",
        )


class Reader(Protocol):
    """Reads the files of a source, which are of one kind."""

    def __call__(self, files: list[File], reading: Reading) -> Iterator[Record | Raw]:
        """The records, in the order of the files.

        Raises:
            AstroError: At the first thing that cannot be read and may not be left out.
        """
