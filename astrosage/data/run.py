"""The prepare stage: sources to packed token shards with a report of what became of each record."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from astrosage.context import StageContext
from astrosage.data.account import Account
from astrosage.data.corpus import fill, make_encoder
from astrosage.data.decontaminate import Decontaminator
from astrosage.data.naming import short_names
from astrosage.data.questions import build_index
from astrosage.data.selection import choose, sources_of
from astrosage.data.shards import Split, SplitSummary, write_split
from astrosage.data.sources import count_records, digest
from astrosage.data.tokenise import check_model, document_end_id, load_tokenizer
from astrosage.errors import DataError
from astrosage.runs import manifest
from astrosage.spec.graph import path_of
from astrosage.spec.stages import PrepareSpec

SPLITS = ("train", "validation")
_LOG_INTERVAL_SECONDS = 1.0


def run(context: StageContext) -> None:
    """Run one prepare stage and leave its ``shards`` artefact.

    The token ids of the whole corpus are in memory while they are packed, 4 bytes a token
    (5 for chats) and about 500 bytes a document; texts are streamed.

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
        self.splits = {name: Split(name) for name in SPLITS}

    def run(self) -> None:
        """Read, tokenise, pack, write."""
        field = f"{self.field}.pack.sequenceLength"
        check_model(self.model, self.tokenizer, self.length, field)
        decontaminator, questions = self._decontaminator()
        self._fill(decontaminator)
        if decontaminator is not None:
            self._settle(decontaminator)
        self._check_not_empty()
        # Hashed after reading and outside the writing block: an error here is the source's.
        sources = self._source_digests()
        with self.context.directory.storage.writing("shards") as folder:
            self._write(folder, questions, sources)

    def _decontaminator(self) -> tuple[Decontaminator | None, list[dict[str, object]]]:
        options = self.spec.decontaminate
        if not options.enabled:
            return None, []
        index, files = build_index(self.context.job, self.context.stage, options.ngram)
        return Decontaminator(index, options.action), files

    def _fill(self, decontaminator: Decontaminator | None) -> None:
        """Tokenise everything that is chosen, and say how far it is."""
        spec, account = self.spec, self.account
        encoder = make_encoder(spec.format, self.tokenizer, self.length, account)
        total = sum(count_records(s, where) for s, where, _ in sources_of(spec, self.field))
        metrics = self.context.metrics(after_step=-1)  # this stage always starts from nothing
        started = logged = time.monotonic()
        metrics.log(0, total, "documents", tokens=0)
        for _ in fill(self.splits, choose(spec, self.field, decontaminator, account), encoder):
            now = time.monotonic()
            if now - logged > _LOG_INTERVAL_SECONDS:
                logged = now
                metrics.log(account.records, total, "documents", tokens=account.tokens)
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
        return any(p.learned.any() for p in self.splits[split].pieces)

    def _source_digests(self) -> list[dict[str, Any]]:
        return [
            {"path": path, "sha256": sha256, "license": source.license}
            for source, where, _ in sources_of(self.spec, self.field)
            for path, sha256 in digest(source, where)
        ]

    def _write(
        self, folder: Path, questions: list[dict[str, object]], sources: list[dict[str, Any]]
    ) -> None:
        end_id = document_end_id(self.tokenizer)
        pad_id = self.tokenizer.pad_token_id
        pad_id = end_id if pad_id is None else int(pad_id)
        summaries = {
            name: write_split(folder, split, self.length, pad_id)
            for name, split in self.splits.items()
        }
        short = {
            **self.account.counts(),
            "padding": {name: self._padding(s) for name, s in summaries.items()},
            "shares": self.account.shares(),
            "licenses": self.account.licenses.to_dict(),
        }
        full = {
            "model": self.spec.model or self.context.job.spec.model,
            "spec": self.spec.to_yaml_dict(),
            "splits": self._stated(summaries),
            **short,
            "questions": questions,
            "hits": [hit.to_dict() for hit in self.account.hits],
        }
        text = json.dumps(full, indent=2, ensure_ascii=False) + "\n"
        (folder / "report.json").write_text(text, encoding="utf-8")
        manifest.write(
            folder,
            key=self.context.key,
            splits=full["splits"],
            sequenceLength=self.length,
            vocabSize=len(self.tokenizer),
            documentEndId=end_id,
            padId=pad_id,
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
