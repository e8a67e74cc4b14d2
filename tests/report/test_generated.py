"""The report's part on a real generate stage."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from astrosage.generate import rules
from astrosage.report import generated
from astrosage.report.build import build_report
from tests.endpoints.fake_service import Answer, Service, chat
from tests.generate import writing
from tests.generate.conftest import Stage
from tests.report.test_build import check

pytestmark = pytest.mark.api


@pytest.fixture
def service() -> Iterator[Service]:
    found = Service()
    yield found
    found.close()


def answer(body: dict[str, Any]) -> Answer:
    """Some of what is written holds markup, or is graded low, or cannot be read."""
    text = body["messages"][0]["content"]
    if body["model"] == "grader":
        low = "comets" in text.split("Item:")[1]
        return chat(writing.graded(5, overall=2 if low else 5))
    if "sample 100 " in text:
        return chat("no idea <b>at all</b>")
    found = writing.pairs(body)
    found[0]["answer"] += " <script>alert(1)</script>"
    return chat(json.dumps({"pairs": found}))


def test_figures_reasons_and_samples(service: Service, tmp_path: Path) -> None:
    service.answer = answer
    prices = {"prices": {"inputPerMillion": 1, "outputPerMillion": 2}}
    stage = Stage(tmp_path, service.url, writer=prices, grader=prices)
    stage.run()
    page = build_report(stage.directory)
    check(page)
    report = stage.report()
    counts = report["counts"]
    assert 0 < counts["accepted"] < counts["items"]
    taken = f"{counts['accepted']} pairs of {counts['items']} that were written from 24 passages"
    assert taken in page
    assert f"{taken}; " in generated.in_words(report, "chat")
    assert "Graded too low" in page
    assert "Reply cannot be read" in page
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>" not in page
    assert "overall 2, at least 4" in page


def test_every_reason_has_words() -> None:
    source = Path(rules.__file__).parent
    given = {
        part.partition(chr(34))[0]
        for file in source.glob("*.py")
        for part in file.read_text().split("Fault(" + chr(34))[1:]
    }
    assert given
    assert given <= set(generated.REASONS)


def test_before_anything_is_there(tmp_path: Path) -> None:
    stage = Stage(tmp_path, "http://127.0.0.1:9/v1")
    stage.context()
    assert "Nothing generated yet (not run)." in build_report(stage.directory)
