"""The bench stage: score a model, and its baseline if it has one, and leave a report."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from typing import Any

from astrosage import lineage
from astrosage.bench import costs, perplexity, predictions, results, specialising, tasks
from astrosage.bench.inputs import HeldoutDocument, NamedSet, load_heldout, load_sets
from astrosage.bench.results import Collected
from astrosage.bench.summary import summarize_sets
from astrosage.bench.tasks import Inputs, Role, Task, Work, Writing
from astrosage.context import StageContext
from astrosage.report.build import build_report
from astrosage.runs import manifest
from astrosage.spec.bench import BenchSpec
from astrosage.spec.graph import path_of

_WORKS: tuple[Work, ...] = ("likelihood", "letter", "generation")


def run(context: StageContext) -> dict[str, Any]:
    """Run one bench stage and leave its ``bench`` artefact.

    The same model, questions and methods give the same records, whatever the number of workers.

    Returns:
        Facts for the lineage.

    Raises:
        AstroError: For questions, texts, a model or a service that cannot be used, a cluster
            without room, or a budget that is used up.
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
        self.service: dict[str, Any] | None = None

    def run(self) -> dict[str, Any]:
        """Read, score, judge, write."""
        began = time.monotonic()
        sets = load_sets(self.spec, self.field)
        heldout = tuple(load_heldout(self.spec, self.field))
        generation = self.spec.generation
        inputs = Inputs(
            models=self._models(),
            questions=tuple(q for s in sets for q in s.questions),
            documents=tuple(document.text for document in heldout),
            writing=Writing(generation.max_new_tokens, generation.reasoning),
            seed=self.spec.seed,
        )
        collected = self._score(inputs)
        judged = list(results.records(sets, collected, self.spec.seed))
        prices = self.spec.endpoint.prices if self.spec.endpoint else None
        summary = {
            "model": model_name(self.spec),
            "baseline": self.spec.baseline,
            "sets": summarize_sets(sets, judged),
            "heldout": _heldout(collected) if inputs.documents else None,
            "specialising": _specialising(sets, judged, heldout, collected),
            "service": self.service,
            "cost": costs.summarize(
                collected,
                seconds=time.monotonic() - began,
                workers=len(self.workers),
                price_per_hour=self.context.cluster.price_per_hour,
                served=self.spec.endpoint is not None,
                prices=prices,
            ),
            "hardware": self.workers[0] if self.workers else lineage.hardware(),
        }
        self._write(sets, judged, summary)
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
        return [w for w in _WORKS if w in methods]

    def _score(self, inputs: Inputs) -> Collected:
        works, size, shuffles = self._works(), self.spec.batch_size, self.spec.shuffles
        served = (
            tasks.make(inputs, works, size, ["model"], shuffles)
            if self.spec.endpoint is not None
            else []
        )
        with_texts: list[Work] = ["heldout", *works] if inputs.documents else works
        local = tasks.make(inputs, with_texts, size, inputs.models, shuffles)
        collected = Collected()
        progress = _Progress(self.context, sum(t.questions for t in [*served, *local]))
        for done in self._results(inputs, served, local):
            collected.add(done)
            progress.add(done.task)
        progress.close()
        return collected

    def _results(self, inputs: Inputs, served: list[Task], local: list[Task]) -> tasks.Results:
        if self.spec.endpoint is not None:
            yield from self._asked(inputs, served)
        if local:
            from astrosage.bench.pool import Pool

            pool = Pool(self.context, inputs)
            yield from pool.perform(local)
            self.workers = pool.facts

    def _asked(self, inputs: Inputs, served: list[Task]) -> tasks.Results:
        """Results of a service; what it answers is kept in the stage's folder."""
        from astrosage.bench.endpoint import EndpointScorer
        from astrosage.endpoints.kept import KeptAnswers
        from astrosage.endpoints.spending import Purse

        endpoint, stage = self.spec.endpoint, self.context.stage_name
        assert endpoint is not None
        kept = KeptAnswers(self.context.directory.storage, endpoint.cache)
        field = f"spec.stages.{stage}.bench"
        purse = Purse(self.spec.budget, endpoint.prices, kept, field, self.context.run.name)
        scorer = EndpointScorer(endpoint, inputs, purse, self.spec.seed)
        yield from scorer.perform(served)
        self.service = scorer.facts()

    def _write(
        self, sets: Sequence[NamedSet], judged: list[dict[str, Any]], summary: dict[str, Any]
    ) -> None:
        with self.context.directory.storage.writing("bench") as folder:
            lines = (json.dumps(record, ensure_ascii=False) + "\n" for record in judged)
            (folder / "records.jsonl").write_text("".join(lines), encoding="utf-8")
            summary["predictions"] = predictions.write(folder, sets, judged)
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
            doing=f"{task.role}: {task.work}" + (f", order {task.order}" if task.order else ""),
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


def _heldout(collected: Collected) -> dict[str, Any]:
    found = {role: collected.get(role, "heldout") for role in results.ROLES}
    return {r: perplexity.summarize(values) if values else None for r, values in found.items()}


def _specialising(
    sets: Sequence[NamedSet],
    judged: Sequence[dict[str, Any]],
    heldout: Sequence[HeldoutDocument],
    collected: Collected,
) -> dict[str, Any] | None:
    model, base = collected.get("model", "heldout"), collected.get("baseline", "heldout")
    by_side: dict[Any, Any] = {}
    if model and base:
        for side in specialising.SIDES:
            places = [i for i, document in enumerate(heldout) if document.role == side]
            if places:
                by_side[side] = [model[i] for i in places], [base[i] for i in places]
    return specialising.summarize(sets, judged, by_side)
