from __future__ import annotations

from typing import Any

import pytest

from astrosage.bench.inputs import NamedSet
from astrosage.bench.orders import order
from astrosage.bench.question import LETTERS, Question
from astrosage.bench.results import Collected, records
from astrosage.bench.summary import summarize_sets
from astrosage.bench.tasks import Task


def asked(count: int, **more: Any) -> tuple[Question, ...]:
    return tuple(
        Question(f"q{i}", f"Why {i}?", ("a", "b", "c", "d"), i % 4, **more) for i in range(count)
    )


def collected(*works: tuple[str, str, int, list[Any]]) -> Collected:
    found = Collected()
    for role, work, which, values in works:
        task = Task(role, work, tuple(range(len(values))), which)  # type: ignore[arg-type]
        found.put(task, values)
    return found


def summary(item: NamedSet, found: Collected) -> dict[str, Any]:
    return summarize_sets([item], list(records([item], found)))[0]


def test_all_tests_of_a_summary_are_corrected_together() -> None:
    sets = [NamedSet("one", "1", asked(12)), NamedSet("two", "2", asked(12))]
    good = [LETTERS[i % 4] for i in range(12)]
    bad = [LETTERS[(i + 1) % 4] for i in range(12)]
    mixed = [*good[:6], *bad[6:]]
    found = collected(
        ("model", "generation", 0, [*good, *mixed]), ("baseline", "generation", 0, [*bad, *bad])
    )
    first, second = (
        s["methods"]["generation"]["paired"]
        for s in summarize_sets(sets, list(records(sets, found)))
    )
    assert (first["p"], second["p"]) == (2 * 0.5**12, 2 * 0.5**6)
    assert (first["pHolm"], second["pHolm"]) == (2 * first["p"], second["p"])


def test_a_model_that_always_says_b_is_seen_through() -> None:
    questions = asked(40)
    found = collected(*(("model", "generation", k, ["B"] * 40) for k in range(4)))
    result = summary(NamedSet("s", "s", questions), found)["methods"]["generation"]["model"]
    assert result["letters"] == {
        "chosen": {"A": 0, "B": 160, "C": 0, "D": 0},
        "right": {"A": 40, "B": 40, "C": 40, "D": 40},
    }
    shuffled = result["shuffled"]
    assert (shuffled["orders"], shuffled["stable"]) == (4, 0)
    assert shuffled["accuracy"] == 0.25
    assert shuffled["stableLow"] == 0.0 < shuffled["stableHigh"] < 0.1


def test_a_model_that_knows_the_option_stays_with_it() -> None:
    questions = asked(9)
    answers = []
    for k in range(7):
        places = [order(q.id, 4, k, 0).index(2) for q in questions]
        answers.append(("model", "generation", k, [LETTERS[p] for p in places]))
    shuffled = summary(NamedSet("s", "s", questions), collected(*answers))
    result = shuffled["methods"]["generation"]["model"]["shuffled"]
    assert (result["stable"], result["stableShare"]) == (9, 1.0)
    assert result["standardDeviation"] == 0
    assert result["accuracy"] == result["lowest"] == result["highest"] == pytest.approx(2 / 9)


def test_answers_that_choose_nothing_are_not_stable() -> None:
    found = collected(*(("model", "generation", k, ["Hm", "A"]) for k in range(2)))
    result = summary(NamedSet("s", "s", asked(2)), found)["methods"]["generation"]["model"]
    assert result["shuffled"]["stable"] == 0
    assert result["letters"]["chosen"]["none"] == 2


def test_scores_are_calibrated_by_what_they_were_compared_by() -> None:
    questions = (Question("q", "Why?", ("long option", "b"), 0),)
    found = collected(("model", "likelihood", 0, [[-5.5, -5.0]]), ("model", "letter", 0, [[0, -9]]))
    methods = summary(NamedSet("s", "s", questions), found)["methods"]
    assert list(methods) == ["likelihood", "likelihood_normalized", "letter"]
    plain = methods["likelihood"]["model"]["calibration"]
    assert plain["confidence"] == pytest.approx(1 / (1 + 2.718281828**-0.5))
    per_character = methods["likelihood_normalized"]["model"]["calibration"]
    assert per_character["confidence"] == pytest.approx(1 / (1 + 2.718281828**-4.5))
    assert methods["letter"]["model"]["calibration"]["brier"] < 1e-6
    assert "shuffled" not in methods["letter"]["model"]


def test_tables_of_years_and_topics_by_method() -> None:
    questions = (*asked(4, year=1999, topic="stars"), *asked(2, year=2005), *asked(1))
    found = collected(("model", "generation", 0, ["A"] * 7))
    result = summary(NamedSet("s", "s", questions), found)
    assert [(y["year"], y["questions"]) for y in result["years"]] == [
        ("(no year)", 1),
        (1999, 4),
        (2005, 2),
    ]
    assert result["methods"]["generation"]["years"] == result["years"]
    assert result["topics"][1]["topic"] == "stars"


def test_a_set_without_keys_is_not_scored() -> None:
    questions = tuple(Question(f"q{i}", "Why?", ("a", "b"), None) for i in range(3))
    item = NamedSet("open", "o", questions)
    found = collected(
        ("model", "generation", 0, ["A", "Hm", "B"]), ("model", "letter", 0, [[0, -1]] * 3)
    )
    judged = list(records([item], found))
    assert [r["model"]["correct"] for r in judged] == [None] * 6
    assert [r["answer"] for r in judged] == [None] * 6
    result = summarize_sets([item], judged)[0]
    assert (result["scored"], result["methods"], result["topics"]) == (False, {}, [])
    assert result["headline"] == "letter"
