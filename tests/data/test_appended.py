from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astrosage.data import appended
from astrosage.data.appended import Appended, Table
from astrosage.errors import DataError


@given(st.lists(st.binary(max_size=9)), st.integers(1, 30))
def test_what_is_added_is_read_at_its_place(parts: list[bytes], buffer: int) -> None:
    file = Appended()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(appended, "_BUFFER_BYTES", buffer)
        places = [file.add(part) for part in parts]
    assert [file.read(len(p), place) for p, place in zip(parts, places, strict=True)] == parts
    with file.reader() as whole:
        assert whole.read() == b"".join(parts)
    assert file.add(b"more") == file.end - 4
    assert file.read(100, file.end - 4) == b"more"


def test_another_process_goes_on_where_it_was_told(tmp_path: Path) -> None:
    first = Appended(tmp_path / "x")
    first.add(b"kept")
    assert first.stored() == 4
    first.add(b" lost")
    assert first.stored() == 9
    second = Appended(tmp_path / "x")
    assert second.end == 0
    second.restore(4)
    assert second.add(b"!") == 4
    assert second.stored() == 5
    assert (tmp_path / "x").read_bytes() == b"kept!"


def test_a_file_that_has_become_shorter_is_not_gone_on_with(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"ke")
    with pytest.raises(DataError, match="x: of an interrupted run 2 bytes are left"):
        Appended(tmp_path / "x").restore(4)


@given(
    st.lists(st.lists(st.integers(0, 2**32 - 1), min_size=3, max_size=3), min_size=1),
    st.integers(0, 50),
    st.data(),
)
def test_a_table_is_an_array(rows: list[list[int]], first: int, data: st.DataObject) -> None:
    array = np.array(rows, np.uint32)
    table = Table(3, np.uint32)
    half = len(array) // 2
    for number, row in enumerate(array[:half]):
        table.add(row.tobytes() if number % 2 else row)
    table.add(array[half:])
    assert len(table) == len(array)
    places = data.draw(st.lists(st.integers(0, len(rows) - 1)))
    assert np.array_equal(table.take(places), array[places])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(appended, "_BLOCK_BYTES", 24)
        blocks = list(table.blocks(first))
    assert all(len(block) <= 2 for block in blocks)
    assert np.array_equal(np.concatenate([np.empty((0, 3), np.uint32), *blocks]), array[first:])
