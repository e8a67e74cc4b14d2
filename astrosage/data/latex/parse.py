"""Expanded LaTeX as a tree, by pylatexenc."""

from __future__ import annotations

import functools
import logging
import re
from typing import Any

from astrosage.data.compressed import needed
from astrosage.data.latex.commands import COMMANDS, ENVIRONMENTS, HEADINGS
from astrosage.data.words import words

# What the renderer writes in a form of its own.
_SPECIAL = {
    **dict.fromkeys(HEADINGS, "*[{"),
    "astrotitle": "{",
    "caption": "*[{",
    "subcaption": "*[{",
    "captionof": "*{[{",
    "tablecaption": "[{",
    "figcaption": "[{",
    "footnote": "[{",
    "footnotetext": "[{",
    "endnote": "[{",
    "item": "[",
    "ref": "*{",
    "pageref": "*{",
    "eqref": "*{",
    "autoref": "*{",
    "subref": "*{",
    "cref": "*{",
    "Cref": "*{",
    "nameref": "*{",
    "label": "{",
    "\\": "*[",
    "abstract": "",
    **dict.fromkeys("'`^\"~=.", "{"),
    **dict.fromkeys("uvHcdbkrt", "{"),
}
CITATIONS = words(
    """cite citet citep citealt citealp citeauthor citeyear citeyearpar citetext Citet Citep
    Citealt Citealp Citeauthor parencite textcite autocite footcite citenum onlinecite citen
    citeN citeNP shortcite citefullauthor citename"""
)
# The library reads a letter at a time; a run of letters that mean nothing to TeX is one token here.
_RUN = re.compile(r"[^\\%{}$~&]+")


@functools.lru_cache(1)
def _walker_class() -> Any:
    walker = needed("pylatexenc.latexwalker", "LaTeX")

    class Walker(walker.LatexWalker):  # type: ignore[misc, name-defined]
        """The library's parser, with runs of letters as one token."""

        def get_token(
            self,
            pos: int,
            include_brace_chars: Any = None,
            environments: bool = True,
            parsing_state: Any = None,
            **options: Any,
        ) -> Any:
            if environments and not include_brace_chars and not options:
                run = _RUN.match(self.s, pos)
                if run is not None:
                    length = run.end() - pos
                    return walker.LatexToken(
                        tok="char", arg=run.group(), pos=pos, len=length, pre_space=""
                    )
            return super().get_token(
                pos,
                include_brace_chars=include_brace_chars,
                environments=environments,
                parsing_state=parsing_state,
                **options,
            )

    return Walker


@functools.lru_cache(1)
def _context() -> Any:
    spec = needed("pylatexenc.macrospec", "LaTeX")
    arguments = {name: command.arguments for name, command in COMMANDS.items()} | _SPECIAL
    found = spec.LatexContextDb()
    found.add_context_category(
        "astrosage",
        macros=[
            *(spec.MacroSpec(name, args) for name, args in arguments.items()),
            *(spec.MacroSpec(name, "*[[{") for name in CITATIONS),
        ],
        environments=[spec.EnvironmentSpec(name, args) for name, args in ENVIRONMENTS.items()],
        specials=[spec.SpecialsSpec("~"), spec.SpecialsSpec("&")],
    )
    found.set_unknown_macro_spec(spec.MacroSpec(""))
    found.set_unknown_environment_spec(spec.EnvironmentSpec(""))
    return found


def parse(text: str) -> list[Any]:
    """The nodes of expanded LaTeX without mathematics.

    What is unbalanced is mended as well as can be; nothing is refused.
    """
    logging.getLogger("pylatexenc").setLevel(logging.CRITICAL)  # it tells each mended fault
    walker = _walker_class()(text, latex_context=_context(), tolerant_parsing=True)
    nodes: list[Any] = walker.get_latex_nodes()[0]
    return nodes


@functools.lru_cache(1)
def symbols() -> dict[str, str]:
    """Letters and signs by command, such as ``alpha`` and ``ss``: the library's own table."""
    text = needed("pylatexenc.latex2text", "LaTeX")
    found = {}
    for category in text.get_default_latex_context_db().iter_macro_specs():
        if isinstance(category.simplify_repl, str) and "%" not in category.simplify_repl:
            found[category.macroname] = category.simplify_repl
    return found
