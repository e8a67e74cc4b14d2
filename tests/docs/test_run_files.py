"""The run files in the pages can be copied: they are valid, and their batches divide."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from astrosage.plan.preflight import check_batches
from astrosage.spec import graph
from astrosage.spec.load import parse

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)


def run_files() -> Iterator[tuple[str, str]]:
    """``(page, YAML)`` of every whole AstroJob in the pages."""
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for block in _BLOCK.findall(page.read_text(encoding="utf-8")):
            if "kind: AstroJob" in block:
                yield page.name, block


FOUND = list(run_files())


def test_there_are_some() -> None:
    assert len(FOUND) >= 2


@pytest.mark.parametrize(("page", "text"), FOUND, ids=[page for page, _ in FOUND])
def test_a_run_file_of_a_page_is_valid(page: str, text: str) -> None:
    job = parse(yaml.safe_load(text), source=page)
    graph.check(job)
    for stage in job.spec.stages:
        if stage.kind == "train":
            check_batches(job, stage)
