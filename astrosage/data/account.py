"""The account of a prepare stage: what came in, what was left out and why, what came out."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from astrosage.data.decontaminate import Hit
from astrosage.data.examine import Examined
from astrosage.data.findings import Findings
from astrosage.data.formats.base import JUDGED_FROM, judge
from astrosage.data.licenses import LicensePolicy
from astrosage.data.mixing import Part
from astrosage.data.steps import Steps
from astrosage.data.tally import Tally
from astrosage.spec.sources import Licenses, Source

if TYPE_CHECKING:
    from astrosage.data.encode import Encoded


@dataclass
class SourceAccount:
    """One source's part.

    Attributes:
        source: As the run file has it.
        validation: Whether it is one of ``validation.sources``.
        records: Records read.
        kept: Records that training or validation uses.
        tokens: What came of them in each split, copies by weight included.
        reading: What was left out or changed by who read the files.
        tried: Records that were read by others.
        told: What they left out or changed.
        once: Training tokens with every record once, where the mixture decides the copies.
        part: What the mixture decided.
    """

    source: Source
    validation: bool
    records: int = 0
    kept: int = 0
    tokens: dict[str, int] = field(default_factory=lambda: {"train": 0, "validation": 0})
    reading: Tally = field(default_factory=Tally)
    tried: int = 0
    told: Tally = field(default_factory=Tally)
    once: int = 0
    part: Part | None = None

    @property
    def left_out(self) -> Tally:
        """What reading left out or changed, whoever did it."""
        both = self.reading.copy()
        both.merge(self.told)
        return both

    def judge(self, field: str, tried: int | None) -> None:
        """Refuse a source of which too much could not be read.

        Args:
            field: Its place in the run file.
            tried: Its records, once all were tried.

        Raises:
            DataError: See :func:`~astrosage.data.formats.base.judge`.
        """
        if tried is not None:
            judge(self.source, field, tried, self.left_out)
        elif self.tried >= JUDGED_FROM:
            judge(self.source, field, self.tried, self.told)


@dataclass
class Account:
    """Counts over all sources; every record is in ``kept`` or in exactly one of the losses.

    Attributes:
        sources: One account for each source.
        licenses: Which licences are taken; counts records by licence.
        cleaning: What cleaning changed and refused.
        steps: Documents and words after each step.
        lengths: Documents in use by the binary logarithm of their tokens, rounded down.
        empty: Records without any text.
        duplicates: Records equal to an earlier one.
        near_duplicates: Records nearly equal to an earlier one.
        earlier: Records that earlier data holds, or nearly so.
        held_out: Training records equal to a validation record.
        contaminated: Records of which decontamination left nothing.
        not_sampled: Records that their source's weight or share left out.
        over_long_dropped: Conversations of which no answer fits, or that were not to be cut.
        over_long_cut: Kept conversations that lost their last turns.
        touched: Documents that lost at least a paragraph (their words are in ``words``).
        hits: Every question found.
        chat: What became of conversations; see :class:`~astrosage.data.corpus.ChatPieces`.
    """

    sources: list[SourceAccount] = field(default_factory=list)
    licenses: LicensePolicy = field(default_factory=lambda: LicensePolicy(Licenses()))
    cleaning: Findings = field(default_factory=Findings)
    steps: Steps = field(default_factory=Steps)
    lengths: Counter[int] = field(default_factory=Counter)
    empty: int = 0
    duplicates: int = 0
    near_duplicates: int = 0
    earlier: int = 0
    held_out: int = 0
    contaminated: int = 0
    not_sampled: int = 0
    over_long_dropped: int = 0
    over_long_cut: int = 0
    touched: int = 0
    paragraphs: int = 0
    words: int = 0
    hits: list[Hit] = field(default_factory=list)
    chat: Counter[str] = field(default_factory=Counter)

    def restore(self, stored: Account) -> None:
        """Go on with the account of an interrupted run."""
        vars(self).update(vars(stored))

    def take(self, own: SourceAccount, examined: Examined) -> None:
        """Take up what was found of a batch of a source's records."""
        own.records += examined.records
        own.tried += examined.tried
        own.told.merge(examined.reading)
        self.empty += examined.empty
        self.steps.add(examined.steps)
        self.licenses.add(examined.licenses, examined.refused)
        self.cleaning.add(examined.cleaning)

    def take_encoded(self, encoded: Encoded) -> None:
        """Take up what was found while a batch was encoded."""
        self.hits += encoded.hits
        self.touched += encoded.touched
        self.paragraphs += encoded.paragraphs
        self.words += encoded.words
        self.over_long_dropped += encoded.over_long_dropped
        self.over_long_cut += encoded.over_long_cut
        self.chat.update(encoded.chat)

    @property
    def records(self) -> int:
        """Records read so far."""
        return sum(s.records for s in self.sources)

    @property
    def kept(self) -> int:
        """Records in use so far."""
        return sum(s.kept for s in self.sources)

    @property
    def tokens(self) -> int:
        """Tokens made so far, copies included."""
        return sum(sum(s.tokens.values()) for s in self.sources)

    def counts(self) -> dict[str, int]:
        """The counts as the manifest and the report have them."""
        return {
            "records": self.records,
            "kept": self.kept,
            "licenseRefused": self.licenses.refused.total(),
            "unreadable": sum(s.left_out.counts["failed"] for s in self.sources),
            "empty": self.empty,
            "filtered": self.cleaning.dropped.total(),
            "duplicates": self.duplicates,
            "nearDuplicates": self.near_duplicates,
            "earlierDuplicates": self.earlier,
            "heldOutDuplicates": self.held_out,
            "contaminatedRecords": self.contaminated,
            "notSampled": self.not_sampled,
            "overLongDropped": self.over_long_dropped,
            "overLongCut": self.over_long_cut,
            "chatRefused": self.chat["refused"],
            "documentsWithContamination": self.touched,
            "contaminatedParagraphs": self.paragraphs,
            "contaminatedWords": self.words,
            "contaminationHits": len(self.hits),
        }

    def shares(self) -> list[dict[str, Any]]:
        """Each source with what came of it; ``trainShare`` is of all training tokens."""
        total = sum(s.tokens["train"] for s in self.sources) or 1
        return [
            {
                "path": s.source.path,
                "role": "validation" if s.validation else "train",
                "weight": s.source.times,
                "license": s.source.license,
                "records": s.records,
                "kept": s.kept,
                "trainTokens": s.tokens["train"],
                "validationTokens": s.tokens["validation"],
                "trainShare": round(s.tokens["train"] / total, 6),
                **_mixed(s),
                **({"reading": read} if (read := s.left_out.to_dict()) else {}),
            }
            for s in self.sources
        ]

    def explain_nothing(self) -> str:
        """In words, why nothing is left."""
        lost = {k: v for k, v in self.counts().items() if v and k not in ("records", "kept")}
        return f"{self.records} records read, " + (
            ", ".join(f"{name} {count}" for name, count in lost.items()) or "none left out"
        )


def _mixed(source: SourceAccount) -> dict[str, Any]:
    """What the mixture decided, if it did; to be compared with ``trainShare``."""
    if source.part is None or source.validation:
        return {}
    wanted = {} if source.source.share is None else {"wantedShare": source.source.share}
    return {
        **wanted,
        "onceTokens": source.once,
        "epochs": round(source.part.epochs, 6),
        "expectedShare": round(source.part.share, 6),
    }
