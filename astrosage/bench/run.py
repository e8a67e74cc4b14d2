"""The bench stage: score a model, and its baseline if it has one, and leave a report."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from astrosage import lineage
from astrosage.bench import perplexity, questions, results, tasks
from astrosage.bench.results import Collected, NamedSet
from astrosage.bench.tasks import Inputs, Role, Task, Work
from astrosage.context import StageContext
from astrosage.data.sources import read_records
from astrosage.errors import SpecError
from astrosage.report.build import build_report
from astrosage.runs import manifest
from astrosage.spec.graph import path_of
from astrosage.spec.stages import BenchSpec

log = logging.getLogger(__name__)


def run(context: StageContext) -> dict[str, Any]:
    """Run one bench stage and leave its ``bench`` artefact.

    The same model, questions and methods give the same records, whatever the number of workers.

    Returns:
        Facts for the lineage.

    Raises:
        AstroError: For questions, texts, a model or a service that cannot be used, or a cluster
            without room.
    """
    spec = context.stage.body
    assert isinstance(spec, BenchSpec)
    return _Benchmark(context, spec).run()


class _Benchmark:
    """One run of the stage."""

    def __init__(self, context: StageContext, spec: BenchSpec) -> None:
        self.context, self.spec = context, spec
        self.field = f"{path_of(context.job, context.stage)}.bench"
        self.workers: list[dict[str, Any]] = []

    def run(self) -> dict[str, Any]:
        """Read, score, judge, write."""
        began = time.monotonic()
        sets = load_sets(self.spec, self.field)
        inputs = Inputs(
            models=self._models(),
            questions=tuple(q for s in sets for q in s.questions),
            documents=tuple(load_heldout(self.spec, self.field)),
            max_new_tokens=self.spec.generation.max_new_tokens,
        )
        collected = self._score(inputs)
        judged = list(results.records(sets, collected))
        summary = {
            "model": model_name(self.spec),
            "baseline": self.spec.baseline,
            "sets": results.summarize_sets(sets, judged),
            "heldout": _heldout(collected) if inputs.documents else None,
            "cost": self._cost(time.monotonic() - began),
            "hardware": self.workers[0] if self.workers else lineage.hardware(),
        }
        self._write(judged, summary)
        peaks = [w["peakMemoryBytes"] for w in self.workers]
        return {"peakMemoryBytes": sum(peaks)} if peaks else {}

    def _models(self) -> dict[Role, str]:
        found: dict[Role, str] = {}
        if self.spec.model is not None:
            found["model"] = self.spec.model
        if self.spec.baseline is not None:
            found["baseline"] = self.spec.baseline
        return found

    def _works(self) -> list[Work]:
        default: list[Work] = ["generation"] if self.spec.endpoint else ["likelihood", "generation"]
        methods = self.spec.methods or default
        return [w for w in ("likelihood", "generation") if w in methods]

    def _score(self, inputs: Inputs) -> Collected:
        works, size = self._works(), self.spec.batch_size
        served = (
            tasks.make(inputs, works, size, ["model"]) if self.spec.endpoint is not None else []
        )
        with_texts: list[Work] = ["heldout", *works] if inputs.documents else works
        local = tasks.make(inputs, with_texts, size, inputs.models)
        collected = Collected()
        progress = _Progress(self.context, sum(t.questions for t in [*served, *local]))
        for task, values in self._results(inputs, served, local):
            collected.add(task, values)
            progress.add(task)
        progress.close()
        return collected

    def _results(self, inputs: Inputs, served: list[Task], local: list[Task]) -> tasks.Results:
        if self.spec.endpoint is not None:
            from astrosage.bench.endpoint import EndpointScorer

            yield from EndpointScorer(self.spec.endpoint, inputs, self.spec.seed).perform(served)
        if local:
            from astrosage.bench.pool import Pool

            pool = Pool(self.context, inputs)
            yield from pool.perform(local)
            self.workers = pool.facts

    def _cost(self, seconds: float) -> dict[str, Any]:
        price = self.context.cluster.price_per_hour
        return {
            "seconds": round(seconds, 2),
            "workers": len(self.workers),
            "pricePerHour": price,
            "usd": None if price is None else price * seconds / 3600,
        }

    def _write(self, judged: list[dict[str, Any]], summary: dict[str, Any]) -> None:
        with self.context.directory.storage.writing("bench") as folder:
            lines = (json.dumps(record, ensure_ascii=False) + "\n" for record in judged)
            (folder / "records.jsonl").write_text("".join(lines), encoding="utf-8")
            text = json.dumps(summary, indent=2, ensure_ascii=False) + "\n"
            (folder / "summary.json").write_text(text, encoding="utf-8")
            manifest.write(folder, key=self.context.key, model=summary["model"])
            # Not in the manifest: the report is made from the rest, and may be made again.
            report = build_report(self.context.run, fresh={self.context.stage_name: folder})
            (folder / "report.html").write_text(report, encoding="utf-8")


class _Progress:
    """Writes metrics as questions are done."""

    def __init__(self, context: StageContext, total: int) -> None:
        self._metrics = context.metrics(after_step=-1)  # this stage always starts from nothing
        self._done, self._total, self._began = 0, total, time.monotonic()
        self._metrics.log(0, total, "questions")

    def add(self, task: Task) -> None:
        """A task is done."""
        self._done += task.questions
        rate = self._done / max(time.monotonic() - self._began, 1e-9)
        left = (self._total - self._done) / rate if rate else None
        self._metrics.log(
            self._done,
            self._total,
            "questions",
            questionsPerSecond=round(rate, 2),
            etaSeconds=None if left is None else round(left, 1),
            doing=f"{task.role}: {task.work}",
        )

    def close(self) -> None:
        """All is done."""
        self._metrics.close()


def model_name(spec: BenchSpec) -> str:
    """What the scored model is called in results."""
    endpoint = spec.endpoint
    if endpoint is None:
        return str(spec.model)
    # An address may carry a password, which has no place in a result.
    return f"{endpoint.model} at {re.sub('//[^/@]*@', '//', endpoint.url)}"


def load_sets(spec: BenchSpec, field: str) -> list[NamedSet]:
    """The stage's question sets, each under a name of its own.

    Raises:
        NotFoundError, DataError: If a file cannot be used.
        SpecError: If two sets have one name.
    """
    sets: list[NamedSet] = []
    for i, item in enumerate(spec.questions):
        where = f"{field}.questions[{i}]"
        name = item.name or Path(item.path.removesuffix(".gz")).stem
        if name in {s.name for s in sets}:
            raise SpecError(
                f"{where}.name: another question set is called `{name}` too",
                "give each set a `name` of its own",
            )
        found = questions.load(item.path, f"{where}.path")[: item.limit]
        slips = [q.id for q in found if q.has_equal_choices]
        if slips:
            log.warning(
                "%s: %d questions have equal options, either of which counts: %s",
                *(item.path, len(slips), ", ".join(slips)),
            )
        sets.append(NamedSet(name, item.path, tuple(found)))
    return sets


def load_heldout(spec: BenchSpec, field: str) -> Iterator[str]:
    """The texts that perplexity is measured on.

    Raises:
        SpecError: If the model is a service, whose perplexity cannot be measured.
        NotFoundError, DataError: If a file cannot be used.
    """
    if spec.heldout and spec.endpoint is not None:
        raise SpecError(
            f"{field}.heldout: perplexity is measured on a model directory, not on an endpoint",
            "remove `heldout`, or give `model` instead of `endpoint`",
        )
    for i, source in enumerate(spec.heldout):
        for record in read_records(source, "text", f"{field}.heldout[{i}]"):
            yield record.text


def _heldout(collected: Collected) -> dict[str, Any]:
    found = {role: collected.get(role, "heldout") for role in results.ROLES}
    return {r: perplexity.summarize(values) if values else None for r, values in found.items()}
