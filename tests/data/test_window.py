from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astrosage.data import window
from astrosage.data.shards import ARRAYS, Document, Piece, Split, shard_path, write_split
from astrosage.data.waiting import Waiting
from astrosage.data.window import WindowedSplit

T = 16


def pieces(*lengths: int, first: int = 0) -> list[Piece]:
    return [
        Piece(
            Document(str(i), "f", i),
            0,
            np.full(n, i, np.int32),
            np.r_[0, np.ones(n - 1)].astype("u1"),
        )
        for i, n in enumerate(lengths, first)
    ]


def files(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}


def test_one_window_gives_the_bytes_of_packing_as_a_whole(tmp_path: Path) -> None:
    whole, split = tmp_path / "whole", Split("validation")
    parts = [tmp_path / "parts", tmp_path / "moved"]
    for folder in (whole, *parts):
        folder.mkdir()
    windowed = WindowedSplit(parts[0], "validation", T, 7)
    for group, found in (("a", pieces(3, 9, 16)), ("b", pieces(5, 5, first=3)), ("a", pieces(2))):
        for target in (split, windowed):
            target.documents += 1
            target.add(found, group)
    assert windowed.finish() == write_split(whole, split, T, 7)
    windowed.place(parts[1])
    assert files(parts[1]) == files(whole)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("windows")


@given(st.lists(st.integers(1, T), min_size=1, max_size=40), st.integers(1, 12))
def test_no_piece_is_lost_over_windows(folder: Path, lengths: list[int], most: int) -> None:
    for old in folder.iterdir():
        old.unlink()
    found = pieces(*lengths)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(window, "WINDOW_PIECES", most)
        split = WindowedSplit(folder, "train", T, 99)
        for piece in found:
            split.add([piece])
        summary = split.finish()
    tokens, segments, mask = (np.load(shard_path(folder, "train", 0, name)) for name in ARRAYS)
    assert sorted(tokens[segments > 0].tolist()) == sorted(t for p in found for t in p.ids.tolist())
    assert summary.tokens == sum(lengths)
    assert summary.learned_tokens == split.learned_tokens == int(mask.sum())
    assert [(r.first, r.count) for r in summary.rows] == [(0, summary.sequences)]
    lines = [json.loads(x) for x in (folder / "documents.jsonl").read_text().splitlines()]
    assert [x["row"] for x in lines] == list(range(summary.sequences))
    for line in lines:  # no row holds pieces of two windows
        assert len({int(d["id"]) // most for d in line["documents"]}) == 1


def test_a_window_ends_by_tokens_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "WINDOW_TOKENS", (16, 16))
    split = WindowedSplit(tmp_path, "train", T, 99)
    for piece in pieces(10, 6, 5, 5):
        split.add([piece])
    assert split.finish().sequences == 2


@pytest.mark.parametrize(
    ("bounds", "rows", "found"),
    [((3, 99), 2, 2 * T), ((3 * T, 99), 2, 3 * T), ((3, T), 2, T)],
)
def test_a_window_is_of_rows_between_two_bounds(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    bounds: tuple[int, int],
    rows: int,
    found: int,
) -> None:
    monkeypatch.setattr(window, "WINDOW_TOKENS", bounds)
    monkeypatch.setattr(window, "WINDOW_ROWS", rows)
    split = WindowedSplit(tmp_path, "train", T, 99)
    waited = []
    for piece in pieces(*[T] * 7):
        split.add([piece])
        waited.append(split._tokens)
    assert split.finish().sequences == 7
    assert waited.index(0) + 1 == found // T


def test_documents_wait_in_order(tmp_path: Path) -> None:
    waiting = Waiting()
    for i in range(3):
        waiting.add(i, bytes([i]), pieces(4, 5, first=i))
    found = list(waiting)
    assert [(n, key) for n, key, _ in found] == [(i, bytes([i])) for i in range(3)]
    (first, _) = found[2][2]
    assert first.ids.tolist() == [2] * 4
    assert first.learned.tolist() == [0, 1, 1, 1]
    assert list(map(len, (list(waiting), list(waiting)))) == [3, 3]
