"""The table of reasons, and the page made from it."""

from __future__ import annotations

import re
from pathlib import Path

from astroctl.controller.why import page
from astroctl.controller.why.reasons import FAILED, IDLE, WAITING

ROOT = Path(__file__).resolve().parents[3]
REASON = re.compile(r"[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?")


def test_page_is_that_of_the_table() -> None:
    assert (ROOT / "docs/conditions.md").read_text() == page.page(), "run `make docs`"


def test_reasons_are_such_as_kubernetes_allows_in_conditions() -> None:
    for reason in (*WAITING, *FAILED, *IDLE):
        assert REASON.fullmatch(reason.name), reason.name


def test_each_reason_stands_once() -> None:
    for table in (WAITING, FAILED, IDLE):
        names = [r.name for r in table]
        assert len(names) == len(set(names))


def test_what_does_not_pass_says_what_helps() -> None:
    for reason in (*WAITING, *FAILED, *IDLE):
        assert reason.passes or reason.helps, reason.name
