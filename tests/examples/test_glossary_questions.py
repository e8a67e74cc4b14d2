from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "examples/glossary_questions.py"
TERMS = [
    {"term": name, "meaning": f"what a {name} is.", "module": f"m{n // 3}"}
    for n, name in enumerate(("nova", "comet", "quasar", "pulsar", "aphelion"))
]
TEXT = "Long ago astronomers thought that a {} was a sign of bad luck for kings and for armies."


def write(file: Path, records: list[dict[str, str]]) -> Path:
    file.write_text("".join(json.dumps(r) + "\n" for r in records))
    return file


def make(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    files = ("--glossary", f"{folder}/terms.jsonl", "--texts", f"{folder}/texts.jsonl")
    return subprocess.run(
        [sys.executable, str(SCRIPT), *files, "--to", f"{folder}/new/folder/q.jsonl", *options],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "terms.jsonl", TERMS)
    write(tmp_path / "texts.jsonl", [{"text": TEXT.format("comet")}, {"text": "Too short."}])
    return tmp_path


def made(folder: Path) -> list[dict[str, object]]:
    lines = (folder / "new/folder/q.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_documents_ask_in_both_directions_and_in_sentences(folder: Path) -> None:
    result = make(folder)
    assert result.stdout == f"11 questions in {folder}/new/folder/q.jsonl\n", result.stderr
    texts = {record["text"] for record in made(folder)}
    assert "Question: Which term means: what a nova is?\nAnswer: nova" in texts
    assert 'Question: What is meant by "nova"?\nAnswer: what a nova is' in texts
    gap = TEXT.format("____")
    assert f"Question: Which term completes the sentence? {gap}\nAnswer: comet" in texts
    first = made(folder)
    make(folder)
    assert made(folder) == first, "the same seed makes the same questions"


def test_chats_choose_among_four(folder: Path) -> None:
    assert make(folder, "--form", "chat", "--most", "3").returncode == 0
    chats = made(folder)
    assert len(chats) == 3
    for chat in chats:
        user, assistant = chat["messages"]  # type: ignore[misc]
        assert assistant["content"] in "ABCD"
        assert all(f"{letter}" in user["content"] for letter in "ABCD")


@pytest.mark.parametrize(
    ("terms", "said"),
    [
        (TERMS[:3], "has 3 terms, 4 are needed"),
        ([*TERMS, {"term": "nadir"}], "line 6: `meaning` is not there as text"),
        (None, "terms.jsonl: No such file"),
    ],
)
def test_what_cannot_be_used(folder: Path, terms: list[dict[str, str]] | None, said: str) -> None:
    if terms is None:
        (folder / "terms.jsonl").unlink()
    else:
        write(folder / "terms.jsonl", terms)
    result = make(folder)
    assert result.returncode == 1
    assert said in result.stderr
    assert not (folder / "new").exists()


def test_a_line_that_is_no_json(folder: Path) -> None:
    (folder / "texts.jsonl").write_text('{"text": "a"}\nno\n')
    assert "texts.jsonl, line 2: no JSON object" in make(folder).stderr
