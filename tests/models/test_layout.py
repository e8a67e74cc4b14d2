import os
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from astrosage.models.layout import places, plan_shards

SHAPES = st.dictionaries(
    st.text("abc.", min_size=1, max_size=6),
    st.lists(st.integers(1, 7), max_size=3).map(tuple),
    min_size=1,
    max_size=9,
)


@given(shapes=SHAPES, limit=st.integers(1, 400))
@settings(max_examples=60, deadline=None)
def test_shards_hold_every_tensor_once_and_no_more_than_the_limit(
    shapes: dict[str, tuple[int, ...]], limit: int
) -> None:
    shards = plan_shards(shapes, limit)
    assert [name for shard in shards for name in shard.shapes] == list(shapes)
    assert all(shard.size <= limit or len(shard.shapes) == 1 for shard in shards)


def test_a_file_by_its_layout_is_what_the_library_reads(tmp_path: Path) -> None:
    shapes = {"a": (3, 5), "b": (), "é": (7,)}
    (shard,) = plan_shards(shapes, 1 << 20)
    tensors = {n: torch.randn(s).bfloat16() for n, s in shapes.items()}
    content = bytearray(shard.header())
    for name, offset in shard.offsets().items():
        assert offset == len(content)
        content += tensors[name].reshape(-1).view(torch.uint8).numpy().tobytes()
    path = tmp_path / shard.name
    path.write_bytes(content)
    found = load_file(path)
    assert all(torch.equal(found[n], t) for n, t in tensors.items())
    with safe_open(path, framework="pt") as opened:
        assert opened.metadata() == {"format": "pt"}


def test_pieces_are_read_from_what_the_library_wrote(tmp_path: Path) -> None:
    tensors = {"w": torch.arange(12.0).reshape(3, 4), "v": torch.arange(5).half()}
    save_file(tensors, tmp_path / "model.safetensors")
    file = os.open(tmp_path / "model.safetensors", os.O_RDONLY)
    try:
        found = places(file)
        assert (found["w"].shape, found["w"].dtype, found["w"].numel) == ((3, 4), "F32", 12)
        assert found["w"].read(3, 9).tolist() == [3, 4, 5, 6, 7, 8]
        assert torch.equal(found["v"].read(0, 5), tensors["v"])
        with pytest.raises(OSError, match="ends before"):
            found["v"].read(0, 5000)
    finally:
        os.close(file)
