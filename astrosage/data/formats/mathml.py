"""MathML to LaTeX: presentation elements as textbooks and web pages use them.

See https://www.w3.org/TR/mathml-core/. An annotation in TeX, where there is one, is taken as it is.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any

_ONE = re.compile(r"[^\\{}]|\\[a-zA-Z]+")
_SYMBOLS = {
    "−": "-",
    "×": r"\times ",
    "·": r"\cdot ",
    "⋅": r"\cdot ",
    "±": r"\pm ",
    "≈": r"\approx ",
    "≤": r"\le ",
    "≥": r"\ge ",
    "≠": r"\ne ",
    "∞": r"\infty ",
    "∝": r"\propto ",
    "→": r"\to ",
    "∑": r"\sum ",
    "∫": r"\int ",
    "∂": r"\partial ",
    "∇": r"\nabla ",
    "√": r"\surd ",
    "⊙": r"\odot ",
    "°": r"^{\circ}",
    "′": "'",
    "″": "''",
    "%": r"\%",
    "{": r"\{",
    "}": r"\}",
    "#": r"\#",
    "&": r"\&",
    "$": r"\$",
    "\u2061": "",
    "\u2062": "",
    "\u2063": "",
    "\u00a0": " ",
}
_SMALL = """alpha beta gamma delta epsilon zeta eta theta iota kappa lamda mu nu xi pi rho sigma tau
upsilon phi chi psi omega"""
_CAPITAL = "gamma delta theta lamda xi pi sigma upsilon phi psi omega"


def _greek() -> dict[str, str]:
    """Commands by letter; Unicode spells lambda without b."""
    found = {}
    for case, names in (("SMALL", _SMALL), ("CAPITAL", _CAPITAL)):
        for name in names.split():
            command = name.replace("lamda", "lambda")
            command = command.capitalize() if case == "CAPITAL" else command
            found[unicodedata.lookup(f"GREEK {case} LETTER {name.upper()}")] = f"\\{command} "
    return found


_TABLE = str.maketrans(_SYMBOLS | _greek())
_ACCENTS = {"¯": "bar", "‾": "bar", "^": "hat", "ˆ": "hat", "~": "tilde", "→": "vec", "˙": "dot"}


def local_name(element: Any) -> str:
    """An element's name without its namespace; empty for comments and instructions."""
    name = element.tag
    return name.rsplit("}", 1)[-1].rsplit(":", 1)[-1].lower() if isinstance(name, str) else ""


def to_latex(element: Any) -> str:
    """A ``math`` element as LaTeX, without delimiters."""
    for node in element.iter():
        if local_name(node) == "annotation" and "tex" in (node.get("encoding") or "").lower():
            return " ".join("".join(node.itertext()).split())
    return " ".join(_convert(element).split())


def _convert(node: Any) -> str:
    name = local_name(node)
    children = [child for child in node if local_name(child)]
    if name in ("mi", "mn", "mo", "ms", "mtext"):
        return _leaf(name, "".join(node.itertext()))
    if name in ("annotation", "annotation-xml", "none", "mprescripts"):
        return ""
    parts = [_convert(child) for child in children]
    make = _MAKERS.get(name)
    if make is not None and len(parts) == make[0]:
        return make[1].format(_group(parts[0]), *(p.strip() for p in parts[1:]))
    if name in ("mover", "munder") and len(parts) == 2:
        return _over_or_under(name, parts, "".join(children[1].itertext()).strip())
    if name == "mfrac" and len(parts) == 2:
        return rf"\frac{{{parts[0].strip()}}}{{{parts[1].strip()}}}"
    if name == "mroot" and len(parts) == 2:
        return rf"\sqrt[{parts[1].strip()}]{{{parts[0].strip()}}}"
    if name == "mfenced":
        opening, closing = node.get("open", "("), node.get("close", ")")
        return f"{opening}{', '.join(p.strip() for p in parts)}{closing}"
    if name == "mtable":
        return r"\begin{matrix}" + r" \\ ".join(parts) + r"\end{matrix}"
    if name in ("mtr", "mlabeledtr"):
        return " & ".join(p.strip() for p in parts)
    if name == "msqrt":
        return rf"\sqrt{{{''.join(parts).strip()}}}"
    return "".join(parts)


_MAKERS = {
    "msup": (2, "{0}^{{{1}}}"),
    "msub": (2, "{0}_{{{1}}}"),
    "msubsup": (3, "{0}_{{{1}}}^{{{2}}}"),
    "munderover": (3, "{0}_{{{1}}}^{{{2}}}"),
}


def _group(part: str) -> str:
    """In braces, unless it is one letter or one command."""
    part = part.strip()
    return part if _ONE.fullmatch(part) else f"{{{part}}}"


def _over_or_under(name: str, parts: list[str], mark: str) -> str:
    base, other = parts[0].strip(), parts[1].strip()
    if name == "mover" and mark in _ACCENTS:
        return rf"\{_ACCENTS[mark]}{{{base}}}"
    return f"{base}{'^' if name == 'mover' else '_'}{{{other}}}"


def _leaf(name: str, text: str) -> str:
    if name in ("mtext", "ms"):
        words = re.sub(r"\s+", " ", text)
        return rf"\text{{{words}}}" if words.strip() else " "
    text = " ".join(text.split())
    latex = text.translate(_TABLE)
    if name == "mi" and len(text) > 1:
        return rf"\mathrm{{{latex.strip()}}}"
    if name == "mo" and latex.strip() in ("=", "<", ">", "+"):
        return f" {latex.strip()} "
    return latex
