"""The generate stage: passages to question-answer pairs or questions, graded, with provenance."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from astrosage.context import StageContext
from astrosage.data.decontaminate import QuestionIndex
from astrosage.data.sources import digest
from astrosage.endpoints.client import Client
from astrosage.endpoints.kept import NAME, KeptAnswers
from astrosage.endpoints.spending import BudgetReachedError, Purse
from astrosage.errors import DataError
from astrosage.generate import account
from astrosage.generate.asking import Asking
from astrosage.generate.collecting import Collector
from astrosage.generate.loop import in_order
from astrosage.generate.passages import Passages
from astrosage.generate.rules import Rules
from astrosage.report.generated import in_words
from astrosage.runs import manifest
from astrosage.runs.directory import ARTEFACTS
from astrosage.spec.endpoint import Prices
from astrosage.spec.generate import PRODUCTS, GenerateSpec
from astrosage.spec.graph import path_of

log = logging.getLogger(__name__)
GRADES_NAME = "grades.jsonl"
"""Where the grader's answers are kept; the writer's are in ``answers.jsonl``."""
_LOG_INTERVAL_SECONDS = 1.0


def run(context: StageContext) -> None:
    """Run one generate stage and leave its ``generated`` artefact.

    Every answer of a service is stored as it comes, so that a stage that was stopped at any point
    asks for nothing again. With the same answers the artefact is the same, byte for byte.

    Raises:
        AstroError: For sources or services that cannot be used, a budget that is used up, or if
            nothing is taken. The artefact is then not there; answers stay.
    """
    spec = context.stage.body
    assert isinstance(spec, GenerateSpec)
    _Generation(context, spec).run()


@dataclass(frozen=True)
class _Service:
    """One of the two services with its accounts."""

    model: str
    prices: Prices | None
    kept: KeptAnswers
    client: Client


class _Generation:
    """One run of the stage."""

    def __init__(self, context: StageContext, spec: GenerateSpec) -> None:
        self.context, self.spec = context, spec
        self.field = f"{path_of(context.job, context.stage)}.generate"
        self.named = f"spec.stages.{context.stage_name}.generate"
        self.passages = Passages(spec, self.field)
        self.services: dict[str, _Service] = {}
        self.purse = self._purse()

    def run(self) -> None:
        """Read, ask, judge, write."""
        rules = Rules(self.spec, self._judged_by())
        if not self.passages.count():
            raise DataError(
                f"{self.field}.sources: there is no passage to write about "
                f"({_listed(self.passages.account)})",
                "lower `passages.minWords`, or name other sources",
            )
        grader = self.services.get("grader")
        asking = Asking(
            self.spec,
            rules,
            self.services["writer"].client,
            grader.client if grader else None,
            self.field,
        )
        with (
            tempfile.TemporaryFile("w+", encoding="utf-8") as taken,
            tempfile.TemporaryFile("w+", encoding="utf-8") as rejected,
        ):
            collector = Collector(self.spec, taken, rejected)
            finished = self._ask(asking, collector)
            collector.close()
            self._write(asking, collector, taken, rejected, finished)

    def _judged_by(self) -> QuestionIndex | None:
        if self.spec.kind != "chat" or not self.spec.decontaminate:
            return None
        from astrosage.generate.evaluation import index

        return index(self.context.job)

    def _purse(self) -> Purse:
        """Opens both services, which one budget pays for."""
        storage, spec = self.context.directory.storage, self.spec
        asked = {"writer": (spec.writer, NAME), "grader": (spec.grader, GRADES_NAME)}
        kept = {
            role: KeptAnswers(storage, endpoint.cache, name, f"{self.field}.{role}")
            for role, (endpoint, name) in asked.items()
            if endpoint is not None
        }
        purses: dict[str, Purse] = {}
        for role, (endpoint, _) in asked.items():
            if endpoint is None:
                continue
            others = tuple(
                (kept[other], e.prices)
                for other, (e, _) in asked.items()
                if other != role and e is not None
            )
            purses[role] = Purse(
                *(spec.budget, endpoint.prices, kept[role], self.named, self.context.run.name),
                beside=others,
                what="passages",
            )
            client = Client(
                *(endpoint, purses[role], endpoint.max_new_tokens, f"{self.field}.{role}"),
                refusals=True,
            )
            self.services[role] = _Service(endpoint.model, endpoint.prices, kept[role], client)
        return purses["writer"]

    def _ask(self, asking: Asking, collector: Collector) -> bool:
        """Take all passages through; whether none was left out for want of money.

        Raises:
            SpecError: If the budget stops the stage.
        """
        progress = _Progress(self.context, self.passages.total, self.purse)
        with asyncio.Runner() as runner:
            try:
                # As many passages as keep the writer busy while others are being graded.
                at_once = 2 * self.spec.writer.concurrency
                for outcome in in_order(runner, iter(self.passages), asking.about, at_once):
                    collector.add(outcome)
                    progress.add(collector)
            except BudgetReachedError:
                done, total = collector.counts["passages"], self.passages.total
                error = self.purse.error(done, total)
                if self.spec.at_budget == "stop":
                    raise error from None
                log.warning("%s", error.message)
                return False
            finally:
                for service in self.services.values():
                    runner.run(service.client.close())
                progress.close(collector)
        return True

    def _write(
        self,
        asking: Asking,
        collector: Collector,
        taken: IO[str],
        rejected: IO[str],
        finished: bool,
    ) -> None:
        summary = account.summarize(
            collector,
            self.passages,
            {
                role: account.service(
                    *(s.client, s.model, s.kept, s.prices, asking.nonsense[role].unread)
                )
                for role, s in self.services.items()
            },
            self.purse,
        )
        if not collector.counts["accepted"]:
            raise DataError(
                f"{self.field}: nothing was taken of {collector.counts['items']} items from "
                f"{collector.counts['passages']} passages ({_listed(collector.reasons)})",
                _first_sample(collector),
            )
        sources = [
            {"path": path, "sha256": sha256, "license": source.license}
            for i, source in enumerate(self.spec.sources)
            for path, sha256 in digest(source, f"{self.field}.sources[{i}]")
        ]
        report = {**summary, "stoppedByBudget": not finished}
        with self.context.directory.storage.writing(ARTEFACTS["generate"]) as folder:
            _spill(taken, folder / PRODUCTS[self.spec.kind])
            _spill(rejected, folder / "rejected.jsonl")
            manifest.write(
                folder,
                key=self.context.key,
                kind=self.spec.kind,
                report=report,
                sources=sources,
            )
        log.info("%s", in_words(report, self.spec.kind))


class _Progress:
    """Writes metrics as passages are done."""

    def __init__(self, context: StageContext, total: int, purse: Purse) -> None:
        self._metrics = context.metrics(after_step=-1)  # answers are kept, passages gone through
        self._total, self._purse = total, purse
        self._began = self._logged = time.monotonic()
        self._metrics.log(0, total, "passages")

    def add(self, collector: Collector) -> None:
        """Another passage is done."""
        now = time.monotonic()
        if now - self._logged > _LOG_INTERVAL_SECONDS:
            self._logged = now
            self._log(collector)

    def close(self, collector: Collector) -> None:
        """It is over."""
        self._log(collector)
        self._metrics.close()

    def _log(self, collector: Collector) -> None:
        done = collector.counts["passages"]
        rate = done / max(time.monotonic() - self._began, 1e-9)
        self._metrics.log(
            done,
            self._total,
            "passages",
            items=collector.counts["items"],
            accepted=collector.counts["accepted"],
            tokens=self._purse.tokens,
            usd=self._purse.usd,
            etaSeconds=round((self._total - done) / rate, 1) if rate else None,
        )


def _spill(file: IO[str], target: Path) -> None:
    file.seek(0)
    with target.open("w", encoding="utf-8") as out:
        shutil.copyfileobj(file, out)


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"


def _first_sample(collector: Collector) -> str:
    """What was wrong with the first of them, for a hint."""
    for reason, samples in collector.samples.items():
        return f"the first ({reason}): {json.dumps(samples[0], ensure_ascii=False)[:600]}"
    return "see the stage's log"
