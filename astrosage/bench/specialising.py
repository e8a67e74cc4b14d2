"""What specialising costs: gains inside the field next to losses outside of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from astrosage.bench import perplexity
from astrosage.bench.inputs import NamedSet
from astrosage.bench.perplexity import Likelihood
from astrosage.bench.results import METHODS
from astrosage.bench.summary import paired
from astrosage.spec.bench import Side

SIDES: tuple[Side, ...] = ("inside", "outside")
_RESAMPLES = 2000
_SEED = 0
_CHUNK = 2_000_000  # indices drawn at once


def summarize(
    sets: Sequence[NamedSet],
    judged: Sequence[dict[str, Any]],
    heldout: dict[Side, tuple[Sequence[Likelihood], Sequence[Likelihood]]],
) -> dict[str, Any] | None:
    """Model against baseline on either side of the field; None without a baseline.

    Args:
        sets: The question sets; the scored ones of a side are taken together.
        judged: Their records.
        heldout: For each side the documents' likelihoods by model and by baseline.

    Returns:
        For each side that was measured: ``accuracy`` by method (difference with its interval, of
        how many questions) and ``heldout`` (ratio of perplexities with its interval).
    """
    found: dict[str, Any] = {}
    for side in SIDES:
        names = {s.name for s in sets if s.role == side and s.has_keys}
        accuracy = _accuracy([r for r in judged if r["set"] in names])
        texts = _perplexity(*heldout[side]) if side in heldout else None
        if accuracy or texts:
            found[side] = {"sets": sorted(names), "accuracy": accuracy, "heldout": texts}
    return found or None


def _accuracy(judged: Sequence[dict[str, Any]]) -> dict[str, Any]:
    found = {}
    for method in METHODS:
        records = [r for r in judged if r["method"] == method]
        if records and all("model" in r and "baseline" in r for r in records):
            found[method] = paired(records) | {
                "questions": len(records),
                "model": sum(r["model"]["correct"] for r in records) / len(records),
                "baseline": sum(r["baseline"]["correct"] for r in records) / len(records),
            }
    return found


def _perplexity(
    model: Sequence[Likelihood], baseline: Sequence[Likelihood]
) -> dict[str, Any] | None:
    """Model's perplexity divided by the baseline's, and its interval by bootstrap.

    Documents are drawn with replacement, the same ones for both models (Efron & Tibshirani 1993),
    2,000 times from a fixed seed; the interval holds the middle 95 %. Tokens differ between
    tokenizers, bytes do not, so the change in bits per byte is given as well.
    """
    if not model or not baseline:
        return None
    whole, base = perplexity.summarize(model), perplexity.summarize(baseline)
    if whole["perplexity"] is None or base["perplexity"] is None:
        return None
    logs, bits = _resampled(model, baseline)
    return {
        "model": whole,
        "baseline": base,
        "perplexityRatio": {
            "value": whole["perplexity"] / base["perplexity"],
            **_middle(logs, math.exp),
        },
        "bitsPerByteChange": {
            "value": whole["bitsPerByte"] - base["bitsPerByte"],
            **_middle(bits, float),
        },
        "documents": len(model),
        "resamples": _RESAMPLES if len(model) > 1 else 0,
    }


def _resampled(
    model: Sequence[Likelihood], baseline: Sequence[Likelihood]
) -> tuple[list[float], list[float]]:
    """Differences of mean nats per token and of bits per byte, one for each resample."""
    if len(model) < 2:
        return [], []
    import numpy

    columns = numpy.array(
        [
            (m.nats, m.tokens, b.nats, b.tokens, m.bytes)
            for m, b in zip(model, baseline, strict=True)
        ],
        dtype=numpy.float64,
    )
    generator = numpy.random.default_rng(_SEED)
    rounds = max(1, _CHUNK // len(columns))
    logs: list[float] = []
    bits: list[float] = []
    for begin in range(0, _RESAMPLES, rounds):
        size = (min(rounds, _RESAMPLES - begin), len(columns))
        drawn = columns[generator.integers(len(columns), size=size)].sum(axis=1)
        with numpy.errstate(divide="ignore", invalid="ignore"):
            logs += (drawn[:, 0] / drawn[:, 1] - drawn[:, 2] / drawn[:, 3]).tolist()
            bits += ((drawn[:, 0] - drawn[:, 2]) / math.log(2) / drawn[:, 4]).tolist()
    return logs, bits


def _middle(values: Sequence[float], shown: Any) -> dict[str, float | None]:
    """The middle 95 % of resampled values; of fewer than two documents there is none."""
    known = sorted(v for v in values if math.isfinite(v))
    if not known:
        return {"low": None, "high": None}
    cut = round(0.025 * len(known))
    return {"low": shown(known[cut]), "high": shown(known[-1 - cut])}
