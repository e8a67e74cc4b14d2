from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from astrosage.data.reading import count_lines, read_lines, read_text
from astrosage.data.tally import Tally
from astrosage.errors import DataError, NotFoundError


def test_lines_are_numbered_from_one_and_plain_and_gzip_read_alike(tmp_path: Path) -> None:
    raw = "eins\nzwei ü\n\nvier".encode()
    plain, packed = tmp_path / "a.jsonl", tmp_path / "a.jsonl.gz"
    plain.write_bytes(raw)
    packed.write_bytes(gzip.compress(raw))
    expected = [(1, "eins\n"), (2, "zwei ü\n"), (3, "\n"), (4, "vier")]
    assert list(read_lines(plain)) == list(read_lines(packed)) == expected
    assert count_lines(plain) == count_lines(packed) == 3


def test_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    file = tmp_path / "a.md"
    file.write_bytes(b"\xef\xbb\xbfStar")
    assert read_text(file) == "Star"
    assert list(read_lines(file)) == [(1, "Star")]


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"gone\.md does not exist"):
        read_text(tmp_path / "gone.md")


@pytest.mark.parametrize(("content", "found"), [(b"", "0 bytes"), (b" \n\n", "only white space")])
def test_empty_file(tmp_path: Path, content: bytes, found: str) -> None:
    (tmp_path / "a.md").write_bytes(content)
    with pytest.raises(DataError, match=rf"a\.md is empty \(.*{found}\)"):
        read_text(tmp_path / "a.md")


def test_not_utf8_names_the_byte_and_its_offset(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(b"first\nM\xfcnchen\n")
    with pytest.raises(DataError, match=r"not UTF-8: byte 0xfc at offset 7 of the file"):
        list(read_lines(file))
    with pytest.raises(DataError, match=r"byte 0xfc at offset 7 of the file"):
        read_text(file)
    packed = tmp_path / "a.jsonl.gz"
    packed.write_bytes(gzip.compress(file.read_bytes()))
    with pytest.raises(DataError, match=r"offset 7 of the unpacked text"):
        list(read_lines(packed))


def test_offset_counts_the_byte_order_mark(tmp_path: Path) -> None:
    file = tmp_path / "a.md"
    file.write_bytes(b"\xef\xbb\xbfab\xff")
    for read in (read_text, lambda f: list(read_lines(f))):
        with pytest.raises(DataError, match="offset 5 "):
            read(file)


def test_truncated_gzip(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl.gz"
    file.write_bytes(gzip.compress(b"a line\n" * 1000)[:-12])
    with pytest.raises(DataError, match=r"a\.jsonl\.gz: the gzip stream is cut off"):
        list(read_lines(file))


def test_what_is_no_gzip_and_what_is_damaged(tmp_path: Path) -> None:
    file = tmp_path / "a.md.gz"
    file.write_bytes(b"plain text")
    with pytest.raises(DataError, match="broken gzip: Not a gzipped file"):
        read_text(file)
    damaged = bytearray(gzip.compress(bytes(range(256)) * 40))
    damaged[60:90] = b"\xff" * 30
    file.write_bytes(bytes(damaged))
    with pytest.raises(DataError, match=r"a\.md\.gz: (broken gzip|the gzip stream)"):
        read_text(file)


def test_folder_in_place_of_a_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        read_text(tmp_path)


GERMAN = "Mönch – „naïve“ Größe"


@pytest.mark.parametrize(
    ("encoding", "text", "counted"),
    [
        ("utf-8", GERMAN, {}),
        ("utf-8-sig", GERMAN, {}),
        ("cp1252", GERMAN, {"latin1Converted": 1}),
        ("latin-1", "Mönch naïve Größe", {"latin1Converted": 1}),
        ("utf-16", GERMAN, {"utf16Converted": 1}),
    ],
)
def test_encodings_are_recognised_and_counted(
    tmp_path: Path, encoding: str, text: str, counted: dict[str, int]
) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes(text.encode(encoding))
    tally = Tally()
    assert read_text(file, tally=tally) == text
    assert tally.counts == counted


def test_utf8_with_single_broken_bytes_keeps_the_rest(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes("Größe ".encode() + b"M\xfcnchen " + "Ångström".encode())
    assert read_text(file, tally=Tally()) == "Größe München Ångström"


def test_lines_are_converted_one_by_one(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes("ü\n".encode() + b"\xfc\n\x81\n")
    tally = Tally()
    assert list(read_lines(file, tally=tally)) == [(1, "ü\n"), (2, "ü\n"), (3, "\x81\n")]
    assert tally.counts == {"latin1Converted": 2}
    assert tally.examples["latin1Converted"][0].endswith("a.jsonl, line 2")


def test_what_is_binary_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
    with pytest.raises(DataError, match=r"a\.txt: binary data, not text"):
        read_text(file, tally=Tally())
