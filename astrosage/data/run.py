"""The prepare stage: sources to packed token shards with a report of what became of each record."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from astrosage.context import StageContext
from astrosage.data.account import Account
from astrosage.data.card import card
from astrosage.data.corpus import Filler, make_encoder
from astrosage.data.decontaminate import Decontaminator
from astrosage.data.duplicates import DuplicateFilter, earlier_data
from astrosage.data.mixing import needs_mixing
from astrosage.data.naming import short_names
from astrosage.data.questions import build_index
from astrosage.data.selection import choose, sources_of
from astrosage.data.shards import SplitSummary
from astrosage.data.sources import count_records, digest
from astrosage.data.tokenise import check_model, document_end_id, load_tokenizer
from astrosage.data.window import WindowedSplit, scratch
from astrosage.errors import DataError
from astrosage.runs import manifest
from astrosage.spec.graph import path_of
from astrosage.spec.stages import PrepareSpec

SPLITS = ("train", "validation")
_LOG_INTERVAL_SECONDS = 1.0


def run(context: StageContext) -> None:
    """Run one prepare stage and leave its ``shards`` artefact.

    Texts are streamed; token ids are in memory a window at a time (:mod:`astrosage.data.window`).
    What grows with the corpus is what deduplication remembers of each record.

    Raises:
        AstroError: For data, questions or a model that cannot be used, or if nothing is left to
            learn from. Nothing is left in the run directory then.
    """
    spec = context.stage.body
    assert isinstance(spec, PrepareSpec)
    _Preparation(context, spec).run()


class _Preparation:
    """One run of the stage."""

    def __init__(self, context: StageContext, spec: PrepareSpec) -> None:
        self.context, self.spec = context, spec
        self.field = f"{path_of(context.job, context.stage)}.prepare"
        self.model = context.model_path(spec.model)
        self.tokenizer = load_tokenizer(self.model)
        self.length = spec.pack.sequence_length
        self.account = Account()
        end_id, pad_id = document_end_id(self.tokenizer), self.tokenizer.pad_token_id
        self.end_id = end_id
        self.pad_id = end_id if pad_id is None else int(pad_id)
        self.splits: dict[str, WindowedSplit] = {}

    def run(self) -> None:
        """Read, tokenise, pack, write."""
        field = f"{self.field}.pack.sequenceLength"
        check_model(self.model, self.tokenizer, self.length, field)
        decontaminator, questions = self._decontaminator()
        self.duplicates = self._duplicates()
        with scratch(self.context.directory.storage.local) as scratch_folder:
            for name in SPLITS:
                (scratch_folder / name).mkdir()
                split = WindowedSplit(scratch_folder / name, name, self.length, self.pad_id)
                self.splits[name] = split
            self._fill(decontaminator)
            if decontaminator is not None:
                self._settle(decontaminator)
            self._check_not_empty()
            summaries = {name: split.finish() for name, split in self.splits.items()}
            # Hashed outside the writing block: an error here is the source's.
            sources = self._source_digests()
            with self.context.directory.storage.writing("shards") as folder:
                for split in self.splits.values():
                    split.move(folder)
                self._write(folder, summaries, questions, sources)

    def _decontaminator(self) -> tuple[Decontaminator | None, list[dict[str, object]]]:
        options = self.spec.decontaminate
        if not options.enabled:
            return None, []
        index, files = build_index(self.context.job, self.context.stage, options)
        return Decontaminator(index, options.action, options.remove), files

    def _duplicates(self) -> DuplicateFilter:
        options = self.spec.deduplication
        return DuplicateFilter(options, earlier_data(self.context, options, self.field))

    def _fill(self, decontaminator: Decontaminator | None) -> None:
        """Tokenise everything that is chosen, and say how far it is."""
        spec, account = self.spec, self.account
        encoder = make_encoder(spec.format, self.tokenizer, self.length, account)
        total = sum(count_records(s, where) for s, where, _ in sources_of(spec, self.field))
        metrics = self.context.metrics(after_step=-1)  # this stage always starts from nothing
        started = logged = time.monotonic()
        metrics.log(0, total, "documents", tokens=0)
        mixed = needs_mixing(spec.sources, spec.mixture)
        filler = Filler(self.splits, encoder, account, mixed)
        chosen = choose(spec, self.field, decontaminator, account, self.duplicates)
        for _ in filler.fill(chosen):
            now = time.monotonic()
            if now - logged > _LOG_INTERVAL_SECONDS:
                logged = now
                metrics.log(account.records, total, "documents", tokens=account.tokens)
        filler.mix(spec.mixture, spec.seed, self.field)
        seconds = max(time.monotonic() - started, 1e-9)
        metrics.log(
            account.records,
            account.records,
            "documents",
            tokens=account.tokens,
            tokensPerSecond=round(account.tokens / seconds, 1),
        )
        metrics.close()

    def _settle(self, decontaminator: Decontaminator) -> None:
        account = self.account
        account.hits, account.touched = decontaminator.hits, decontaminator.documents
        account.paragraphs, account.words = decontaminator.paragraphs, decontaminator.words

    def _check_not_empty(self) -> None:
        validation = self.spec.validation
        if not self._learns("train"):
            raise DataError(
                f"{self.field}: nothing is left to train on ({self.account.explain_nothing()})",
                "add sources, lower `validation.fraction` or raise `pack.sequenceLength`",
            )
        if (validation.sources or validation.fraction) and not self._learns("validation"):
            raise DataError(
                f"{self.field}.validation: no record is held out "
                f"({self.account.explain_nothing()})",
                "raise `validation.fraction`, give `validation.sources`, or remove `validation`",
            )

    def _learns(self, split: str) -> bool:
        return self.splits[split].learned_tokens > 0

    def _source_digests(self) -> list[dict[str, Any]]:
        return [
            {"path": path, "sha256": sha256, "license": source.license}
            for source, where, _ in sources_of(self.spec, self.field)
            for path, sha256 in digest(source, where)
        ]

    def _write(
        self,
        folder: Path,
        summaries: dict[str, SplitSummary],
        questions: list[dict[str, object]],
        sources: list[dict[str, Any]],
    ) -> None:
        short = {
            **self.account.counts(),
            "padding": {name: self._padding(s) for name, s in summaries.items()},
            "shares": self.account.shares(),
            "licenses": self.account.licenses.to_dict(),
            "card": card(self.account, self.duplicates),
        }
        full = {
            "model": self.spec.model or self.context.job.spec.model,
            "spec": self.spec.to_yaml_dict(),
            "splits": self._stated(summaries),
            **short,
            "questions": questions,
            "hits": [hit.to_dict() for hit in self.account.hits],
        }
        self.duplicates.write(folder)
        text = json.dumps(full, indent=2, ensure_ascii=False) + "\n"
        (folder / "report.json").write_text(text, encoding="utf-8")
        manifest.write(
            folder,
            key=self.context.key,
            splits=full["splits"],
            sequenceLength=self.length,
            vocabSize=len(self.tokenizer),
            documentEndId=self.end_id,
            padId=self.pad_id,
            format=self.spec.format,
            report=short,
            sources=sources,
        )

    def _stated(self, summaries: Mapping[str, SplitSummary]) -> dict[str, Any]:
        """The splits as the manifest has them; of validation, which rows hold which source."""
        stated = {name: summary.to_dict() for name, summary in summaries.items()}
        held_out = summaries["validation"]
        if held_out.rows:
            names = short_names([rows.group for rows in held_out.rows])
            stated["validation"]["sources"] = held_out.sources(names)
        return stated

    def _padding(self, summary: SplitSummary) -> float:
        """Share of a split's positions that hold no token."""
        places = summary.sequences * self.length
        return round(1 - summary.tokens / places, 6) if places else 0.0
