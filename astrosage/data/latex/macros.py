"""The author's own macros: what they are and what they become."""

from __future__ import annotations

import re
from dataclasses import dataclass

from astrosage.data.words import words

_PARAMETER = re.compile(r"#(#|[1-9])")

# Their form is what the text is written by; a redefinition only changes how they look on paper.
PROTECTED = words(
    """part chapter section subsection subsubsection paragraph subparagraph title author date
    maketitle abstract caption footnote footnotetext footnotemark item label ref pageref eqref
    autoref cref Cref cite citet citep citealt citealp citeauthor citeyear nocite bibitem begin
    end input include includegraphics document par newcommand renewcommand def let url href
    tablehead colhead tablecaption startdata enddata multicolumn hline thanks textbf textit emph
    texttt textrm textsc mathrm mathbf frac sqrt left right"""
)


@dataclass(frozen=True, slots=True)
class Macro:
    """A macro with undelimited parameters.

    Attributes:
        parameters: How many, the optional one included.
        body: Its replacement, with ``#1`` and so on.
        default: Of the first parameter, if that is optional.
    """

    parameters: int
    body: str
    default: str | None = None

    def replaced(self, arguments: list[str]) -> str:
        """The body with the arguments in it."""
        if "#" not in self.body:
            return self.body

        def argument(match: re.Match[str]) -> str:
            which = match.group(1)
            if which == "#":
                return "#"
            return arguments[int(which) - 1] if int(which) <= len(arguments) else ""

        return _PARAMETER.sub(argument, self.body)
