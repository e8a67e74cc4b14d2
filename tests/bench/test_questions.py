from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from astrosage.bench.questions import load
from astrosage.errors import AstroError, DataError

GOOD: dict[str, Any] = {
    "id": "q1",
    "question": "Which planet is nearest to the Sun?",
    "choices": ["Mercury", "Venus", "Earth", "Mars"],
    "answer": "A",
}


def write(path: Path, *records: Any) -> Path:
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in records))
    return path


def test_letters_and_indices_and_gzip(tmp_path: Path) -> None:
    records = [GOOD, {**GOOD, "id": 2, "answer": 3, "topic": "t"}]
    plain = load(write(tmp_path / "q.jsonl", *records))
    assert [(q.id, q.answer, q.topic) for q in plain] == [("q1", 0, None), ("2", 3, "t")]
    packed = tmp_path / "q.jsonl.gz"
    packed.write_bytes(gzip.compress((tmp_path / "q.jsonl").read_bytes()))
    assert load(packed) == plain


@pytest.mark.parametrize(
    ("second", "words"),
    [
        ("{broken", "line 2: broken JSON"),
        ([1], "line 2: expected an object, found a list"),
        ({**GOOD, "id": "q1"}, "line 2: id `q1` is already used at .*line 1"),
        ({k: v for k, v in GOOD.items() if k != "answer"}, "line 2: field `answer` is missing"),
        ({**GOOD, "id": "x", "answer": "E"}, "`answer` is 'E', which is none of the 4 options"),
        ({**GOOD, "id": "x", "answer": 4}, "`answer` is 4"),
        ({**GOOD, "id": "x", "answer": None}, "`answer` is null"),
        ({**GOOD, "id": "x", "choices": ["a"]}, "2 to 10 options, found 1 options"),
        ({**GOOD, "id": "x", "choices": ["a", " "]}, r"`choices\[1\]` must be text"),
        ({**GOOD, "id": "x", "choices": ["a", "A "]}, "all options are equal"),
        ({**GOOD, "id": "x", "question": ""}, "`question` must be text"),
    ],
)
def test_faults_are_told_with_line_and_field(tmp_path: Path, second: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        load(write(tmp_path / "q.jsonl", GOOD, second))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(AstroError, match=r"none\.jsonl"):
        load(tmp_path / "none.jsonl", "bench.questions[0].path")
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(DataError, match="empty"):
        load(tmp_path / "empty.jsonl")
    (tmp_path / "latin.jsonl").write_bytes(json.dumps(GOOD).encode()[:-2] + b"\xe9\n")
    with pytest.raises(DataError, match="UTF-8"):
        load(tmp_path / "latin.jsonl")


def test_equal_options_count_alike(tmp_path: Path) -> None:
    (question,) = load(write(tmp_path / "q.jsonl", {**GOOD, "choices": ["x", "X", "y", "z"]}))
    assert question.has_equal_choices
    assert question.is_right(1)
    assert not question.is_right(2)
    assert not question.is_right(None)
