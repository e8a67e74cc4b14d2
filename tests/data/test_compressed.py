from __future__ import annotations

import bz2
import gzip
import io
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from astrosage.data.compressed import (
    Limits,
    compression,
    needed,
    unpacked,
    without_compression,
)
from astrosage.data.reading import read_bytes, read_lines, read_text
from astrosage.errors import DataError

PACK: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".zst": zstandard.compress,
}
MEBIBYTE = 2**20


def read(data: bytes, name: str, limits: Limits | None = None) -> bytes:
    with unpacked(io.BytesIO(data), name, limits or Limits()) as stream:
        return stream.read()


@pytest.mark.parametrize("ending", PACK)
@given(parts=st.lists(st.binary(max_size=3000), min_size=1, max_size=4))
def test_what_was_packed_comes_back_also_from_several_parts(
    ending: str, parts: list[bytes]
) -> None:
    packed = b"".join(PACK[ending](part) for part in parts)
    assert read(packed, f"a{ending}") == b"".join(parts)


@pytest.mark.parametrize("ending", PACK)
@pytest.mark.parametrize("missing", [1, 5, 12])
def test_a_cut_stream_is_told(tmp_path: Path, ending: str, missing: int) -> None:
    file = tmp_path / f"a.txt{ending}"
    file.write_bytes(PACK[ending](bytes(range(256)) * 100)[:-missing])
    with pytest.raises(DataError, match=rf"a\.txt\{ending}: .*(cut off before its end|broken)"):
        read_text(file)


@pytest.mark.parametrize("ending", PACK)
def test_what_is_not_packed_is_told(tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"a.txt{ending}"
    file.write_bytes(b"plain text, no archive at all")
    with pytest.raises(DataError, match=rf"a\.txt\{ending}: broken"):
        read_text(file)


@pytest.mark.parametrize("ending", PACK)
def test_a_bomb_is_refused_by_its_ratio(tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"bomb.jsonl{ending}"
    file.write_bytes(PACK[ending]((b"a" * 8191 + b"\n") * (80 * 128)))
    assert file.stat().st_size < MEBIBYTE
    limits = Limits(expansion=50)
    with pytest.raises(
        DataError, match=r"times its size; allowed are 1\.0 TiB and 50 times"
    ) as caught:
        for _ in read_lines(file, limits):
            pass
    assert "maxExpansion" in caught.value.hint
    assert "maxExpandedBytes" in caught.value.hint


def test_a_bomb_is_refused_by_its_size() -> None:
    packed = zstandard.compress(b"0" * (4 * MEBIBYTE))
    with pytest.raises(DataError, match=r"allowed are 1\.0 MiB"):
        read(packed, "a.zst", Limits(expanded_bytes=MEBIBYTE))
    assert len(read(packed, "a.zst", Limits(expanded_bytes=4 * MEBIBYTE))) == 4 * MEBIBYTE


def test_a_window_larger_than_128_mib_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=30, enable_ldm=True)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    packed = compressor.compress(b"a" * 1000) + compressor.flush()
    with pytest.raises(DataError, match="broken Zstandard"):
        read(packed, "a.zst")


def test_a_record_over_the_bound_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.txt.gz"
    file.write_bytes(gzip.compress(b"word " * 1000))
    with pytest.raises(DataError, match=r"a\.txt\.gz: larger than 1\.0 KiB") as caught:
        read_bytes(file, Limits(record_bytes=1024))
    assert "maxRecordBytes" in caught.value.hint
    assert len(read_bytes(file, Limits(record_bytes=5000))) == 5000
    with pytest.raises(DataError, match=r"a\.txt\.gz, line 1: larger than"):
        list(read_lines(file, Limits(record_bytes=1024)))


@pytest.mark.parametrize(
    ("name", "ending", "rest"),
    [
        ("a.jsonl.gz", ".gz", "a.jsonl"),
        ("A.TXT.GZ", ".gz", "A.TXT"),
        ("x.tgz", ".gz", "x.tar"),
        ("d.xml.bz2", ".bz2", "d.xml"),
        ("a.md", "", "a.md"),
    ],
)
def test_endings(name: str, ending: str, rest: str) -> None:
    assert (compression(name), without_compression(name)) == (ending, rest)


def test_a_missing_package_is_named() -> None:
    with pytest.raises(DataError, match=r"a\.xyz: Xyz needs the package no-such-package") as caught:
        needed("no_such_package.part", "a.xyz: Xyz")
    assert "astrosage[data]" in caught.value.hint
