from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astrosage.bench.question import Question
from astrosage.bench.results import Collected, NamedSet, judge, records
from astrosage.bench.summary import summarize_sets
from astrosage.bench.tasks import Inputs, Work, Writing, make, perform_here, threads_for
from astrosage.errors import DataError
from tests import tiny
from tests.bench.samples import questions

WORKS: tuple[Work, ...] = ("heldout", "likelihood", "letter", "generation")


@given(count=st.integers(1, 40), size=st.integers(1, 17), documents=st.integers(0, 9))
def test_each_item_is_done_once_for_each_model(count: int, size: int, documents: int) -> None:
    inputs = Inputs({}, tuple(questions(count)), ("text",) * documents)
    for role in ("model", "baseline"):
        for work, total in (
            ("likelihood", count),
            ("letter", count),
            ("generation", count),
            ("heldout", documents),
        ):
            found = [
                t.items
                for t in make(inputs, WORKS, size, ("model", "baseline"))
                if (t.role, t.work) == (role, work)
            ]
            assert sorted(i for items in found for i in items) == list(range(total))
            assert work == "heldout" or all(len(items) <= size for items in found)


def test_costly_batches_come_first() -> None:
    short = Question("short", "Why?", ("a", "b"), 0)
    long = Question("long", "Why? " * 20, ("a", "b"), 0)
    wordy = Question("wordy", "Why?", ("a " * 90, "b"), 0)
    inputs = Inputs({}, (short, long, wordy))
    assert [t.items for t in make(inputs, ["likelihood"], 1, ["model"])] == [(2,), (1,), (0,)]


def test_threads_are_whole_and_there() -> None:
    assert threads_for(0.5) == 1
    assert threads_for(10_000) >= 1
    assert threads_for(10_000) < 10_000


def scored(model: Path, baseline: Path, batch: int, shuffles: int = 0) -> list[dict[str, Any]]:
    inputs = Inputs(
        {"model": str(model), "baseline": str(baseline)},
        tuple(questions()),
        tuple(tiny.TEXT),
        Writing(4),
    )
    collected = Collected()
    todo = make(inputs, WORKS, batch, ("model", "baseline"), shuffles)
    for done in perform_here(inputs, todo):
        collected.add(done)
    tokens = {work: collected.usage["model", work] for work in WORKS}
    assert all(used.prompt > 0 for used in tokens.values())
    assert tokens["generation"].completion > 0
    assert all(seconds > 0 for seconds in collected.seconds.values())
    sets = [
        NamedSet("first", "a.jsonl", inputs.questions[:3]),
        NamedSet("second", "b.jsonl", inputs.questions[3:]),
    ]
    return list(records(sets, collected))


def test_the_same_inputs_give_the_same_records(tiny_model: Path, tmp_path: Path) -> None:
    other = tiny.make_model(tmp_path / "other", seed=1)
    first = scored(tiny_model, other, 4)
    assert first == scored(tiny_model, other, 4)
    assert len(first) == 7 * 4
    assert {r["set"] for r in first} == {"first", "second"}
    assert any(r["model"] != r["baseline"] for r in first)


def test_the_size_of_batches_hardly_matters(tiny_model: Path) -> None:
    one, many = scored(tiny_model, tiny_model, 1), scored(tiny_model, tiny_model, 7)
    for a, b in zip(one, many, strict=True):
        if a["method"] != "generation":
            expected = pytest.approx(b["model"]["scores"], abs=0.3)  # bf16 weights
            assert a["model"]["scores"] == expected


def test_a_model_against_itself_wins_and_loses_nothing(tiny_model: Path) -> None:
    found = scored(tiny_model, tiny_model, 3)
    assert all(r["model"] == r["baseline"] for r in found)
    sets = [NamedSet("first", "a.jsonl", tuple(questions()[:3]))]
    summary = summarize_sets(sets, found)[0]
    for result in summary["methods"].values():
        paired = result["paired"]
        assert (paired["better"], paired["worse"], paired["p"], paired["pHolm"]) == (0, 0, 1, 1)
        assert paired["low"] <= paired["difference"] == 0 <= paired["high"]
        assert result["model"] == result["baseline"]


def fake(topic: str | None, model: bool, baseline: bool) -> dict[str, object]:
    return {
        "set": "s", "method": "likelihood", "topic": topic,
        "model": {"correct": model}, "baseline": {"correct": baseline},
    }  # fmt: skip


def test_summary_counts_pairs_and_topics() -> None:
    judged = [fake("stars", True, False)] * 6 + [fake("planets", False, True)] * 1
    judged += [fake("stars", True, True)] * 2 + [fake(None, False, False)] * 1
    item = NamedSet("s", "s.jsonl", tuple(questions(10)))
    summary = summarize_sets([item], judged)[0]
    result = summary["methods"]["likelihood"]
    assert (result["model"]["correct"], result["baseline"]["correct"]) == (8, 3)
    assert result["model"]["accuracy"] == 0.8
    assert result["model"]["low"] < 0.8 < result["model"]["high"]
    assert (result["paired"]["better"], result["paired"]["worse"]) == (6, 1)
    assert result["paired"]["p"] == result["paired"]["pHolm"] == 0.125
    assert result["paired"]["difference"] == 0.5
    assert [(t["topic"], t["questions"], t["model"]["correct"]) for t in summary["topics"]] == [
        ("(no topic)", 1, 0),
        ("planets", 1, 0),
        ("stars", 8, 8),
    ]
    assert summary["headline"] == "likelihood"


def test_unreadable_and_refused_answers_are_wrong_and_counted() -> None:
    question = questions(1)[0]
    for text, outcome in (("Hm", "unparsable"), ("I cannot say", "refused")):
        found = judge(question, "generation", text)
        assert (found["outcome"], found["chosen"], found["correct"]) == (outcome, None, False)
    assert judge(question, "generation", "A")["correct"]


def test_scores_that_are_not_numbers_stop() -> None:
    with pytest.raises(DataError, match="question q0: the model's log-probabilities"):
        judge(questions(1)[0], "likelihood", [float("nan"), -1.0, -2.0, -3.0])


def test_orders_of_options_change_no_other_number(tiny_model: Path) -> None:
    plain, shuffled = scored(tiny_model, tiny_model, 3), scored(tiny_model, tiny_model, 3, 3)
    for one, other in zip(plain, shuffled, strict=True):
        orders = other["model"].pop("orders", None)
        other["baseline"].pop("orders", None)
        assert one == other
        assert (orders is not None) == (one["method"] in ("letter", "generation"))
        if orders is not None:
            assert len(orders) == 4
            assert orders[0]["chosen"] == one["model"]["chosen"]
            assert orders[0]["order"] == list(range(len(one["choices"])))
            places = [o["order"].index(one["answer"]) for o in orders]
            assert [o["key"] for o in orders] == ["ABCDE"[place] for place in places]
