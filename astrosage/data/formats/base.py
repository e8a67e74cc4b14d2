"""What every reader is given, and how it tells what it could not read."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
_JUDGED_FROM = 100


@dataclass(frozen=True)
class Mark:
    """Where a pass stood when it began a file, from which it can be taken up again.

    Attributes:
        file: The file's number in the source, from 0.
        tried: Records that were begun in the files before it.
        failed: Those of them that could not be read.
        tally: What was left out or changed in them.
    """

    file: int = 0
    tried: int = 0
    failed: int = 0
    tally: Tally = dataclasses.field(default_factory=Tally)


@dataclass
class Reading:
    """One pass over a source.

    Attributes:
        source: As the run file has it.
        format: ``text`` or ``chat``.
        field: The source's place in the run file.
        tally: What was left out or changed.
        tried: Records that were begun.
        failed: Those of them that could not be read.
        glance: Whether the first records are enough, since only their form is checked.
        mark: Where the file that is being read began; what lies before a given one is passed over.
    """

    source: Source
    format: Format
    field: str
    tally: Tally = dataclasses.field(default_factory=Tally)
    tried: int = 0
    failed: int = 0
    glance: bool = False
    mark: Mark = dataclasses.field(default_factory=Mark)
    _begun: int = 0

    @classmethod
    def taken_up(cls, source: Source, format: Format, field: str, mark: Mark) -> Reading:  # noqa: A002
        """A pass that goes on at the file of a mark."""
        return cls(source, format, field, mark.tally.copy(), mark.tried, mark.failed, mark=mark)

    def begin(self, count: int = 1) -> bool:
        """Begin so many files; False if an earlier pass has read them all."""
        number, self._begun = self._begun, self._begun + count
        if self._begun <= self.mark.file:
            return False
        self.mark = Mark(number, self.tried, self.failed, self.tally.copy())
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
        try:
            yield
        except DataError as error:
            if not self.source.skips:
                raise
            self.fail(error.message)
        except RecursionError:
            message = f"{self.field}: a record is nested too deeply to be read"
            if not self.source.skips:
                raise DataError(message, "leave it out, or set `onError: skip`") from None
            self.fail(message)

    def fail(self, message: str) -> None:
        """Count a record that could not be read.

        Raises:
            DataError: If these are more than the source's ``maxFailures`` allows.
        """
        self.failed += 1
        self.tally.add("failed", example=message)
        if self.tried >= _JUDGED_FROM:
            self.judge()

    def judge(self) -> None:
        """Refuse a source of which too much could not be read.

        Raises:
            DataError: Naming the share, the bound and the last failures.
        """
        if self.failed > self.source.max_failures * self.tried:
            examples = "; ".join(self.tally.examples.get("failed", [])[:3])
            raise DataError(
                f"{self.field}: {self.failed} of {self.tried} records of {self.source.path} cannot "
                f"be read, more than `maxFailures` {self.source.max_failures:g}: {examples}",
                "mend or remove them, or raise `maxFailures`",
            )


class Reader(Protocol):
    """Reads the files of a source, which are of one kind."""

    def __call__(self, files: list[File], reading: Reading) -> Iterator[Record]:
        """The records, in the order of the files.

        Raises:
            AstroError: At the first thing that cannot be read and may not be left out.
        """
