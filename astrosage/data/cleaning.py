"""The cleaning that a stage asks for, in its order, with an account and samples of it.

Encodings first, since the marks of a wrong one are controls that :mod:`astrosage.data.clean` drops;
then what is always done; then lines, repeats and filters, which are for documents alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from astrosage.data.boilerplate import BoilerplateRemover
from astrosage.data.clean import clean, clean_text
from astrosage.data.debris import DebrisRemover
from astrosage.data.findings import Findings
from astrosage.data.language import LanguageFilter
from astrosage.data.mend import drop_invisible, join_hyphenated, mend_mojibake
from astrosage.data.quality import c4, gopher
from astrosage.data.records import Record
from astrosage.data.repetition import repetition
from astrosage.spec.clean import Clean

_EXCERPT = 400
_LEAD = 60  # characters of an excerpt before the first difference


class Cleaner:
    """Cleans records and says which are not good enough.

    Args:
        options: What the stage asks for.
        field: Its place in the run file.

    Attributes:
        findings: What it changed and refused.

    Raises:
        SpecError: If a language is not known.
    """

    def __init__(self, options: Clean, field: str) -> None:
        self._options = options
        self._debris = DebrisRemover(options.debris) if options.debris.enabled else None
        self._boilerplate = BoilerplateRemover()
        self._languages: LanguageFilter | None = None
        if options.languages:
            least = options.min_language_probability
            self._languages = LanguageFilter(options.languages, least, f"{field}.languages")
        self.findings = self._nothing()

    @property
    def learns(self) -> bool:
        """Whether a source is to be shown by :meth:`learn` before its records are cleaned."""
        return self._options.boilerplate.enabled

    def learnt(self, records: Iterable[Record]) -> frozenset[str]:
        """The boilerplate of a source, from its first records."""
        texts = (self._mended(r).text for r in records if not r.messages)
        return BoilerplateRemover.learnt(texts, self._options.boilerplate).lines

    def learn(self, lines: frozenset[str]) -> None:
        """Remove these lines as boilerplate from now on."""
        self._note_lines()
        self._boilerplate = BoilerplateRemover(lines)

    def take(self) -> Findings:
        """What was found since this was last asked."""
        self._note_lines()
        taken, self.findings = self.findings, self._nothing()
        return taken

    def apply(self, record: Record) -> Record | None:
        """The record cleaned; None if it is refused, which is counted by its reason."""
        found = self.findings
        before = found.changed.total()
        result = self._mended(record, count=True)
        reason = None
        if not result.messages:
            text, reason = self._document(result.text)
            result = replace(result, text=text)
        if reason is None and not self._is_wanted_language(result):
            reason = "language"
        if reason is not None or found.changed.total() > before:
            self._sample(record, result, reason)
        if reason is not None:
            found.dropped[reason] += 1
            return None
        return result

    def to_dict(self) -> dict[str, Any]:
        """As the report has it; empty where nothing was asked for."""
        self._note_lines()
        return self.findings.to_dict()

    def _nothing(self) -> Findings:
        return Findings(asked=self._options != Clean())

    def _note_lines(self) -> None:
        self.findings.lines.update(self._boilerplate.removed)
        self._boilerplate.removed.clear()

    def _mended(self, record: Record, count: bool = False) -> Record:
        """With characters put right; all of it keeps the borders of messages."""
        steps = [
            ("mojibake", mend_mojibake, self._options.mojibake),
            ("zeroWidth", drop_invisible, self._options.zero_width),
        ]
        for name, step, wanted in steps:
            if not wanted:
                continue
            new = replace(
                record,
                text=step(record.text),
                messages=tuple({**m, "content": step(m["content"])} for m in record.messages),
            )
            self.findings.changed[name] += count and new != record
            record = new
        record = clean(record)
        if self._options.hyphenation and not record.messages:
            text = join_hyphenated(record.text)
            self.findings.changed["hyphenation"] += count and text != record.text
            record = replace(record, text=text)
        return record

    def _document(self, text: str) -> tuple[str, str | None]:
        """A document's text after lines and repeats went, and why it is refused, if it is."""
        text, lines = self._boilerplate.apply(text)
        self._count("boilerplate", {"boilerplateLines": lines})
        if self._debris is not None:
            text, amounts = self._debris.apply(text)
            text = clean_text(text)
            self._count("debris", amounts)
        if not text:
            return text, None
        quality = self._options.quality
        if quality.c4.enabled:
            text, removed, reason = c4(text, quality.c4)
            self._count("c4", {"c4Lines": removed})
            if reason:
                return text, f"c4.{reason}"
        if quality.gopher.enabled and (reason := gopher(text, quality.gopher)):
            return text, f"gopher.{reason}"
        if quality.repetition.enabled and (reason := repetition(text, quality.repetition)):
            return text, f"repetition.{reason}"
        return text, None

    def _is_wanted_language(self, record: Record) -> bool:
        if self._languages is None or not any(record.texts):
            return True
        language, good = self._languages.judge("\n".join(record.texts))
        self.findings.languages[language] += 1
        return good

    def _count(self, rule: str, amounts: dict[str, int]) -> None:
        self.findings.changed[rule] += any(amounts.values())
        for kind, amount in amounts.items():
            self.findings.amounts[kind] += amount

    def _sample(self, before: Record, after: Record, reason: str | None) -> None:
        """Keep the first records that were changed beyond what is always done, or refused."""
        kind = reason or "changed"
        if not self.findings.has_room(kind):
            return
        old, new = "\n".join(clean(before).texts), "\n".join(after.texts)
        if old == new and reason is None:
            return
        alike = zip(old, new, strict=False)
        at = next((i for i, (a, b) in enumerate(alike) if a != b), min(len(old), len(new)))
        at = 0 if old == new else max(0, at - _LEAD)
        self.findings.add_sample(
            kind,
            {
                "record": before.id,
                "source": before.source,
                "before": old[at : at + _EXCERPT],
                "after": f"(dropped: {reason})" if reason else new[at : at + _EXCERPT],
            },
        )
