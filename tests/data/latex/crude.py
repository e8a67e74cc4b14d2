"""A second, crude way from LaTeX to words, to compare with: it knows no parser and no macros."""

from __future__ import annotations

import re

_COMMENT = re.compile(r"(?<!\\)%[^\n]*\n?[ \t]*")
_ENVIRONMENTS = re.compile(
    r"\\begin\{(equation\*?|displaymath|eqnarray\*?|align\*?|verbatim|thebibliography|comment)\}"
    r".*?\\end\{\1\}",
    re.DOTALL,
)
_FALSE = re.compile(r"\\iffalse.*?\\fi", re.DOTALL)
_DEFINITION = re.compile(r"\\(?:newcommand|renewcommand|def|author|address)\b[^\n]*")
_MATH = re.compile(r"\$\$.*?\$\$|\$[^$]*\$", re.DOTALL)
_WITH_ARGUMENT = re.compile(
    r"\\(?:label|ref|autoref|nameref|cite\w*|nocite|includegraphics|href|url|begin|end|vspace|hspace|"
    r"setcounter|addcontentsline|input|include|bibliography\w*|index|eqref|markboth|usepackage)\*?"
    r"(?:\[[^\]]*\])*(?:\{[^{}]*\})?"
)
_COMMAND = re.compile(r"\\(?:[a-zA-Z@]+\*?|.)", re.DOTALL)
_WORD = re.compile(r"[A-Za-z]{2,}")
_RUN = re.compile(r"[A-Za-z]+(?:[ \n,]+[A-Za-z]+){5,}")
BREAK = " \\\\ "


def strip(source: str) -> str:
    """The source with comments, mathematics and what never is text taken out."""
    text = _COMMENT.sub("", source.replace("\\%", " "))
    if "\\begin{document}" in text:
        text = text.split("\\begin{document}", 1)[1].split("\\end{document}", 1)[0]
    text = _FALSE.sub(BREAK, _ENVIRONMENTS.sub(BREAK, text))
    return _MATH.sub(BREAK, _DEFINITION.sub(BREAK, text))


def words(text: str) -> list[str]:
    """Words of two letters or more, in lower case."""
    return [w.lower() for w in _WORD.findall(text)]


def word_count(source: str) -> int:
    """About how many words of prose a source has."""
    return len(words(_COMMAND.sub(" ", _WITH_ARGUMENT.sub(" ", strip(source)))))


def runs(source: str) -> list[str]:
    """For each paragraph, its longest run of at least six plain words."""
    found = []
    for paragraph in re.split(r"\n\s*\n", strip(source)):
        plain = _COMMAND.sub(" | ", _WITH_ARGUMENT.sub(" | ", paragraph))
        candidates = [" ".join(m.group().replace(",", " ").split()) for m in _RUN.finditer(plain)]
        if candidates:
            found.append(max(candidates, key=len))
    return found


def lost(source: str, text: str) -> list[str]:
    """Paragraphs of the source that are not in the text, by their longest run of words."""
    there = " ".join(re.sub(r"[^A-Za-z]+", " ", text).split()).lower()
    return [run for run in runs(source) if " ".join(run.split()[:12]).lower() not in there]
