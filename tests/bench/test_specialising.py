from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astrosage.bench.inputs import NamedSet
from astrosage.bench.perplexity import Likelihood
from astrosage.bench.question import Question
from astrosage.bench.specialising import summarize


def item(name: str, role: Any, count: int = 4) -> NamedSet:
    questions = tuple(Question(f"q{i}", "Why?", ("a", "b"), 0) for i in range(count))
    return NamedSet(name, name, questions, role)


def judged(name: str, pairs: str) -> list[dict[str, Any]]:
    """A letter a question: both, model alone (+), baseline alone (-), neither."""
    return [
        {
            "set": name,
            "method": "likelihood",
            "model": {"correct": x in "b+"},
            "baseline": {"correct": x in "b-"},
        }
        for x in pairs
    ]


def test_gains_inside_stand_next_to_losses_outside() -> None:
    sets = [item("astro", "inside"), item("stars", "inside"), item("history", "outside")]
    records = judged("astro", "b+++") + judged("stars", "b++n") + judged("history", "bb--")
    found = summarize(sets, records, {})
    assert found is not None
    inside, outside = found["inside"], found["outside"]
    assert inside["sets"] == ["astro", "stars"]
    gain, loss = inside["accuracy"]["likelihood"], outside["accuracy"]["likelihood"]
    assert (gain["questions"], gain["better"], gain["difference"]) == (8, 5, 5 / 8)
    assert (gain["model"], gain["baseline"]) == (7 / 8, 2 / 8)
    assert 0 < gain["low"] < 5 / 8 < gain["high"] < 1
    assert loss["difference"] == -0.5
    assert loss["low"] < -0.5 < loss["high"]


def test_without_baseline_or_keys_there_is_nothing_to_say() -> None:
    alone = [{k: v for k, v in r.items() if k != "baseline"} for r in judged("astro", "b+")]
    assert summarize([item("astro", "inside")], alone, {}) is None
    keyless = NamedSet("open", "o", (Question("q", "Why?", ("a", "b"), None),))
    assert summarize([keyless], judged("open", "b+"), {}) is None


def likelihoods(rates: list[float]) -> list[Likelihood]:
    return [Likelihood(rate * 100, 100, 400) for rate in rates]


def test_the_ratio_of_perplexities_and_its_interval() -> None:
    base = likelihoods([3.0, 3.2, 2.8, 3.1, 2.9])
    model = likelihoods([2.5, 2.8, 2.2, 2.6, 2.4])
    found = summarize([], [], {"outside": (model, base)})
    assert found is not None
    texts = found["outside"]["heldout"]
    ratio = texts["perplexityRatio"]
    assert ratio["value"] == pytest.approx(math.exp(-0.5))
    assert math.exp(-0.6) <= ratio["low"] <= ratio["value"] <= ratio["high"] <= math.exp(-0.4)
    assert texts["bitsPerByteChange"]["value"] == pytest.approx(-0.5 / math.log(2) / 4)
    assert summarize([], [], {"outside": (model, base)}) == found  # the seed is fixed


def test_one_document_has_no_interval() -> None:
    found = summarize([], [], {"inside": (likelihoods([2.0]), likelihoods([3.0]))})
    assert found is not None
    ratio = found["inside"]["heldout"]["perplexityRatio"]
    assert (ratio["low"], ratio["high"]) == (None, None)
    assert found["inside"]["heldout"]["resamples"] == 0


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.floats(0.5, 6), st.floats(0.5, 6)), min_size=2, max_size=8))
def test_intervals_lie_within_what_documents_can_give(pairs: list[tuple[float, float]]) -> None:
    model, base = likelihoods([m for m, _ in pairs]), likelihoods([b for _, b in pairs])
    found = summarize([], [], {"inside": (model, base)})
    assert found is not None
    ratio = found["inside"]["heldout"]["perplexityRatio"]
    lowest, highest = min(m - b for m, b in pairs), max(m - b for m, b in pairs)
    assert math.exp(lowest) * (1 - 1e-9) <= ratio["low"] <= ratio["high"]
    assert ratio["high"] <= math.exp(highest) * (1 + 1e-9)
