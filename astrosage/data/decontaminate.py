"""Keep evaluation questions out of training: shared word n-grams, as GPT-3's authors did.

Brown et al. 2020 (appendix C) compare 13-grams of lower-case words without punctuation. Here the
needles are every n-gram of a question's stem, of stem and answer read as one, of the answer and of
the explanation; a stem shorter than n words counts when a text holds it whole.

Shorter n-grams decide by coverage, where a stage asks for them: of a question's stem and options,
as far as they are that long, they must cover a stated share of the words within one paragraph. That
finds questions with a few words changed. See :mod:`astrosage.data.coverage`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

from astrosage.data.coverage import CoverageIndex
from astrosage.data.records import Record
from astrosage.errors import DataError

SHORTEST_STEM = 5
_ANCHOR = 3  # words that a needle is looked up by; at most SHORTEST_STEM
_WORD = re.compile(r"\w+")
_PARAGRAPH = re.compile(r"\n{2,}")


class QuestionLike(Protocol):
    """What is needed of a question."""

    @property
    def id(self) -> str:
        """Its name in its file."""

    @property
    def question(self) -> str:
        """The stem."""

    @property
    def choices(self) -> Any:
        """The options."""

    @property
    def answer(self) -> int | None:
        """Index of the right option; None where the file has no keys."""

    @property
    def explanation(self) -> str | None:
        """Why it is right."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A question found in a record.

    Attributes:
        document: The record's id.
        source: The record's file.
        line: The record's line.
        question: The question's id.
        questions: The question's file.
        part: Which part of the question was found.
        words: The words in common.
    """

    document: str
    source: str
    line: int
    question: str
    questions: str
    part: str
    words: str

    def to_dict(self) -> dict[str, Any]:
        """Plain data for the report."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Needle:
    words: tuple[str, ...]
    question: str
    file: str
    part: str


def words(text: str) -> list[str]:
    """A text's words, compatibility forms and case folded, punctuation gone."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


class QuestionIndex:
    """Finds questions in texts.

    Args:
        ngram: Words in a row that count as contamination; at least 5.
        covering: Words in a row that count where they cover enough of a question; None: none do.
        coverage: Share of a question's words that is enough.
    """

    def __init__(self, ngram: int, covering: int | None = None, coverage: float = 0.5) -> None:
        self._ngram = ngram
        self._coverage = CoverageIndex(covering, coverage) if covering else None
        self._needles: dict[tuple[str, ...], list[_Needle]] = {}

    def add(self, questions: Iterable[QuestionLike], file: str) -> None:
        """Index a file's questions."""
        for question in questions:
            if self._coverage is not None:
                parts = [words(part) for part in (question.question, *question.choices)]
                self._coverage.add(parts, file, question.id)
            seen: set[tuple[str, ...]] = set()
            for part, needle in self._parts(question):
                if needle not in seen:
                    seen.add(needle)
                    entry = _Needle(needle, question.id, file, part)
                    self._needles.setdefault(needle[:_ANCHOR], []).append(entry)

    def _parts(self, question: QuestionLike) -> Iterator[tuple[str, tuple[str, ...]]]:
        stem, key = words(question.question), question.answer
        answer = words(question.choices[key]) if key is not None else []
        if SHORTEST_STEM <= len(stem) < self._ngram:
            yield "stem", tuple(stem)
        for part, found in (
            ("stem", stem),
            ("stem and answer", stem + answer),
            ("answer", answer),
            ("explanation", words(question.explanation or "")),
        ):
            for i in range(len(found) - self._ngram + 1):
                yield part, tuple(found[i : i + self._ngram])

    def find(self, text: str) -> list[_Needle]:
        """The first needle of each question that the text holds."""
        if not self._needles and not self._coverage:
            return []
        found = words(text)
        hits: dict[tuple[str, str], _Needle] = {}
        for i, anchor in enumerate(zip(found, found[1:], found[2:], strict=False)):
            for needle in self._needles.get(anchor, ()):
                if tuple(found[i : i + len(needle.words)]) == needle.words:
                    hits.setdefault((needle.file, needle.question), needle)
        if self._coverage:
            for file, question, part, common in self._coverage.find(found):
                hits.setdefault((file, question), _Needle(common, question, file, part))
        return list(hits.values())


class Decontaminator:
    """Applies an index to records and keeps the account.

    Args:
        index: The questions.
        action: ``remove`` drops what ``remove`` says, ``fail`` stops.
        remove: ``passage`` drops a text's paragraph, ``record`` the whole text.

    Attributes:
        hits: Every question found, in order.
        documents, paragraphs, words: What was touched and removed.
    """

    def __init__(self, index: QuestionIndex, action: str, remove: str = "passage") -> None:
        self._index, self._action, self._remove = index, action, remove
        self.hits: list[Hit] = []
        self.documents = self.paragraphs = self.words = 0

    def apply(self, record: Record) -> Record:
        """The record without contaminated paragraphs; its text may become empty.

        Raises:
            DataError: If a chat record holds a question, or a text does under ``fail``.
        """
        if record.messages:
            for text in record.texts:
                self._refuse(self._hits(record, text))
            return record
        paragraphs = _PARAGRAPH.split(record.text)
        kept = [p for p in paragraphs if not self._is_contaminated(record, p)]
        if len(kept) == len(paragraphs):
            return record
        self.documents += 1
        if self._remove == "record":
            self.words += sum(len(words(p)) for p in kept)
            kept = []
        return replace(record, text="\n\n".join(kept))

    def _is_contaminated(self, record: Record, paragraph: str) -> bool:
        hits = self._hits(record, paragraph)
        if not hits:
            return False
        if self._action == "fail":
            self._refuse(hits)
        self.hits += hits
        self.paragraphs += 1
        self.words += len(words(paragraph))
        return True

    def _hits(self, record: Record, text: str) -> list[Hit]:
        return [
            Hit(
                record.id, record.source, record.line, n.question, n.file, n.part, " ".join(n.words)
            )
            for n in self._index.find(text)
        ]

    def _refuse(self, hits: list[Hit]) -> None:
        if hits:
            hit = hits[0]
            raise DataError(
                f"{hit.source}, line {hit.line}: holds evaluation question `{hit.question}` of "
                f"{hit.questions} ({hit.part}: “{hit.words}”)",
                "remove the record, or change the question; nothing is trained on what it is "
                "judged by",
            )
