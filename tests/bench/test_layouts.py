"""Question files of every kind that is read, and every way in which they are wrong."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from astrosage.bench.question import Question
from astrosage.bench.questions import load
from astrosage.errors import DataError

HEADER = ["id", "question", "A", "B", "C", "D", "answer", "topic", "year"]
ROW = ["q1", "What is the Sun?", "A star", "A planet", "A comet", "Dust", "A", "stars", "1999"]
EXPECTED = Question(
    "q1", "What is the Sun?", ("A star", "A planet", "A comet", "Dust"), 0, "stars", year=1999
)


def write_csv(path: Path, *rows: list[str]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return path


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return path


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return path


def test_csv_plain_and_packed(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "quiz.csv", HEADER, ROW, [])
    assert load(path) == [EXPECTED]
    packed = tmp_path / "quiz.csv.gz"
    packed.write_bytes(gzip.compress(b"\xef\xbb\xbf" + path.read_bytes()))
    assert load(packed) == [EXPECTED]


def test_csv_with_the_options_in_a_list(tmp_path: Path) -> None:
    row = ["q1", "What is the Sun?", '["A star", "A planet"]', "1"]
    path = write_csv(tmp_path / "q.csv", ["id", "question", "choices", "answer"], row)
    assert load(path) == [Question("q1", "What is the Sun?", ("A star", "A planet"), 1)]


cells = st.text(st.characters(exclude_categories=("Cs", "Cc", "Z")), min_size=1, max_size=15)


@settings(deadline=None, max_examples=40)  # three files are written each time
@given(st.lists(cells, min_size=4, max_size=4, unique_by=str.casefold), cells, st.integers(0, 3))
def test_the_same_question_from_every_format(
    tmp_path_factory: pytest.TempPathFactory, options: list[str], stem: str, key: int
) -> None:
    folder = tmp_path_factory.mktemp("formats")
    columns = {"id": "7", "question": stem, **dict(zip("ABCD", options, strict=True))}
    row = {**columns, "answer": "ABCD"[key]}
    files = [
        write_csv(folder / "q.csv", list(row), list(row.values())),
        write_jsonl(folder / "q.jsonl", [row]),
        write_parquet(folder / "q.parquet", [row]),
    ]
    for file in files:
        assert load(file) == [Question("7", stem, tuple(options), key)]


def test_astromlab_has_no_keys_and_names_rows_by_number(tmp_path: Path) -> None:
    rows = [{"question": f"Why {i}?", "A": "a", "B": "b", "C": "c", "D": "d"} for i in range(3)]
    for file in (
        write_parquet(tmp_path / "train-00000.parquet", rows),
        write_jsonl(tmp_path / "train.jsonl", rows),
    ):
        found = load(file)
        assert [(q.id, q.answer) for q in found] == [("0", None), ("1", None), ("2", None)]
        assert found[1].choices == ("a", "b", "c", "d")
        assert not found[0].is_right(0)
    several = load(tmp_path / "train*")
    assert len({q.id for q in several}) == 6


def test_mmlu_as_published(tmp_path: Path) -> None:
    rows = [
        {"question": f"Why {i}?", "subject": "astronomy", "choices": list("abcd"), "answer": i}
        for i in range(4)
    ]
    found = load(write_parquet(tmp_path / "test.parquet", rows))
    assert [(q.id, q.answer, q.topic) for q in found] == [
        (str(i), i, "astronomy") for i in range(4)
    ]
    path = write_csv(
        tmp_path / "astronomy_test.csv",
        ["Why, really?", "one", "two", "three", "four", "C"],
        ["How?", "1", "2", "3", "4", "A"],
    )
    found = load(path)
    assert [(q.question, q.choices[0], q.answer) for q in found] == [
        ("Why, really?", "one", 2),
        ("How?", "1", 0),
    ]


def test_a_layout_can_be_named(tmp_path: Path) -> None:
    row = {"question": "Why?", "choices": ["a", "b"], "answer": 1}
    path = write_jsonl(tmp_path / "q.jsonl", [row])
    with pytest.raises(DataError, match="field `id` is missing"):
        load(path)
    assert load(path, layout="mmlu") == [Question("0", "Why?", ("a", "b"), 1)]
    with pytest.raises(DataError, match="layout astromlab needs the columns") as caught:
        load(path, layout="astromlab")
    assert "columns found: question, choices, answer" in caught.value.message
    row = {"id": "x", **row}
    assert load(write_jsonl(path, [row]), layout="astro-qa")[0].id == "x"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"C": " "}, "option `C` is empty, the file's first question has options A to D"),
        ({"answer": "AB"}, "`answer` names several options (AB)"),
        ({"answer": "A, C"}, "`answer` names several options (A, C)"),
        ({"answer": "B and D"}, "`answer` names several options (B and D)"),
        ({"answer": "E"}, "`answer` is 'E', which is none of the 4 options"),
        ({"answer": "4"}, "`answer` is 4, which is none of the 4 options"),
        ({"id": ""}, "`id` must be text or a number, found empty text"),
        ({"question": ""}, "`question` must be text, found empty text"),
        ({"A": "x", "B": "X", "C": "x ", "D": "x"}, "all options are equal"),
        ({"year": "today"}, "`year` must be a year of four digits, found the text `today`"),
        ({"year": "12"}, "`year` must be a year of four digits, found the number 12"),
    ],
)
def test_bad_rows_of_a_csv_are_named(tmp_path: Path, change: dict[str, str], says: str) -> None:
    row = dict(zip(HEADER, ROW, strict=True))
    other = {**row, "id": "q2", **change}
    path = write_csv(tmp_path / "quiz.csv", HEADER, ROW, list(other.values()))
    with pytest.raises(DataError) as caught:
        load(path, "spec.stages[0].bench.questions[0].path")
    assert says in caught.value.message
    place = f"spec.stages[0].bench.questions[0].path: {path}, line 3"
    assert caught.value.message.startswith(place)
    assert caught.value.hint


def test_two_right_answers_in_a_list(tmp_path: Path) -> None:
    row = {"id": "q", "question": "Why?", "choices": ["a", "b", "c"], "answer": [0, 2]}
    with pytest.raises(DataError, match=r"`answer` names several options \(0, 2\)"):
        load(write_jsonl(tmp_path / "q.jsonl", [row]))


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"id,question,A,B,answer\nq,Why?,a\n", "line 2: 3 cells, the header promises 5"),
        (b"id,question,A,B,answer\nq,Why?,a,b,A,more\n", "line 2: 6 cells, the header promises 5"),
        (b"id,question,A,A,answer\nq,Why?,a,b,A\n", "line 1: two columns are called `A`"),
        (b"id,stem,A,B,answer\nq,Why?,a,b,A\n", "no column is called `question`"),
        (b'id,question,A,B,answer\nq,"Why?,a,b,A\n', "broken CSV"),
        (b'id,question,A,B,answer\nq,"Why"?,a,b,A\n', "broken CSV"),
        (b"id,question,A,B,answer\n", "is empty"),
        (b"", "is empty"),
        (b"id,question,A,B,answer\nq,Wh\xfc?,a,b,A\n", "not UTF-8: byte 0xfc"),
        (b"id,question,A,C,answer\nq,Why?,a,c,A\n", "layout astromlab needs the columns"),
    ],
)
def test_broken_csv(tmp_path: Path, raw: bytes, says: str) -> None:
    path = tmp_path / "quiz.csv"
    path.write_bytes(raw)
    with pytest.raises(DataError) as caught:
        load(path)
    assert says in caught.value.message
    assert str(path) in caught.value.message
    assert caught.value.hint


def test_jsonl_with_more_options_than_its_first_question(tmp_path: Path) -> None:
    rows = [{"question": "Why?", "A": "a", "B": "b"}, {"question": "How?", "A": "a", "B": "b"}]
    rows[1]["C"] = "c"
    with pytest.raises(DataError, match="column `C` holds a further option, the file's first"):
        load(write_jsonl(tmp_path / "q.jsonl", rows))


def test_a_spreadsheet_is_to_be_saved_as_csv(tmp_path: Path) -> None:
    (tmp_path / "Quiz.XLSX").write_bytes(b"PK\x03\x04")
    with pytest.raises(DataError, match=r"Quiz\.XLSX is a spreadsheet") as caught:
        load(tmp_path / "Quiz.XLSX")
    assert "save it as CSV" in caught.value.hint


def test_parquet_that_is_cut_short_broken_or_none(tmp_path: Path) -> None:
    rows = [{"id": i, "question": "Why?", "choices": ["a", "b"], "answer": 0} for i in range(9)]
    whole = write_parquet(tmp_path / "whole.parquet", rows).read_bytes()
    for name, raw, says in (
        ("cut", whole[:-40], "is cut off: its footer is missing"),
        ("torn", whole[:60] + bytes(40) + whole[100:-60] + bytes(52) + whole[-8:], "broken Parq"),
        ("lfs", b"version https://git-lfs.github.com/spec/v1\n", "is no Parquet file: it begins"),
        ("empty", b"", "is empty (0 bytes)"),
    ):
        path = tmp_path / f"{name}.parquet"
        path.write_bytes(raw)
        with pytest.raises(DataError) as caught:
            load(path)
        assert says in caught.value.message, name
        assert str(path) in caught.value.message
    packed = tmp_path / "q.parquet.gz"
    packed.write_bytes(gzip.compress(whole))
    with pytest.raises(DataError, match=r"is not read from \.gz"):
        load(packed)


def test_keys_that_are_all_the_same_are_no_keys(tmp_path: Path) -> None:
    def rows(count: int, key: Any) -> list[dict[str, Any]]:
        return [
            {"question": f"Why {i}?", **dict(zip("ABCD", "abcd", strict=True)), "answer": key}
            for i in range(count)
        ]

    assert len(load(write_jsonl(tmp_path / "few.jsonl", rows(19, 0)))) == 19
    for key in (0, "B"):
        with pytest.raises(
            DataError, match=r"the key of all 20 questions is [AB], which no"
        ) as err:
            load(write_jsonl(tmp_path / "many.jsonl", rows(20, key)))
        assert "predictions.jsonl" in err.value.hint
    assert load(write_jsonl(tmp_path / "null.jsonl", rows(20, None)))[0].answer is None
    mixed = [*rows(3, None), {**rows(1, "C")[0]}]
    with pytest.raises(DataError, match=r"3 of 4 questions have no key \(first: 0\)"):
        load(write_jsonl(tmp_path / "mixed.jsonl", mixed))


def test_a_line_break_in_a_cell_does_not_confuse_the_count(tmp_path: Path) -> None:
    buffer = io.StringIO()
    csv.writer(buffer).writerows([HEADER, [*ROW[:1], "What is\nthe Sun?", *ROW[2:]], ["q2"]])
    path = tmp_path / "quiz.csv"
    path.write_text(buffer.getvalue())
    with pytest.raises(DataError, match="line 4: 1 cells, the header promises 9"):
        load(path)
