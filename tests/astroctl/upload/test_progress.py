from __future__ import annotations

import io
import re

import pytest

from astroctl.upload import progress
from astroctl.upload.progress import Shown


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_line_says_bytes_rate_and_time_left() -> None:
    shown = Shown(io.StringIO())
    shown.begin("uploading 3 files", 4 * 2**20)
    shown.add(2**20)
    assert shown.line(2.0) == ("uploading 3 files: 1.0 MiB of 4.0 MiB (25 %), 512.0 KiB/s, 6s left")
    shown.add(3 * 2**20)
    assert shown.line(8.0) == "uploading 3 files: 4.0 MiB of 4.0 MiB (100 %), 512.0 KiB/s"


def test_what_is_over_at_once_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    shown = Shown(stream)
    shown.begin("reading local files", 0)
    shown.add(10)
    shown.end()
    assert stream.getvalue() == ""
    monkeypatch.setattr(progress, "_WORTH_TELLING_SECONDS", 0.0)
    shown.end()
    assert re.fullmatch(r"reading local files: 10 B, .*/s\n", stream.getvalue())


def test_a_terminal_gets_one_line_that_is_rewritten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_TERMINAL_SECONDS", 0.0)
    stream = Terminal()
    shown = Shown(stream)
    shown.begin("uploading 1 file", 10)
    shown.add(5)
    shown.add(5)
    shown.end()
    assert stream.getvalue().count("\r") == 3
    assert stream.getvalue().count("\n") == 1


def test_elsewhere_lines_are_rare() -> None:
    stream = io.StringIO()
    shown = Shown(stream)
    shown.begin("uploading 1 file", 1000)
    for _ in range(1000):
        shown.add(1)
    shown.end()
    assert stream.getvalue().count("\n") == 1
