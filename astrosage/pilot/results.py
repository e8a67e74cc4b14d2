"""What a pilot has found so far: its points, the curves through them, and what ten times more buys.

Everything is read from the run directory, so it can be asked for while the run goes on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from astrosage.bench.statistics import mcnemar
from astrosage.pilot.expand import Pilot, stage_name
from astrosage.pilot.fit import Line, Power, accuracy_line, loss_curve, straight
from astrosage.report.facts import RunFacts, StageFacts
from astrosage.spec.train import TrainSpec

AHEAD = 10.0
"""How many times the tokens of the largest part are predicted for."""
_HOUR = 3600.0


@dataclass(frozen=True)
class Part:
    """The recipe on one part of the corpus.

    Attributes:
        fraction: Of the corpus.
        tokens: Training tokens of that part, each once for every time that its shards hold it.
        learnt: Tokens seen by the trainings on it, over all epochs.
        hours: That its stages but the scoring took; None while one is missing.
        usd: That they cost, if clusters have a price.
        loss: Last validation loss of each training, in nats, by the recipe's stage.
        finished: Whether all its stages are.
    """

    fraction: float
    tokens: int
    learnt: int
    hours: float | None
    usd: float | None
    loss: dict[str, float]
    finished: bool

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "fraction": self.fraction,
            "corpusTokens": self.tokens,
            "tokensSeen": self.learnt,
            "hours": None if self.hours is None else round(self.hours, 4),
            "usd": None if self.usd is None else round(self.usd, 4),
            "validationLoss": self.loss,
            "finished": self.finished,
        }


@dataclass(frozen=True)
class Scores:
    """Accuracy on one question set by one method.

    Attributes:
        stage: The recipe's bench stage.
        set: The set's name.
        method: How it was scored.
        parts: Those that are scored.
        scores: Each with ``accuracy``, ``low``, ``high``, ``correct`` and ``total``.
        baseline: The baseline's score; None without one.
        better: Against the baseline, by part: questions gained.
        worse: Questions lost.
        line: Through the points; None while there is one only.
    """

    stage: str
    set: str
    method: str
    parts: list[Part]
    scores: list[dict[str, Any]]
    baseline: dict[str, Any] | None
    better: list[int]
    worse: list[int]
    line: Line | None

    def p(self, i: int) -> float:
        """McNemar's exact test of a part against the baseline, which must be there."""
        return mcnemar(self.better[i], self.worse[i])

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        points = [
            {"fraction": part.fraction, **score}
            for part, score in zip(self.parts, self.scores, strict=True)
        ]
        if self.baseline:
            for i, point in enumerate(points):
                point |= {"p": self.p(i), "better": self.better[i], "worse": self.worse[i]}
        return {
            "stage": self.stage,
            "set": self.set,
            "method": self.method,
            "baseline": self.baseline,
            "points": points,
            "line": self.line
            and {
                "perTenfold": self.line.per_tenfold.to_dict(),
                "ahead": self.line.ahead.to_dict(),
                "gain": self.line.gain.to_dict(),
            },
        }


@dataclass(frozen=True)
class Losses:
    """Validation loss of one of the recipe's trainings.

    Attributes:
        stage: The recipe's train stage.
        parts: Those that have one.
        curve: Through the points; None with fewer than three.
    """

    stage: str
    parts: list[Part]
    curve: Power | None

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "stage": self.stage,
            "points": [{"fraction": p.fraction, "loss": p.loss[self.stage]} for p in self.parts],
            "curve": self.curve
            and {
                "floor": round(self.curve.floor, 6),
                "scale": round(self.curve.scale, 6),
                "exponent": self.curve.exponent,
                "ahead": self.curve.ahead.to_dict(),
            },
        }


@dataclass(frozen=True)
class Found:
    """All of it.

    Attributes:
        pilot: Which stages belong together.
        parts: By rising fraction.
        shared: Hours of the stages that all parts share.
        losses: By training.
        scores: By bench stage, set and method.
        ahead: Tokens that are predicted for.
        hours: That they would take, None where it cannot be told.
        usd: That they would cost.
    """

    pilot: Pilot
    parts: list[Part]
    shared: float
    losses: list[Losses]
    scores: list[Scores]
    ahead: float
    hours: float | None
    usd: float | None

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "parts": [p.to_dict() for p in self.parts],
            "sharedHours": round(self.shared, 4),
            "validationLoss": [x.to_dict() for x in self.losses],
            "accuracy": [x.to_dict() for x in self.scores],
            "ahead": {
                "corpusTokens": self.ahead,
                "hours": None if self.hours is None else round(self.hours, 4),
                "usd": None if self.usd is None else round(self.usd, 2),
            },
        }


def find(facts: RunFacts) -> Found | None:
    """What a run's pilot has found; None if the run is none, or nothing of it is prepared yet."""
    pilot = Pilot.of(facts.job)
    if pilot is None:
        return None
    stages = {s.name: s for s in facts.stages}
    parts = [p for f in pilot.fractions if (p := _part(facts, pilot, stages, f)).tokens]
    if not parts:
        return None
    ahead = AHEAD * parts[-1].tokens
    timed = [p for p in parts if p.hours is not None]
    priced = [p for p in parts if p.usd is not None]
    repeated = {stage_name(n, f) for n in pilot.repeated for f in pilot.fractions}
    return Found(
        pilot=pilot,
        parts=parts,
        shared=sum(s.seconds or 0.0 for s in facts.stages if s.name not in repeated) / _HOUR,
        losses=_losses(pilot, parts, ahead),
        scores=list(_scores(pilot, parts, stages, ahead)),
        ahead=ahead,
        hours=straight([p.tokens for p in timed], [p.hours or 0.0 for p in timed], ahead),
        usd=straight([p.tokens for p in priced], [p.usd or 0.0 for p in priced], ahead),
    )


def _part(facts: RunFacts, pilot: Pilot, stages: dict[str, StageFacts], fraction: float) -> Part:
    own = {n: s for n in pilot.repeated if (s := stages.get(stage_name(n, fraction)))}
    made = [s for s in own.values() if s.kind != "bench"]
    trained = {n: s for n, s in own.items() if isinstance(s.stage.body, TrainSpec)}
    seconds = [s.seconds for s in made]
    prices = [facts.job.cluster_of(s.stage).price_per_hour for s in made]
    whole = all(x is not None for x in seconds) and all(s.phase == "finished" for s in made)
    usd = None
    if whole and all(p is not None for p in prices):
        usd = sum((x or 0) * (p or 0) for x, p in zip(seconds, prices, strict=True)) / _HOUR
    return Part(
        fraction=fraction,
        tokens=sum(_train_tokens(own[n]) for n in pilot.corpus if n in own),
        learnt=sum(int(_last(s, "tokens") or 0) for s in trained.values()),
        hours=sum(x or 0.0 for x in seconds) / _HOUR if whole else None,
        usd=usd,
        loss={
            n: float(loss)
            for n, s in trained.items()
            if s.phase == "finished" and (loss := _last(s, "validationLoss")) is not None
        },
        finished=all(s.phase == "finished" for s in own.values()),
    )


def _train_tokens(stage: StageFacts) -> int:
    return int(((stage.manifest.get("splits") or {}).get("train") or {}).get("tokens") or 0)


def _last(stage: StageFacts, name: str) -> Any:
    return next((line[name] for line in reversed(stage.metrics) if name in line), None)


def _losses(pilot: Pilot, parts: Sequence[Part], ahead: float) -> list[Losses]:
    found = []
    for stage in pilot.repeated:
        own = [p for p in parts if stage in p.loss]
        if own:
            curve = loss_curve([p.tokens for p in own], [p.loss[stage] for p in own], ahead)
            found.append(Losses(stage, own, curve))
    return found


def _scores(
    pilot: Pilot, parts: Sequence[Part], stages: dict[str, StageFacts], ahead: float
) -> Iterator[Scores]:
    for name in pilot.repeated:
        scored = [
            (p, s)
            for p in parts
            if (s := stages.get(stage_name(name, p.fraction))) and s.kind == "bench" and s.summary
        ]
        if not scored:
            continue
        for item in scored[-1][1].summary["sets"]:
            for method in item["methods"]:
                yield _set_scores(name, item["name"], method, scored, ahead)


def _set_scores(
    stage: str, name: str, method: str, scored: Sequence[tuple[Part, StageFacts]], ahead: float
) -> Scores:
    records = [
        [r for r in s.records if r["set"] == name and r["method"] == method] for _, s in scored
    ]
    correct = [[bool(r["model"]["correct"]) for r in found] for found in records]
    base = _baseline(records)
    parts = [p for p, _ in scored]
    results = [_result(s, name, method) for _, s in scored]
    pairs = [list(zip(own, base, strict=True)) for own in correct] if base else []
    return Scores(
        stage=stage,
        set=name,
        method=method,
        parts=parts,
        scores=[_score(found["model"]) for found in results],
        baseline=next((_score(r["baseline"]) for r in results if r.get("baseline")), None),
        better=[pair.count((True, False)) for pair in pairs],
        worse=[pair.count((False, True)) for pair in pairs],
        line=accuracy_line([p.tokens for p in parts], correct, ahead),
    )


def _baseline(records: Sequence[Sequence[dict[str, Any]]]) -> list[bool]:
    """The baseline's answers, which one of the parts has; empty without one."""
    for found in records:
        if found and all("baseline" in r for r in found):
            return [bool(r["baseline"]["correct"]) for r in found]
    return []


def _result(stage: StageFacts, name: str, method: str) -> dict[str, Any]:
    found: dict[str, Any] = next(s for s in stage.summary["sets"] if s["name"] == name)["methods"]
    result: dict[str, Any] = found[method]
    return result


def _score(found: dict[str, Any]) -> dict[str, Any]:
    return {k: found[k] for k in ("accuracy", "low", "high", "correct", "total")}
