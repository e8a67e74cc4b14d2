from __future__ import annotations

import pytest
from lxml import etree

from astrosage.data.formats.mathml import to_latex


def row(*parts: str) -> str:
    return f"<mrow>{''.join(parts)}</mrow>"


I, N, O = "<mi>{}</mi>", "<mn>{}</mn>", "<mo>{}</mo>"  # noqa: E741


@pytest.mark.parametrize(
    ("inside", "latex"),
    [
        (I.format("x"), "x"),
        (I.format("sin") + I.format("α"), r"\mathrm{sin}\alpha"),
        (f"<mfrac>{N.format(1)}{N.format(2)}</mfrac>", r"\frac{1}{2}"),
        (
            f"<msup>{row(I.format('a'), O.format('+'), I.format('b'))}{N.format(2)}</msup>",
            "{a + b}^{2}",
        ),
        (f"<msub>{I.format('F')}<mtext>gravity</mtext></msub>", r"F_{\text{gravity}}"),
        (f"<msubsup>{I.format('x')}{N.format(1)}{N.format(2)}</msubsup>", "x_{1}^{2}"),
        (f"<msqrt>{I.format('x')}{O.format('+')}{N.format(1)}</msqrt>", r"\sqrt{x + 1}"),
        (f"<mroot>{I.format('x')}{N.format(3)}</mroot>", r"\sqrt[3]{x}"),
        (f"<mover>{I.format('x')}{O.format('¯')}</mover>", r"\bar{x}"),
        (f"<munder>{O.format('∑')}{I.format('i')}</munder>", r"\sum_{i}"),
        (f"<mfenced>{I.format('a')}{I.format('b')}</mfenced>", "(a, b)"),
        (
            f"<mtable><mtr><mtd>{N.format(1)}</mtd><mtd>{N.format(2)}</mtd></mtr>"
            f"<mtr><mtd>{N.format(3)}</mtd></mtr></mtable>",
            r"\begin{matrix}1 & 2 \\ 3\end{matrix}",
        ),
        (f"{N.format('50')}{O.format('%')}", r"50\%"),
        ("<mspace width='1em'/>" + N.format(1), "1"),
        ("<mfrac><mn>1</mn></mfrac>", "1"),
    ],
)
def test_presentation(inside: str, latex: str) -> None:
    assert to_latex(etree.fromstring(f"<math>{inside}</math>")) == latex
