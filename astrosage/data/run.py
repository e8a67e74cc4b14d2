"""The prepare stage: sources to packed token shards with a report of what became of each record."""

from __future__ import annotations

import gc
import json
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from astrosage.context import StageContext
from astrosage.data.card import card
from astrosage.data.checkpoints import half_made
from astrosage.data.crew import COLLECTIONS, Crew, Worker, hire
from astrosage.data.decontaminate import QuestionIndex
from astrosage.data.duplicates import earlier_data
from astrosage.data.naming import short_names
from astrosage.data.questions import build_index
from astrosage.data.selection import sources_of
from astrosage.data.shards import SplitSummary
from astrosage.data.sources import count_records, digest
from astrosage.data.tokenise import check_model, document_end_id, load_tokenizer
from astrosage.data.work import Work
from astrosage.errors import DataError
from astrosage.runs import manifest
from astrosage.spec.graph import path_of
from astrosage.spec.stages import PrepareSpec

log = logging.getLogger(__name__)

_LOG_INTERVAL_SECONDS = 1.0


def run(context: StageContext) -> None:
    """Run one prepare stage and leave its ``shards`` artefact.

    Texts are streamed; token ids are in memory a window at a time (:mod:`astrosage.data.window`).
    What deduplication remembers lies in files, of which 40 to 70 bytes a record are in memory.

    An interrupted run goes on where it last stored its state (:mod:`astrosage.data.checkpoints`),
    and leaves the same bytes as one that was not. So does any number of workers
    (:mod:`astrosage.data.crew`).

    Raises:
        AstroError: For data, questions or a model that cannot be used, or if nothing is left to
            learn from. Nothing is left in the run directory then, unless trying again can help.
    """
    spec = context.stage.body
    assert isinstance(spec, PrepareSpec)
    with hire(context) as crew:
        _Preparation(context, spec).run(crew)


@contextmanager
def _rare_collections() -> Iterator[None]:
    known = gc.get_threshold()
    gc.set_threshold(*COLLECTIONS)
    try:
        yield
    finally:
        gc.set_threshold(*known)


class _Preparation:
    """One run of the stage."""

    def __init__(self, context: StageContext, spec: PrepareSpec) -> None:
        self.context, self.spec = context, spec
        self.field = f"{path_of(context.job, context.stage)}.prepare"
        self.model = context.model_path(spec.model)
        self.tokenizer = load_tokenizer(self.model)
        self.length = spec.pack.sequence_length
        end_id, pad_id = document_end_id(self.tokenizer), self.tokenizer.pad_token_id
        self.end_id = end_id
        self.pad_id = end_id if pad_id is None else int(pad_id)

    def run(self, crew: Crew) -> None:
        """Read, tokenise, pack, write."""
        field = f"{self.field}.pack.sequenceLength"
        check_model(self.model, self.tokenizer, self.length, field)
        index, questions = self._questions()
        worker = Worker(self.spec, self.field, self.tokenizer, index)
        crew.lead(worker)
        storage = self.context.directory.storage
        with half_made(storage, self.context.key) as folder:
            earlier = earlier_data(self.context, self.spec.deduplication, self.field)
            cleaner = worker.examiner.cleaner
            self.work = Work(self.spec, self.field, folder, earlier, cleaner, self.pad_id)
            with _rare_collections():
                self._fill(crew)
            crew.leave()  # hashing large sources takes long, and needs none of it
            self._check_not_empty()
            summaries = {name: split.finish() for name, split in self.work.splits.items()}
            # Hashed outside the writing block: an error here is the source's.
            sources = self._source_digests()
            with storage.writing("shards") as target:
                for split in self.work.splits.values():
                    split.place(target)
                self._write(target, summaries, questions, sources)

    def _questions(self) -> tuple[QuestionIndex | None, list[dict[str, object]]]:
        options = self.spec.decontaminate
        if not options.enabled:
            return None, []
        return build_index(self.context.job, self.context.stage, options)

    def _fill(self, crew: Crew) -> None:
        """Tokenise everything that is chosen, and say how far it is."""
        account = self.work.account
        total = sum(count_records(s, where) for s, where, _ in sources_of(self.spec, self.field))
        metrics = self.context.metrics(after_step=account.records or -1)
        if account.records:
            log.info("%d records are prepared already: going on after them", account.records)
        began, before = time.monotonic(), account.tokens
        logged = began
        metrics.log(account.records, total, "documents", tokens=before)
        for _ in self.work.fill(crew):
            now = time.monotonic()
            if now - logged > _LOG_INTERVAL_SECONDS:
                logged = now
                metrics.log(account.records, total, "documents", tokens=account.tokens)
        self.work.mix()
        seconds = max(time.monotonic() - began, 1e-9)
        metrics.log(
            account.records,
            account.records,
            "documents",
            tokens=account.tokens,
            tokensPerSecond=round((account.tokens - before) / seconds, 1),
        )
        metrics.close()

    def _check_not_empty(self) -> None:
        validation, account = self.spec.validation, self.work.account
        if not self._learns("train"):
            raise DataError(
                f"{self.field}: nothing is left to train on ({account.explain_nothing()})",
                "add sources, lower `validation.fraction` or raise `pack.sequenceLength`",
            )
        if (validation.sources or validation.fraction) and not self._learns("validation"):
            raise DataError(
                f"{self.field}.validation: no record is held out ({account.explain_nothing()})",
                "raise `validation.fraction`, give `validation.sources`, or remove `validation`",
            )

    def _learns(self, split: str) -> bool:
        return self.work.splits[split].learned_tokens > 0

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
            **self.work.account.counts(),
            "padding": {name: self._padding(s) for name, s in summaries.items()},
            "shares": self.work.account.shares(),
            "licenses": self.work.account.licenses.to_dict(),
            "card": card(self.work.account, self.work.duplicates),
        }
        full = {
            "model": self.spec.model or self.context.job.spec.model,
            "spec": self.spec.to_yaml_dict(),
            "splits": self._stated(summaries),
            **short,
            "questions": questions,
            "hits": [hit.to_dict() for hit in self.work.account.hits],
        }
        self.work.duplicates.write(folder)
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
