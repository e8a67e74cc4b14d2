from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astrosage.data.loader import GlobalOrder, PackedDataset
from astrosage.data.shards import Document, Piece, Split, shard_path, write_split
from astrosage.errors import StorageError
from astrosage.runs import manifest

T = 16
PINNED = [3, 2, 1, 6, 0, 7, 4, 5, 7, 4, 5, 1, 6, 2, 0, 3]


def make_split(lengths: list[int], name: str = "train") -> Split:
    """Pieces whose tokens are all different, learnt from their second token on."""
    pieces, token = [], 100
    for n, length in enumerate(lengths):
        ids = np.arange(token, token + length, dtype=np.int32)
        token += length
        learned = np.array([0] + [1] * (length - 1), dtype=np.uint8)
        pieces.append(Piece(Document(f"d{n}", "a.md", n + 1), 0, ids, learned))
    return Split(name, {"": pieces} if pieces else {}, len(lengths))


def write(folder: Path, *splits: Split, rows_per_shard: int = 3) -> None:
    summaries = {s.name: write_split(folder, s, T, 7, rows_per_shard).to_dict() for s in splits}
    manifest.write(folder, "k", splits=summaries, sequenceLength=T)


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    lengths = [16, 3, 9, 5, 16, 1, 12, 12, 12, 7, 7, 2]
    split = make_split(lengths)
    write(tmp_path, split, make_split([4], "validation"))
    data = PackedDataset(tmp_path, "train")
    batch = data.rows(range(len(data)))
    assert batch.tokens.shape == batch.segments.shape == batch.mask.shape == (len(data), T)
    assert batch.tokens.dtype == np.int32
    assert batch.mask.dtype == np.uint8
    found: dict[str, list[int]] = {}
    for row in range(len(data)):
        names = data.document_ids(row)
        assert sorted(set(batch.segments[row])) in (
            list(range(1, len(names) + 1)),
            list(range(len(names) + 1)),
        )
        for segment, name in enumerate(names, 1):
            here = batch.segments[row] == segment
            assert name not in found
            found[name] = batch.tokens[row][here].tolist()
            assert batch.mask[row][here].tolist() == [0] + [1] * (here.sum() - 1)
    assert found == {p.document.id: p.ids.tolist() for p in split.pieces}
    padding = batch.segments == 0
    assert set(batch.tokens[padding]) <= {7}
    assert not batch.mask[padding].any()


def test_a_piece_is_contiguous_and_padding_stands_last(tmp_path: Path) -> None:
    write(tmp_path, make_split([5, 4, 3, 9, 9, 2]))
    segments = PackedDataset(tmp_path, "train").rows([0, 1]).segments
    for row in segments.astype(int):
        filled = row[row > 0]
        assert (np.diff(filled) >= 0).all()
        assert row.tolist() == filled.tolist() + [0] * (T - len(filled))


def test_shards_are_bounded_and_counted(tmp_path: Path) -> None:
    split = make_split([16] * 7 + [3])
    summary = write_split(tmp_path, split, T, 7, rows_per_shard=3)
    assert summary.to_dict() == {
        "sequences": 8,
        "tokens": 115,
        "learnedTokens": 115 - 8,
        "documents": 8,
        "shards": 3,
    }
    sizes = [len(np.load(shard_path(tmp_path, "train", i, "tokens"))) for i in range(3)]
    assert sizes == [3, 3, 2]
    lines = [json.loads(x) for x in (tmp_path / "documents.jsonl").read_text().splitlines()]
    assert [x["row"] for x in lines] == list(range(8))
    assert lines[0]["documents"] == [
        {"id": "d0", "source": "a.md", "line": 1, "part": 0, "tokens": 16}
    ]


def test_rows_come_in_the_asked_order_across_shards(tmp_path: Path) -> None:
    write(tmp_path, make_split([16] * 7))
    data = PackedDataset(tmp_path, "train")
    batch = data.rows([6, 0, 3, 3])
    assert batch.tokens[:, 0].tolist() == [100 + 16 * i for i in (6, 0, 3, 3)]
    assert data.rows([]).tokens.shape == (0, T)
    for index in (7, -1):
        with pytest.raises(IndexError, match=f"row {index} of 7"):
            data.rows([index])


def test_a_batch_may_be_written_to(tmp_path: Path) -> None:
    write(tmp_path, make_split([16]))
    batch = PackedDataset(tmp_path, "train").rows([0])
    batch.tokens[0, 0] = 5
    assert PackedDataset(tmp_path, "train").rows([0]).tokens[0, 0] == 100


def test_an_empty_split_has_length_zero(tmp_path: Path) -> None:
    write(tmp_path, make_split([3]), Split("validation"))
    assert len(PackedDataset(tmp_path, "validation")) == 0


def test_damaged_shards_are_refused(tmp_path: Path) -> None:
    write(tmp_path, make_split([16] * 4))
    with pytest.raises(StorageError, match="has no 'test'"):
        PackedDataset(tmp_path, "test")
    file = shard_path(tmp_path, "train", 1, "mask")
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(StorageError, match=r"train-00001-mask\.npy has \d+ bytes"):
        PackedDataset(tmp_path, "train")
    (tmp_path / manifest.NAME).unlink()
    with pytest.raises(StorageError, match="not a finished artefact"):
        PackedDataset(tmp_path, "train")


def test_a_manifest_that_says_otherwise_is_refused(tmp_path: Path) -> None:
    summary = write_split(tmp_path, make_split([16] * 2), T, 7).to_dict()
    manifest.write(tmp_path, "k", splits={"train": summary}, sequenceLength=32)
    with pytest.raises(StorageError, match="says sequence length 32"):
        PackedDataset(tmp_path, "train")
    manifest.write(tmp_path, "k", splits={"train": summary | {"sequences": 3}}, sequenceLength=T)
    with pytest.raises(StorageError, match="2 train sequences, the manifest says 3"):
        PackedDataset(tmp_path, "train")


def test_a_row_holds_one_group_and_the_manifest_says_which(tmp_path: Path) -> None:
    groups = {"/a/x.md": [5, 5, 5], "/b/x.md": [2], "/c/*.md": [16, 9, 9, 3]}
    split = Split("validation")
    for path, lengths in groups.items():
        split.add(
            [replace(p, document=Document("d", path, 1)) for p in make_split(lengths).pieces], path
        )
    summary = write_split(tmp_path, split, T, 7, rows_per_shard=2)
    names = {"/a/x.md": "a/x.md", "/b/x.md": "b/x.md", "/c/*.md": "c/*.md"}
    stated = {**summary.to_dict(), "sources": summary.sources(names)}
    manifest.write(tmp_path, "k", splits={"validation": stated}, sequenceLength=T)
    data = PackedDataset(tmp_path, "validation")
    assert data.sources == [
        ("a/x.md", range(0, 1)),
        ("b/x.md", range(1, 2)),
        ("c/*.md", range(2, 5)),
    ]
    lines = [json.loads(x) for x in (tmp_path / "documents.jsonl").read_text().splitlines()]
    for name, rows in data.sources:
        held = {d["source"] for row in rows for d in lines[row]["documents"]}
        assert [names[path] for path in held] == [name]
    assert [s["tokens"] for s in stated["sources"]] == [15, 2, 37]
    assert [s["learnedTokens"] for s in stated["sources"]] == [12, 1, 33]
    segments = data.rows(range(len(data))).segments
    for source, (_, rows) in zip(stated["sources"], data.sources, strict=True):
        assert int((segments[list(rows)] > 0).sum()) == source["tokens"]


def test_shards_without_sources_are_one(tmp_path: Path) -> None:
    write(tmp_path, make_split([16] * 4), make_split([16, 16], "validation"), Split("test"))
    assert PackedDataset(tmp_path, "validation").sources == [("validation", range(2))]
    assert PackedDataset(tmp_path, "train").sources == [("train", range(4))]
    assert PackedDataset(tmp_path, "test").sources == []


@pytest.mark.parametrize("counts", [[1], [1, 2], [2, 1]])
def test_sources_that_do_not_fit_the_rows_are_refused(tmp_path: Path, counts: list[int]) -> None:
    summary = write_split(tmp_path, make_split([16, 16], "validation"), T, 7).to_dict()
    sources = [{"name": str(i), "first": i, "count": n} for i, n in enumerate(counts)]
    manifest.write(
        tmp_path, "k", splits={"validation": summary | {"sources": sources}}, sequenceLength=T
    )
    with pytest.raises(StorageError, match="the sources of its 2 validation rows do not fit"):
        PackedDataset(tmp_path, "validation")


orders = st.builds(GlobalOrder, st.integers(1, 50), st.integers(-3, 10))


@given(orders, st.integers(1, 16), st.integers(0, 40))
def test_the_stream_is_one_permutation_an_epoch(
    order: GlobalOrder, batch_size: int, steps: int
) -> None:
    stream = [i for step in range(steps) for i in order.indices(step, batch_size)]
    assert len(stream) == steps * batch_size
    for start in range(0, len(stream) - order.sequences + 1, order.sequences):
        epoch = stream[start : start + order.sequences]
        assert sorted(epoch) == list(range(order.sequences))


@given(orders, st.integers(0, 30))
def test_batch_size_regroups_the_same_stream(order: GlobalOrder, step: int) -> None:
    assert order.indices(step, 6) == [
        *order.indices(2 * step, 3),
        *order.indices(2 * step + 1, 3),
    ]
    assert order.indices(step, 4) == GlobalOrder(order.sequences, order.seed).indices(step, 4)


def test_epochs_and_seeds_differ() -> None:
    order = GlobalOrder(100, 1)
    assert order.indices(0, 100) != order.indices(1, 100)
    assert order.indices(0, 100) != GlobalOrder(100, 2).indices(0, 100)


def test_the_order_is_pinned() -> None:
    # A run that is resumed under another numpy must go on in the same order.
    assert GlobalOrder(8, 0).indices(0, 16) == PINNED


def test_an_order_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 sequence"):
        GlobalOrder(0, 0)
