"""What the text looks like."""

from __future__ import annotations

import pytest

from astrosage.data.latex.convert import leftover_commands
from tests.data.latex.convert import convert, text


def test_an_article() -> None:
    source = r"""\documentclass{article}
\title[short]{A \textit{Study}\thanks{Funded.}}\author{N. N.}\date{2020}
\begin{document}\maketitle
\begin{abstract}We find.\end{abstract}
\section{Introduction}\label{sec:i}
First paragraph, see Section~\ref{sec:i}.

\subsection*{More}
\paragraph{Run-in.} Words.
\acknowledgments Thanks.
\bibliography{refs}
\end{document} never"""
    found = convert(source)
    assert found.text == (
        "# A Study\n\n## Abstract\n\nWe find.\n\n## Introduction\n\nFirst paragraph, see Section "
        "“Introduction”.\n\n### More\n\n##### Run-in.\n\nWords.\n\n## Acknowledgments\n\nThanks."
    )
    assert found.counts["bibliography"] == 1
    assert found.counts["frontMatter"] == 1


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (
            r"\'Etoile \"o \c{c} \v{S} \^{\i} \~n \=a \.z \H{o} \k{a} \r{a}",
            "Étoile ö ç Š î ñ ā ż ő ą å",
        ),
        (r"\ss\ \o{} \AA\ \ae{}\L\ \S 3 \copyright", "ß ø Å æŁ §3 ©"),
        ("``quoted'' and `single' and ``half\"", "“quoted” and ‘single' and “half”"),
        ("a--b---c", "a–b—c"),
        (r"10\,km, Fig.~1, a\ b, e.g.\@ c, f\-g, \ldots", "10 km, Fig. 1, a b, e.g. c, fg, …"),
        (r"\& \% \$ \# \_ \{ \}", "& % $ # _ { }"),
        (r"\textbf{a} {\it b} \emph{c\/} \textsc{d} \texttt{e}", "a b c d e"),
        (r"\textcolor{red}{a} \mbox{b} \parbox[t]{3cm}{c} \resizebox{1cm}{!}{d}", "a b c d"),
        (r"20\arcsec, \ion{H}{ii}, \SI{3}{km}, \texorpdfstring{$x$}{x}", "20″, H ii, 3 km, $x$"),
        (r"line\\ break\\[2pt] here\newline there", "line\nbreak\nhere\nthere"),
        (r"a\noindent b\centering c", "a b c"),
    ],
)
def test_letters_and_dress(source: str, expected: str) -> None:
    assert text(source) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("$a<b$ and \\(c\\)", "$a<b$ and $c$"),
        ("$\\mbox{for $x$}$ y", "$\\mbox{for $x$}$ y"),
        ("a \\[ b \\] c", "a\n$$\nb\n$$\nc"),
        ("$$ a\n\n b $$", "$$\na\nb\n$$"),
        ("\\begin{equation}\\label{e} a \\end{equation} (\\ref{e})", "$$\n\\tag{1} a\n$$\n(1)"),
        (
            "\\begin{align*}a &= b\\\\ c &= d\\nonumber\\end{align*}",
            "$$\n\\begin{align*}\na &= b\\\\ c &= d\n\\end{align*}\n$$",
        ),
        ("$a$\\footnote{$b$}", "$a$\n\n(Note: $b$)"),
        ("\\section{The $x$ case}", "## The $x$ case"),
        ("costs \\$5 and \\$6", "costs $5 and $6"),
        ("$a\\citep{x}$", "$a$"),
        ("$ $ a", "a"),
        ("\\ensuremath{a_{b}} c", "$a_{b}$ c"),
        ("a stray $ sign\n\nnext", "a stray $ sign\n\nnext"),
    ],
)
def test_mathematics(source: str, expected: str) -> None:
    assert text(source) == expected


def test_floats_are_numbered_and_referred_to() -> None:
    source = r"""See Fig.~\ref{f:a}, Table \ref{t}, \autoref{f:b} and \ref{gone}.
\begin{figure}[ht]\centering\includegraphics[width=3cm]{x.pdf}
\caption[Short]{First $x$\footnote{A note}.}\label{f:a}\end{figure}
\begin{figure*}\label{f:b}\plotone{y.eps}\caption{Second.}\end{figure*}
\begin{table}\caption{T.}\label{t}\begin{tabular}{l|c}\hline A & B \\[2pt] \hline
\multicolumn{2}{c}{wide} \\ $1$ & \textbf{2}\\\hline\end{tabular}\end{table}"""
    found = convert(source)
    assert found.text == (
        "See Fig. 1, Table 1, Figure 2 and [reference].\n\nFigure 1: Short. First $x$.\n\n"
        "(Note: A note)\n\nFigure 2: Second.\n\nTable 1: T.\n\nA | B\nwide\n$1$ | 2"
    )
    assert found.counts["graphics"] == 2
    assert found.counts["referencesUnresolved"] == 1
    assert found.counts["tables"] == 1


def test_tables_of_aastex() -> None:
    source = r"""\begin{deluxetable}{lr}\tablecaption{Stars\label{t}}\tablewidth{0pt}
\tablehead{\colhead{Name} & \colhead{Mass}}\startdata Sun & 1 \\ Vega & \nodata \enddata
\tablecomments{Solar units.}\end{deluxetable}Table~\ref{t}"""
    assert text(source) == ("Table 1: Stars\n\nName | Mass\nSun | 1\nVega\nSolar units.\n\nTable 1")


def test_lists() -> None:
    source = r"""Before
\begin{itemize}\item one\item[two] 2
\begin{enumerate}[label=(a)]\item x\item y\end{enumerate}\end{itemize}
\begin{description}\item[Star:] a sun\end{description}"""
    assert text(source) == "Before\n\n- one\n- two: 2\n  1. x\n  2. y\n\n- Star: a sun"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (r"\citet{g} and \citep{g}", "Gould & Salpeter (1963) and (Gould & Salpeter 1963)"),
        (r"\citep[see][sec.~2]{g,h}", "(see Gould & Salpeter 1963; Hill 2001, sec. 2)"),
        (r"\citealt{h} \citeauthor{h} \citeyear{h} \cite{h}", "Hill 2001 Hill 2001 Hill (2001)"),
        (r"a \citep{none} b, \citet{none}", "a b, [citation]"),
        (r"a (e.g. \citep{none}) b", "a b"),
        (r"a \citep{none, g}.", "a (Gould & Salpeter 1963)."),
    ],
)
def test_citations(source: str, expected: str) -> None:
    bibliography = r"""\begin{thebibliography}{9}
\bibitem[{{Gould} \& {Salpeter}(1963)}]{g} Gould, R.
\bibitem[\protect\citeauthoryear{Hill}{Hill}{2001}]{h} Hill
\bibitem{plain} Someone\end{thebibliography}"""
    found = convert(source + bibliography)
    assert found.text == expected
    assert found.counts["bibliographyItems"] == 3


def test_numbered_citations_are_dropped_with_the_space_before() -> None:
    found = convert(r"Known~\cite{a,b}, and more \cite{c}.")
    assert found.text == "Known, and more."
    assert found.counts["citationsDropped"] == 3


def test_a_bbl_file_tells_authors_too() -> None:
    from astrosage.data.latex.convert import to_text
    from tests.data.latex.convert import project

    files = project({"m.tex": r"\citet{a}", "m.bbl": r"\bibitem[{Ann {et~al.}(1999)Ann, Bo}]{a} x"})
    assert to_text(files, "m.tex").text == "Ann et al. (1999)"


def test_unknown_commands_are_counted_and_their_words_stay() -> None:
    found = convert(r"The \OpSim run, \unknown[x=1]{kept}{too} and \gone.")
    assert found.text == "The OpSim run, kept too and ."
    assert found.counts["unknownCommands"] == 3
    assert ("unknownCommands", "\\OpSim in main.tex") in found.notes


def test_leftovers_are_those_outside_mathematics_and_code() -> None:
    assert leftover_commands("a $\\alpha$ `\\x` $$\n\\beta\n$$ \\gone b") == ["\\gone"]


def test_private_characters_of_a_source_do_no_harm() -> None:
    assert text("a\ue0000\ue001b $x$ \ue003ref:x\ue004") == "a0b $x$ ref:x"
