from __future__ import annotations

import json
from pathlib import Path

import pytest

from astrosage.endpoints.kept import NAME, KeptAnswers, key_of
from astrosage.endpoints.replies import Reply
from astrosage.errors import StorageError
from astrosage.runs.storage import Storage

BODY = {"model": "m", "messages": [{"role": "user", "content": "Why?"}], "max_tokens": 8}


def test_a_key_holds_all_that_makes_an_answer() -> None:
    key = key_of("http://h/v1", "chat/completions", BODY)
    assert key == key_of("http://me:secret@h/v1/", "chat/completions", dict(reversed(BODY.items())))
    others = [
        key_of("http://other/v1", "chat/completions", BODY),
        key_of("http://h/v1", "completions", BODY),
        key_of("http://h/v1", "chat/completions", BODY | {"model": "n"}),
        key_of("http://h/v1", "chat/completions", BODY | {"max_tokens": 9}),
        key_of("http://h/v1", "chat/completions", BODY | {"reasoning": "on"}),
        key_of("http://h/v1", "chat/completions", BODY | {"messages": []}),
    ]
    assert len({key, *others}) == 7


def test_answers_are_there_again_and_failures_are_not(tmp_path: Path) -> None:
    kept = KeptAnswers(Storage(tmp_path))
    kept.add("a", Reply(text="B", prompt=10, completion=2))
    kept.add("b", Reply(problem="an error", prompt=10))
    kept.close()
    again = KeptAnswers(Storage(tmp_path))
    assert again.get("a") == Reply(text="B", prompt=10, completion=2)
    assert again.get("b") is None
    assert (again.spent.total, again.calls) == (22, 2)


def test_a_torn_last_line_is_dropped_and_the_next_is_whole(tmp_path: Path) -> None:
    kept = KeptAnswers(Storage(tmp_path))
    for name in "abc":
        kept.add(name, Reply(text=name))
    file = tmp_path / NAME
    file.write_bytes(file.read_bytes()[:-9])
    again = KeptAnswers(Storage(tmp_path))
    assert [again.get(name) is not None for name in "abc"] == [True, True, False]
    again.add("c", Reply(text="new"))
    last = KeptAnswers(Storage(tmp_path))
    assert last.get("c") == Reply(text="new")
    assert last.get("b") == Reply(text="b")


def test_what_another_version_kept_is_asked_again(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text(
        json.dumps({"key": "a", "reply": {"words": "B"}})
        + "\n"
        + json.dumps({"key": "b"})
        + "\n[1]\n"
    )
    kept = KeptAnswers(Storage(tmp_path))
    assert kept.get("a") is None
    assert kept.get("b") is None


def test_answers_are_found_where_they_stand_in_the_file(tmp_path: Path) -> None:
    """Of letters of several bytes, after a torn line, in a file that grows."""
    kept = KeptAnswers(Storage(tmp_path))
    texts = {f"k{i}": "é—\U0001f30c" * i + "\n" for i in range(20)}
    for i, (key, text) in enumerate(texts.items()):
        kept.add(key, Reply(text=text, prompt=i))
        if i == 10:
            with (tmp_path / NAME).open("a") as file:
                file.write('{"key": "to')
            kept = KeptAnswers(Storage(tmp_path))
        assert kept.get(key) == Reply(text=text, prompt=i)
    for again in (kept, KeptAnswers(Storage(tmp_path))):
        for i, (key, text) in enumerate(texts.items()):
            assert again.get(key) == Reply(text=text, prompt=i)
    assert all(isinstance(place, int) for place in kept._answers.values())


def test_on_an_object_store(request: pytest.FixtureRequest) -> None:
    storage = Storage(f"memory://kept-{request.node.name}")
    kept = KeptAnswers(storage)
    kept.add("a", Reply(text="B"))
    kept.add("b", Reply(text="C"))
    kept.close()
    assert KeptAnswers(storage).get("b") == Reply(text="C")


def test_a_shared_file_serves_several_runs_and_costs_them_nothing(tmp_path: Path) -> None:
    shared = tmp_path / "deep" / "answers.jsonl"
    first = KeptAnswers(Storage(tmp_path / "one"), shared)
    first.add("a", Reply(text="B", prompt=10))
    shared.write_bytes(shared.read_bytes() + b'{"key": "torn')
    second = KeptAnswers(Storage(tmp_path / "two"), shared)
    assert second.get("a") == Reply(text="B", prompt=10)
    assert second.spent.total == 0
    second.add("b", Reply(text="C", prompt=5))
    assert KeptAnswers(Storage(tmp_path / "three"), shared).get("b") is not None


def test_a_shared_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"bench\.endpoint\.cache: .* cannot be used"):
        KeptAnswers(Storage(tmp_path), tmp_path)
