"""Mathematics, code and addresses set aside, so that they are neither parsed nor changed.

Each is replaced by a number between two characters of Unicode's private use area, which is
taken out of sources before, and comes back when the text is finished.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

from astrosage.data.latex.scan import environment_end, group_end, skip_space
from astrosage.data.words import words

OPEN, CLOSE = "\ue000", "\ue001"
BLOCK = "\ue002"
"""Stands around what is a block of its own."""
REFERENCE, REFERENCE_END = "\ue003", "\ue004"
"""Stand around a label that is referred to, resolved when all labels are known."""
PRIVATE = re.compile("[\ue000-\ue00f]")
_PLACE = re.compile(f"{OPEN}(\\d+){CLOSE}")

_INNER = words("equation displaymath math equation* dmath dmath*")
_WHOLE = words(
    """align align* eqnarray eqnarray* gather gather* multline multline* flalign flalign* alignat
    alignat* xalignat xalignat* dgroup dgroup* IEEEeqnarray IEEEeqnarray* mathletters"""
)
_START = re.compile(
    r"\\begin\s*\{\s*([a-zA-Z]+\*?)\s*\}|\\(\(|\[|ensuremath(?![a-zA-Z]))|\$\$?|\\.", re.DOTALL
)
_INLINE_END = re.compile(r"\\.|\$|[{}]|\n[ \t]*\n", re.DOTALL)
_LABEL = re.compile(r"\\label\s*\{([^{}]*)\}")
_REFERENCE = re.compile(r"\\(?:ref|eqref|autoref|cref|Cref)\*?\s*\{([^{}]*)\}")
_CITATION = re.compile(r"~?\\(?:no)?cite[a-zA-Z]*\*?\s*(?:\[[^\]]*\]\s*)*\{[^{}]*\}")
_DROPPED = re.compile(
    r"\\(?:nonumber|notag|displaystyle|footnotemark|hfill)(?![a-zA-Z])|\\vspace\*?\{[^{}]*\}"
)
_ENSURE = re.compile(r"\\ensuremath\s*(?=\{)")
_DISPLAY = "$$\n{}\n$$"


@dataclass
class Fence:
    """What was set aside.

    Attributes:
        kept: Each piece as it comes back.
        labels: The numbers of labelled equations.
        counts: What was dropped inside mathematics, and how much mathematics there is.
    """

    kept: list[str] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)

    def literal(self, text: str) -> str:
        """Set aside words that are to stay as they are."""
        self.kept.append(text)
        return f"{OPEN}{len(self.kept) - 1}{CLOSE}"

    def code(self, text: str) -> str:
        """Set aside lines of code or output."""
        lines = [line.rstrip() for line in text.strip("\n").split("\n")]
        place = self.literal("\n\n```\n" + "\n".join(lines) + "\n```\n\n")
        return f"{BLOCK}{place}{BLOCK}"

    def restore(self, text: str) -> str:
        """The text with everything back in it."""
        for _ in range(4):  # an address may stand in a formula's words
            if OPEN not in text:
                break
            text = _PLACE.sub(lambda m: self.kept[int(m.group(1))], text)
        return text

    def mathematics(self, text: str) -> str:
        """The text with its mathematics set aside."""
        out, pos = [], 0
        while found := _START.search(text, pos):
            out.append(text[pos : found.start()])
            place, pos = self._one(text, found)
            out.append(place)
        out.append(text[pos:])
        return "".join(out)

    def _one(self, text: str, found: re.Match[str]) -> tuple[str, int]:
        """What stands for the mathematics that begins at a match, and where it ends."""
        begun, name, kind = found.group(), found.group(1), found.group(2)
        after = found.end()
        if name is not None:
            if name not in _INNER and name not in _WHOLE:
                return begun, after
            start, end = environment_end(text, name, after)
            if start < 0:
                self.counts["environmentsUnclosed"] += 1
                return "", after
            body = text[after:start]
            if name == "math":
                return self._inline(body), end
            return self._display(body if name in _INNER else _wrapped(name, body)), end
        if kind == "ensuremath":
            brace = skip_space(text, after)
            end = group_end(text, brace) if text.startswith("{", brace) else -1
            return (self._inline(text[brace + 1 : end - 1]), end) if end >= 0 else ("", after)
        if kind in ("(", "["):
            end = _delimiter(text, ")" if kind == "(" else "]", after)
            if end < 0:
                self.counts["mathUnclosed"] += 1
                return "", after
            body = text[after : end - 2]
            return (self._inline(body) if kind == "(" else self._display(body)), end
        if begun == "$$":
            end = _dollars(text, after)
            if end >= 0:
                return self._display(text[after : end - 2]), end
            self.counts["mathUnclosed"] += 1
            return "", after
        if begun == "$":
            end = _inline_end(text, after)
            if end >= 0:
                return self._inline(text[after : end - 1]), end
            self.counts["mathUnclosed"] += 1
            return "\\$", after
        return begun, after

    def _inline(self, body: str) -> str:
        body = " ".join(self._clean(body, display=False).split())
        if not body:
            return ""
        self.counts["mathInline"] += 1
        return self.literal(f"${body}$")

    def _display(self, body: str) -> str:
        lines = [" ".join(line.split()) for line in self._clean(body, display=True).split("\n")]
        body = "\n".join(line for line in lines if line)
        if not body:
            return ""
        self.counts["mathDisplay"] += 1
        return f"{BLOCK}{self.literal(_DISPLAY.format(body))}{BLOCK}"

    def _clean(self, body: str, *, display: bool) -> str:
        """Layout and citations dropped; a labelled equation gets the number it is called by."""

        def label(match: re.Match[str]) -> str:
            if not display:
                return ""
            number = str(len(self.labels) + 1)
            self.labels.setdefault(match.group(1).strip(), number)
            return rf"\tag{{{self.labels[match.group(1).strip()]}}}"

        body, citations = _CITATION.subn("", body)
        if citations:
            self.counts["citationsDropped"] += citations
        body = _DROPPED.sub(" ", _LABEL.sub(label, body))
        body = _ENSURE.sub("", body)
        return _REFERENCE.sub(lambda m: f"{REFERENCE}ref:{m.group(1).strip()}{REFERENCE_END}", body)


def _wrapped(name: str, body: str) -> str:
    return f"\\begin{{{name}}}\n{body.strip()}\n\\end{{{name}}}"


def _delimiter(text: str, closing: str, pos: int) -> int:
    """The place after the ``\\)`` or ``\\]`` that comes first."""
    for found in re.compile(r"\\(.)", re.DOTALL).finditer(text, pos):
        if found.group(1) == closing:
            return found.end()
    return -1


def _dollars(text: str, pos: int) -> int:
    for found in re.compile(r"\\.|\$\$", re.DOTALL).finditer(text, pos):
        if found.group() == "$$":
            return found.end()
    return -1


def _inline_end(text: str, pos: int) -> int:
    """The place after the ``$`` that closes; an empty line ends the search, as in TeX."""
    depth, nested = 0, -1
    for found in _INLINE_END.finditer(text, pos):
        token = found.group()
        if token == "{":
            depth += 1
        elif token == "}":
            depth -= 1
            if depth < 0:
                return nested
        elif token == "$":
            if depth == 0:
                return found.end()
            nested = found.end() if nested < 0 else nested
        elif token.startswith("\n"):
            return nested
    return nested
