from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from astrosage.generate.passages import Passages, cut, paragraphs
from astrosage.spec.generate import GenerateSpec
from tests.generate import writing

TEXTS = st.lists(
    st.text("ab \n", max_size=60).map(lambda t: t.replace("\n", "\n\n")), max_size=12
).map("".join)


@settings(deadline=None)
@given(TEXTS, st.integers(1, 9), st.integers(0, 12))
def test_passages_are_of_the_length_asked_for_and_in_order(
    text: str, least: int, more: int
) -> None:
    most = least + more
    found = list(cut(text, least, most))
    assert all(least <= len(p.split()) <= most for p in found)
    words, place = text.split(), 0
    for passage in found:  # each is a run of the text's words, behind the one before it
        mine = passage.split()
        place = next(i for i in range(place, len(words)) if words[i : i + len(mine)] == mine) + len(
            mine
        )


@settings(deadline=None)
@given(TEXTS, st.integers(1, 9))
def test_all_words_are_there_where_no_length_is_too_short(text: str, most: int) -> None:
    assert " ".join(cut(text, 1, most)).split() == text.split()


def test_paragraphs_stay_whole_where_they_fit() -> None:
    text = "one two\nthree\n \n\nfour five six\n\nseven"
    assert paragraphs(text) == ["one two\nthree", "four five six", "seven"]
    assert list(cut(text, 1, 6)) == ["one two\nthree\n\nfour five six", "seven"]
    assert list(cut(text, 2, 3)) == ["one two\nthree", "four five six"]


def spec(folder: Path, **options: Any) -> GenerateSpec:
    return GenerateSpec.model_validate(
        {
            "sources": [{"path": str(folder / "*.jsonl")}],
            "writer": {"url": "http://h/v1", "model": "m"},
            "passages": {"minWords": 20, "maxWords": 80, **options.pop("passages", {})},
            **options,
        }
    )


def texts(folder: Path, count: int = 10) -> None:
    records = [
        {"id": f"r{i}", "text": writing.article(50 * i), "license": "CC0-1.0" if i % 2 else None}
        for i in range(count)
    ]
    records.append(records[0])
    lines = "".join(json.dumps(r) + "\n" for r in records)
    (folder / "a.jsonl").write_text(lines)


def taken(found: GenerateSpec) -> tuple[Passages, list[str]]:
    passages = Passages(found, "generate")
    assert passages.count() == passages.total
    ids = [p.id for p in passages]
    assert len(ids) == passages.total
    return passages, ids


def test_a_larger_number_keeps_the_passages_of_a_smaller_one(tmp_path: Path) -> None:
    texts(tmp_path)
    everything, whole = taken(spec(tmp_path))
    assert len(whole) == len(set(whole))
    assert everything.account["repeated"] == len(whole) / 10, "the last record is the first again"
    before: list[str] = []
    for most in (1, 7, 19, 1000):
        _, some = taken(spec(tmp_path, passages={"max": most}))
        assert len(some) == min(most, len(whole))
        assert set(before) <= set(some)
        assert [i for i in whole if i in set(some)] == some, "in the order of the sources"
        before = some
    _, other = taken(spec(tmp_path, passages={"max": 7}, seed=5))
    assert set(other) != set(taken(spec(tmp_path, passages={"max": 7}))[1])


def test_so_many_of_a_record(tmp_path: Path) -> None:
    texts(tmp_path)
    _, some = taken(spec(tmp_path, passages={"perRecord": 1}))
    assert len(some) == len({i.split("-")[0] for i in some}) == 10


def test_licences_are_kept_apart(tmp_path: Path) -> None:
    texts(tmp_path)
    passages, ids = taken(spec(tmp_path, licenses={"allow": ["CC0-1.0"]}))
    assert {int(i[1]) % 2 for i in ids} == {1}
    assert passages.account["licenseRefused"] == 6
    assert {p.license for p in passages} == {"CC0-1.0"}


def test_half_characters_cannot_be_sent(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a \\ud83d b ' + "word " * 30 + '"}\n')
    passages, _ = taken(spec(tmp_path))
    assert next(iter(passages)).text.encode().startswith(b"a ? b")
