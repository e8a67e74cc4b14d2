"""Inputs, comments, macros and conditionals."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astrosage.data.words import words
from astrosage.errors import DataError
from tests.data.latex.convert import convert, text


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (r"\newcommand{\x}{X}\x.", "X."),
        (r"\newcommand\x{X}\x y", "Xy"),
        (r"\newcommand{\x}{X}\x{} y", "X y"),
        (r"\newcommand{\x}[2]{#2#1}\x{a}b", "ba"),
        (r"\newcommand{\x}[2][q]{#1-#2}\x{a} \x[p]{a}", "q-a p-a"),
        (r"\newcommand*{\x}[1]{#1#1}\x a", "aa"),
        (r"\def\x#1#2{#2 #1}\x ab", "b a"),
        (r"\gdef\x{X}\let\y\x \let\z=\y \z", "X"),
        (r"\providecommand{\x}{A}\providecommand{\x}{B}\x", "A"),
        (r"\newcommand{\x}{A}\renewcommand{\x}{B}\x", "B"),
        (r"\newcommand{\x}{A}\x\renewcommand{\x}{B}\x", "AB"),
        (r"\newcommand{\x}{\y\y}\newcommand{\y}{Y}\x", "YY"),
        (r"\newcommand{\x}[1]{\y{#1}}\newcommand{\y}[1]{<#1>}\x{a}", "<a>"),
        (r"\newcommand{\x}{X\xspace}\x and \x, \x.", "X and X, X."),
        (r"\newcommand{\m}{\ensuremath{M_\odot}}\m{} $3\m$", r"$M_\odot$ $3{M_\odot}$"),
        (r"\DeclareMathOperator{\Tr}{Tr}$\Tr x$", r"$\operatorname{Tr}x$"),
        (r"\newcommand{\e}{\epsilon}$\e x$", r"$\epsilon x$"),
        (r"\newcommand{\section}[1]{}\section{Kept}", "## Kept"),
        (r"\def\x#1;{gone}a\x b;c", "a b;c"),
        (r"\newenvironment{n}[1]{Begin #1:}{End}\begin{n}{a}b\end{n}", "Begin a:bEnd"),
        (r"\newtheorem{t}{Theorem}\begin{t}[X] No.\end{t}", "Theorem (X). No."),
        (r"a\relax b\makeatletter c", "abc"),
        (r"a\vskip 3pt plus 1fil b\hskip-2.5em c", "a b c"),
        (r"\setlength{\parindent}{0pt}\hspace*{1cm}a", "a"),
    ],
)
def test_macros(source: str, expected: str) -> None:
    assert text(source) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a% comment\nb", "ab"),
        ("a % comment\n   b", "a b"),
        ("a\n% comment\nb", "a b"),
        ("a\n%\n\nb", "a\n\nb"),
        ("50\\% of a", "50% of a"),
        ("a % open {brace\nb", "a b"),
        (r"\newcommand{\x}[1]{#1}\x{a % }" + "\n}b", "a b"),
        ("\\begin{comment}gone\\end{comment}a", "a"),
        (r"\url{http://a.org/b%20c#d_e}", "http://a.org/b%20c#d_e"),
        (r"\href{http://a.org/%7Eb}{the site}", "the site"),
        (r"\verb|a_b %| c", "`a_b %` c"),
        ("\\begin{verbatim}\nx = {1} % y\n\\end{verbatim}", "```\nx = {1} % y\n```"),
    ],
)
def test_comments_addresses_and_code(source: str, expected: str) -> None:
    assert text(source) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (r"a\iffalse b\else c\fi d", "a c d"),
        (r"a\iftrue b\else c\fi d", "a b d"),
        (r"a\iffalse b\iftrue c\fi d\fi e", "a e"),
        (r"\newif\ifdraft\drafttrue\ifdraft a\else b\fi", "a"),
        (r"\newif\ifdraft\ifdraft a\else b\fi", "b"),
        (r"\ifnum 1>2 a\else b\fi c", "b c"),
        (r"\ifcase 1 a\or b\fi c", "c"),
        (r"a \iffalse never closed", "a never closed"),
        (r"$a \iff b$", r"$a \iff b$"),
        (r"a\fi b\else c", "a b c"),
    ],
)
def test_conditionals(source: str, expected: str) -> None:
    assert " ".join(text(source).split()) == expected


def test_inputs() -> None:
    found = convert(
        r"\documentclass{a}\input{defs}\begin{document}A \input{b}\include{d/c}\end{document} out",
        defs=r"\newcommand{\x}{X} not shown",
        b=r"B \x ",
        d__c=r"C \input{d/e} \input e",
        d__e="E",
    )
    assert found.text == "A B X\n\nC E E"
    assert found.counts["inputs"] == 5


def test_a_subfile_loses_its_preamble_and_keeps_its_macros() -> None:
    part = (
        r"\documentclass[main]{subfiles}\newcommand{\y}{Y}\begin{document}Part \y.\end{document}no"
    )
    main = r"\documentclass{a}\begin{document}A \subfile{part} B \y\end{document}"
    assert text(main, part=part) == "A Part Y. B Y"


def test_macros_of_packages_that_come_with_the_paper() -> None:
    from astrosage.data.latex.convert import to_text
    from tests.data.latex.convert import project

    files = project(
        {
            "main.tex": r"\documentclass{my}\usepackage{a,b}\begin{document}\x\y\z\end{document}",
            "my.cls": r"\newcommand{\x}{X}shown never",
            "b.sty": r"\newcommand{\y}{Y}\RequirePackage{c}",
            "c.sty": r"\newcommand{\z}{Z}",
        }
    )
    found = to_text(files, "main.tex")
    assert (found.text, found.counts["packages"]) == ("XYZ", 3)


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        ({"main": r"a\input{main}b"}, "inputsCyclic"),
        ({"main": r"a\input{x}b", "x": r"\input{y}", "y": r"\input{x}"}, "inputsCyclic"),
        ({"main": r"a\input{../../etc/passwd}b"}, "inputsOutside"),
        ({"main": r"a\input{/etc/passwd}b"}, "inputsOutside"),
        ({"main": r"a\input{gone}b"}, "inputsMissing"),
    ],
)
def test_inputs_that_are_left_out(files: dict[str, str], kind: str) -> None:
    found = convert(**files)
    assert found.text == "ab"
    assert found.counts[kind] == 1
    assert any(k == kind and " in " in words for k, words in found.notes)


def test_inputs_that_multiply_end() -> None:
    files = {f"f{i}": rf"\input{{f{i + 1}}}\input{{f{i + 1}}}" for i in range(30)}
    found = convert(r"a\input{f0}b", **files)
    assert found.counts["inputsTooMany"] > 0
    assert found.text == "ab"


def test_a_macro_that_calls_itself_ends() -> None:
    found = convert(r"\newcommand{\x}{y \x}\x z")
    assert found.counts["macroLoops"] == 1
    assert found.text.endswith("z")


TEN = r"\def\{0}{{\{1}\{1}\{1}\{1}\{1}\{1}\{1}\{1}\{1}\{1}}}"


@pytest.mark.parametrize(
    "source",
    [
        r"\def\a{\b\b}\def\b{\a\a}\a",
        r"\def\a#1{\a{#1#1}}\a{xxxx}",
        r"\def\a{0123456789}" + "".join(TEN.format(b, a) for a, b in pairwise("abcdefghi")) + r"\i",
    ],
)
def test_macros_that_multiply_are_refused(source: str) -> None:
    with pytest.raises(DataError, match=r"main\.tex: its macros expand to over 20 million"):
        text(source + " text")


def test_what_is_unbalanced_costs_no_words() -> None:
    source = (
        "Text {unclosed \\begin{itemize} \\item a $x + y\n\nNew} with \\end{itemize} \\end{foo} "
        "\\textbf{bold.\n\nLast paragraph \\begin{equation} z"
    )
    found = text(source)
    for word in ("Text", "unclosed", "New", "with", "bold.", "Last paragraph", "z"):
        assert word in found


PIECES = r"""a { } $ % \ [ ] & \begin{x} \end{x} \item \def\q \q #1 \if \fi \else $$ \[ \) \' \cite{
\label \newcommand \footnote{ \caption \begin{tabular}{l} \begin{equation} \\ \verb| \url{
\iffalse \input{main} ~ \section{"""
pieces = st.sampled_from(["\n", "\n\n", " ", *sorted(words(PIECES))])


@given(st.lists(pieces, max_size=25))
def test_any_tangle_is_read(parts: list[str]) -> None:
    found = convert("".join(parts))
    assert "\ue000" not in found.text
