"""Two real books, of the development data: no paragraph is lost, no command is left."""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path

import pytest

from astrosage.data.latex.convert import leftover_commands, to_text
from astrosage.data.latex.project import Project
from tests.data.latex import crude

BOOKS = ("star-formation-notes", "lsst-observing-strategy")
# What the crude way takes for words of the text: accents' letters, lengths.
_KNOWN = re.compile(r"omgren|^en Mach|^in The main")

pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif("ASTRO_TEST_DATA" not in os.environ, reason="ASTRO_TEST_DATA is not set"),
]


def project(book: str) -> Project:
    root = Path(os.environ["ASTRO_TEST_DATA"]) / "latex" / book
    return Project({p.relative_to(root).as_posix(): p.read_bytes for p in root.rglob("*.tex")})


@pytest.mark.parametrize("book", BOOKS)
def test_each_file(book: str) -> None:
    files = project(book)
    words = commands = paragraphs = 0
    lost = []
    for name in files.sources():
        alone = Project({name: files.files[name]})
        source, converted = alone.text(name), to_text(alone, name).text
        words += len(converted.split())
        commands += len(leftover_commands(converted))
        paragraphs += len(crude.runs(source))
        lost += [run for run in crude.lost(source, converted) if not _KNOWN.search(run)]
        expected = crude.word_count(source)
        prose = re.sub(r"\$\$.*?\$\$|\$[^$]*\$", " ", converted, flags=re.DOTALL)
        if expected > 300:
            assert 0.95 < len(crude.words(prose)) / expected < 1.25, name
    assert paragraphs > 1000
    assert not lost
    assert commands / words <= 0.001


@pytest.mark.parametrize("book", BOOKS)
def test_the_whole_book(book: str) -> None:
    files = project(book)
    mains, _ = files.documents()
    found = Counter[str]()
    for main in mains:
        converted = to_text(files, main)
        assert leftover_commands(converted.text) == []
        found.update(converted.counts)
    assert found["inputs"] > 30
    assert found["inputsCyclic"] == found["inputsOutside"] == 0
