"""Convert sources that are written in a test."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from astrosage.data.latex.convert import Converted, to_text
from astrosage.data.latex.project import Project


def project(files: Mapping[str, str | bytes]) -> Project:
    """A project of texts by name."""
    raw = {n: t.encode() if isinstance(t, str) else t for n, t in files.items()}
    return Project({n: partial(bytes, t) for n, t in raw.items()}, "paper")


def convert(main: str, **others: str) -> Converted:
    """Convert ``main`` as ``main.tex``; others are files, ``__`` in their names is ``/``."""
    files = {f"{name.replace('__', '/')}.tex": text for name, text in others.items()}
    return to_text(project({"main.tex": main, **files}), "main.tex")


def text(main: str, **others: str) -> str:
    """Only the text of it."""
    return convert(main, **others).text
