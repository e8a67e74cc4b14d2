from __future__ import annotations

import json
from pathlib import Path

from astrosage.bench import predictions
from astrosage.bench.inputs import NamedSet
from astrosage.bench.question import Question
from astrosage.bench.results import records
from tests.bench.test_summary import asked, collected

OPEN = NamedSet("open", "o", tuple(Question(str(i), "Why?", ("a", "b"), None) for i in range(3)))


def test_answers_without_keys_are_for_others_to_score(tmp_path: Path) -> None:
    sets = [NamedSet("quiz", "q", asked(2)), OPEN]
    found = collected(
        ("model", "letter", 0, [[0, -1, -1, -1]] * 2 + [[0.0, 0.0], [-9.0, 0.0], [0, -1]]),
        ("model", "generation", 0, ["A"] * 5),
    )
    told = predictions.write(tmp_path, sets, list(records(sets, found)))
    assert told == {
        "file": "predictions.jsonl",
        "sets": ["open"],
        "method": "letter",
        "answers": 3,
        "withoutChoice": 0,
    }
    lines = [json.loads(x) for x in (tmp_path / "predictions.jsonl").read_text().splitlines()]
    assert [(x["set"], x["id"], x["letter"]) for x in lines] == [
        ("open", "0", "A"),
        ("open", "1", "B"),
        ("open", "2", "A"),
    ]
    assert lines[0]["confidence"] == 0.5
    assert 0.999 < lines[1]["confidence"] < 1


def test_an_answer_that_chooses_nothing_is_written_as_such(tmp_path: Path) -> None:
    found = collected(("model", "generation", 0, ["Hm", "B", "I cannot say"]))
    told = predictions.write(tmp_path, [OPEN], list(records([OPEN], found)))
    assert told is not None
    assert told["withoutChoice"] == 2
    first = json.loads((tmp_path / "predictions.jsonl").read_text().splitlines()[0])
    assert first == {"set": "open", "id": "0", "letter": None, "confidence": None}


def test_where_all_have_keys_nothing_is_written(tmp_path: Path) -> None:
    sets = [NamedSet("quiz", "q", asked(2))]
    found = collected(("model", "generation", 0, ["A", "B"]))
    assert predictions.write(tmp_path, sets, list(records(sets, found))) is None
    assert list(tmp_path.iterdir()) == []
