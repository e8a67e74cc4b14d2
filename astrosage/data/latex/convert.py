"""A LaTeX document as text, with an account of what was left out."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

from astrosage.data.latex.expand import expand
from astrosage.data.latex.fence import PRIVATE
from astrosage.data.latex.labels import Labels, cited_works, take_bibliography
from astrosage.data.latex.layout import lay_out
from astrosage.data.latex.parse import parse
from astrosage.data.latex.project import Project
from astrosage.data.latex.render import Renderer

_CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
_MATHEMATICS = re.compile(r"\$\$.*?\$\$|\$[^$\n]*\$", re.DOTALL)
_COMMAND = re.compile(r"\\[a-zA-Z]+")


@dataclass(frozen=True)
class Converted:
    """What became of a document.

    Attributes:
        text: Markdown headings, lists and tables; mathematics between ``$`` and ``$$``.
        counts: What was left out or changed, by kind.
        notes: Some of it in words, as ``(kind, words)``.
        missing: Inputs that are not among the files.
    """

    text: str
    counts: Counter[str]
    notes: list[tuple[str, str]]
    missing: list[str]


def to_text(project: Project, main: str) -> Converted:
    """Convert a document.

    Args:
        project: Its files.
        main: The one to begin with.

    Raises:
        DataError: If its macros make too much of it.
        RecursionError: If groups lie too deep in one another.
    """
    expanded = expand(project, main)
    counts = expanded.counts
    body, works = take_bibliography(expanded.text, counts)
    works = {**_bibliography_files(project, main), **works}
    body = expanded.fence.mathematics(body)
    counts.update(expanded.fence.counts)
    labels = Labels({key: ("Equation", n) for key, n in expanded.fence.labels.items()})
    renderer = Renderer(works, labels)
    text = lay_out(renderer.render(parse(body)))
    text = labels.resolve(expanded.fence.restore(text), renderer.counts)
    counts.update(renderer.counts)
    notes = [*expanded.notes]
    notes += [("unknownCommands", f"\\{name} in {main}") for name in list(renderer.unknown)[:5]]
    return Converted(_tidy(text), counts, notes, expanded.missing)


def _bibliography_files(project: Project, main: str) -> dict[str, tuple[str, str]]:
    """Works of the ``.bbl`` files; the main file's own come last and so count."""
    names = project.bibliographies(main)
    return {key: work for name in names for key, work in cited_works(project.text(name)).items()}


def _tidy(text: str) -> str:
    text = PRIVATE.sub("", text)
    text = re.sub(r"[ \t]+\n", "\n", text)
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def leftover_commands(text: str) -> list[str]:
    """Commands that are left in a converted text outside mathematics and code."""
    return _COMMAND.findall(_MATHEMATICS.sub(" ", _CODE.sub(" ", text)))
