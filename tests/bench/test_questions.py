from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astrosage.bench.questions import LETTERS, Question, load
from astrosage.errors import DataError, NotFoundError

GOOD: dict[str, Any] = {
    "id": "q1",
    "question": "What is the Sun?",
    "choices": ["A star", "A planet", "A comet"],
    "answer": "A",
}


def write(folder: Path, *lines: object, name: str = "quiz.jsonl") -> Path:
    path = folder / name
    text = "".join((x if isinstance(x, str) else json.dumps(x)) + "\n" for x in lines)
    path.write_text(text, encoding="utf-8")
    return path


def test_reads_all_fields(tmp_path: Path) -> None:
    extra = {"topic": "stars", "explanation": "It fuses hydrogen.", "article": "sun"}
    assert load(write(tmp_path, GOOD | extra)) == [
        Question(
            "q1",
            "What is the Sun?",
            ("A star", "A planet", "A comet"),
            0,
            "stars",
            "It fuses hydrogen.",
            "sun",
        )
    ]


def test_reads_gzip_and_skips_blank_lines(tmp_path: Path) -> None:
    path = tmp_path / "quiz.jsonl.gz"
    path.write_bytes(gzip.compress(f"\n{json.dumps(GOOD)}\n\n".encode()))
    assert [q.id for q in load(path)] == ["q1"]


@pytest.mark.parametrize(("key", "index"), [("A", 0), ("c", 2), (" B ", 1), (0, 0), (2, 2)])
def test_key_as_letter_or_index(tmp_path: Path, key: object, index: int) -> None:
    assert load(write(tmp_path, GOOD | {"answer": key}))[0].answer == index


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{broken", "line 2: broken JSON"),
        ("[1]", "expected an object, found a list"),
        ({k: v for k, v in GOOD.items() if k != "question"}, "field `question` is missing"),
        (GOOD | {"id": "q0"}, "id `q0` is already used at"),
        (GOOD | {"answer": "D"}, "`answer` is 'D', which is none of the 3 options"),
        (GOOD | {"answer": 3}, "`answer` is 3"),
        (GOOD | {"answer": -1}, "`answer` is -1"),
        (GOOD | {"answer": True}, "`answer` is true or false"),
        (GOOD | {"answer": "A star"}, "`answer` is the text `A star`"),
        (GOOD | {"answer": ""}, "`answer` is empty text"),
        (GOOD | {"choices": ["one"]}, "2 to 10 options, found 1 options"),
        (GOOD | {"choices": [str(i) for i in range(11)]}, "found 11 options"),
        (GOOD | {"choices": "A B"}, "`choices` must be a list"),
        (GOOD | {"choices": ["A", " "]}, "`choices[1]` must be text, found empty text"),
        (GOOD | {"choices": ["A", 3]}, "`choices[1]` must be text, found the number 3"),
        (GOOD | {"choices": ["Mars", "mars "]}, "all options are equal"),
        (GOOD | {"question": None}, "`question` must be text, found null"),
        (GOOD | {"topic": 4}, "`topic` must be text"),
        (GOOD | {"id": None}, "`id` must be text or a number"),
    ],
)
def test_faults_name_file_line_and_field(tmp_path: Path, line: object, says: str) -> None:
    path = write(tmp_path, GOOD | {"id": "q0"}, line)
    with pytest.raises(DataError) as caught:
        load(path, "spec.stages[3].bench.questions[0].path")
    assert says in caught.value.message
    assert f"spec.stages[3].bench.questions[0].path: {path}, line 2" in caught.value.message
    assert caught.value.hint


def test_nearest_field_is_offered(tmp_path: Path) -> None:
    line = {("anwser" if k == "answer" else k): v for k, v in GOOD.items()}
    with pytest.raises(DataError, match="is `anwser` meant"):
        load(write(tmp_path, line))


def test_missing_empty_and_foreign_files(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="questions: no such file"):
        load(tmp_path / "absent.jsonl")
    with pytest.raises(DataError, match=r"is empty \(0 bytes\)"):
        load(write(tmp_path))
    latin = tmp_path / "latin.jsonl"
    latin.write_bytes(json.dumps(GOOD, ensure_ascii=False).encode().replace(b"Sun", b"S\xfcn"))
    with pytest.raises(DataError, match="not UTF-8"):
        load(latin)
    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes(gzip.compress(json.dumps(GOOD).encode() * 50)[:-12])
    with pytest.raises(DataError, match="cut off"):
        load(cut)


def test_options_that_say_the_same_count_alike() -> None:
    question = Question("q", "Which?", ("Io", "Europa", "io "), 0)
    assert question.has_equal_choices
    assert [question.is_right(i) for i in (0, 1, 2, None)] == [True, False, True, False]
    assert not Question("q", "Which?", ("Io", "Europa"), 0).has_equal_choices


texts = st.text(
    alphabet=st.characters(exclude_categories=("Cs", "Cc", "Z")), min_size=1, max_size=20
)


@given(
    choices=st.lists(texts, min_size=2, max_size=10, unique_by=str.casefold),
    stem=texts,
    data=st.data(),
)
def test_what_is_written_is_what_is_read(
    tmp_path_factory: pytest.TempPathFactory, choices: list[str], stem: str, data: st.DataObject
) -> None:
    answer = data.draw(st.integers(0, len(choices) - 1))
    key = data.draw(st.sampled_from([answer, LETTERS[answer], LETTERS[answer].lower()]))
    line = {"id": 7, "question": stem, "choices": choices, "answer": key}
    found = load(write(tmp_path_factory.mktemp("quiz"), line))
    assert found == [Question("7", stem, tuple(choices), answer)]


@pytest.mark.shared
def test_a_published_set_with_its_slips_can_be_read() -> None:
    path = Path(os.environ.get("ASTRO_TEST_DATA", "../shared/data")) / "astro-qa-dev.jsonl"
    if not path.is_file():
        pytest.skip(f"{path} is not there (ASTRO_TEST_DATA)")
    found = load(path)
    assert len(found) == 638
    assert sum(q.has_equal_choices for q in found) == 12
