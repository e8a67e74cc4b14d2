from __future__ import annotations

import io
import tarfile
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astrosage.data.compressed import Limits
from astrosage.data.formats.archive import is_tar, members
from astrosage.data.tally import Tally
from astrosage.errors import DataError


def make(*entries: tuple[str, bytes] | tarfile.TarInfo) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for entry in entries:
            if isinstance(entry, tarfile.TarInfo):
                archive.addfile(entry)
            else:
                info = tarfile.TarInfo(entry[0])
                info.size = len(entry[1])
                archive.addfile(info, io.BytesIO(entry[1]))
    return target.getvalue()


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def device(name: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = tarfile.CHRTYPE
    return info


def read(data: bytes, tally: Tally | None = None, **options: Any) -> list[tuple[str, bytes]]:
    limits = Limits(**options)
    return list(members(io.BytesIO(data), "a.tar", limits, tally or Tally(), lambda name: True))


names = st.lists(st.text("abc/xyz", min_size=1, max_size=12), max_size=5, unique=True)


@given(names, st.binary(max_size=2000))
def test_plain_files_come_back(found: list[str], content: bytes) -> None:
    wanted = [f"f/{n.strip('/') or 'x'}" for n in found]
    read_back = read(make(*((n, content) for n in wanted)))
    assert [c for _, c in read_back] == [content] * len(wanted)


def test_what_is_dangerous_is_left_out_and_counted() -> None:
    data = make(
        ("good.tex", b"a"),
        ("../out.tex", b"b"),
        ("/etc/passwd", b"c"),
        ("a/../../out.tex", b"d"),
        link("s.tex", "/etc/passwd"),
        link("h.tex", "good.tex", tarfile.LNKTYPE),
        device("null"),
        ("large.tex", b"x" * 5000),
        ("a/./b/../fine.tex", b"e"),
    )
    tally = Tally()
    assert read(data, tally, record_bytes=4096) == [("good.tex", b"a"), ("a/fine.tex", b"e")]
    assert tally.counts == {
        "archivePathsOutside": 3,
        "archiveLinks": 2,
        "archiveDevices": 1,
        "archiveTooLarge": 1,
    }
    assert "../out.tex in a.tar" in tally.examples["archivePathsOutside"]


@pytest.mark.parametrize("missing", [8192, 8200, 10_240, 16_000])
def test_a_cut_archive_gives_what_was_before(missing: int) -> None:
    data = make(("a.tex", b"a" * 3000), ("b.tex", b"b" * 8000))
    found = members(io.BytesIO(data[:-missing]), "a.tar", Limits(), Tally(), bool)
    assert next(found)[0] == "a.tex"
    with pytest.raises(DataError, match=r"a\.tar: .*cut") as caught:
        list(found)
    assert "download it again" in caught.value.hint


def test_a_damaged_archive_is_told() -> None:
    data = bytearray(make(("a.tex", b"a"), ("b.tex", b"b")))
    data[1024:1100] = b"\xff" * 76
    with pytest.raises(DataError, match="damaged or cut off before its end"):
        read(bytes(data))


def test_papers_may_lack_the_mark_of_the_end() -> None:
    data = make(("a.tex", b"a"))[:1024]
    found = members(io.BytesIO(data), "a", Limits(), Tally(), bool, marked_end=False)
    assert [name for name, _ in found] == ["a.tex"]
    with pytest.raises(DataError, match="cut off before its end"):
        read(data)


def test_what_is_no_archive_is_told() -> None:
    with pytest.raises(DataError, match="broken or cut tar archive"):
        read(b"no tar" * 1000)


def test_a_header_that_would_fill_the_memory_is_refused() -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 2**34
    with pytest.raises(DataError, match="a header of 17179869184 bytes"):
        read(info.tobuf(tarfile.GNU_FORMAT) + b"\0" * 2048)


def test_tar_and_text_are_told_apart() -> None:
    assert is_tar(make(("a.tex", b"a")))
    assert not is_tar(b"\\documentclass{article}" * 100)
    assert not is_tar(b"")
    assert not is_tar(b"\0" * 2048)
