from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astrosage.generate.parsing import Choice, NonsenseError, Pair, grades, items

# Text as models write it: no control characters beside line ends.
TEXT = st.text(
    st.characters(exclude_categories=["Cc", "Cs"]) | st.sampled_from('\\\n"{}[]'), max_size=60
).map(str.strip)


@settings(deadline=None)
@given(st.lists(st.tuples(TEXT, TEXT).filter(all), min_size=1, max_size=4), st.sampled_from("abcd"))
def test_good_json_is_read_as_it_is_in_every_wrapping(
    written: list[tuple[str, str]], wrapping: str
) -> None:
    listed = [{"question": q, "answer": a} for q, a in written]
    text = json.dumps({"pairs": listed}, ensure_ascii=wrapping == "a", indent=2)
    wrapped = {
        "a": text,
        "b": f"```json\n{text}\n```",
        "c": f"<think>Let me see: [1], {{}}.</think>\n\n{text}",
        "d": f"Here they are:\n{text}",
    }[wrapping]
    if wrapping == "b" and "```" in text:
        return  # ends the fence
    found = items(wrapped, "pairs", Pair, 4)
    assert [(p.question, p.answer) for p in found] == [(q, a) for q, a in written]


@pytest.mark.parametrize(
    ("raw", "meant"),
    [
        (r"\alpha and \sigma", r"\alpha and \sigma"),
        (r"\beta, \frac{1}{2}, \nu, \rho, \tau", r"\beta, \frac{1}{2}, \nu, \rho, \tau"),
        (r"\\beta, \\frac{1}{2}, \\nu", r"\beta, \frac{1}{2}, \nu"),
        (r"$M_\odot$\nnext line", "$M_\\odot$\nnext line"),
        (r"\u03b1 and \upsilon", "\u03b1 and \\upsilon"),
        (r"5 \times 10^{3}\, K", r"5 \times 10^{3}\, K"),
        (r"a \"quoted\" word", 'a "quoted" word'),
        ("a raw\nline end", "a raw\nline end"),
    ],
)
def test_latex_survives_whether_its_backslashes_were_doubled_or_not(raw: str, meant: str) -> None:
    found = items(f'{{"pairs": [{{"question": "{raw}", "answer": "x"}}]}}', "pairs", Pair, 1)
    assert found[0].question == meant


def test_a_list_alone_and_surplus_items() -> None:
    written = json.dumps([{"question": str(i), "answer": "x"} for i in range(9)])
    assert [p.question for p in items(written, "pairs", Pair, 3)] == ["0", "1", "2"]


@pytest.mark.parametrize(
    "text",
    [
        *("", "I'm sorry, but I cannot do that.", "<html><body>502</body></html>"),
        *('{"pairs": [{"question": "a", "answer": "b"}, {"quest', '{"error": "busy"}', "[1, 2]"),
        *('{"pairs": [{"question": "a"}]}', '{"pairs": [{"question": "a", "answer": " "}]}'),
        *('{"pairs": {"question": "a", "answer": "b"}}', "{" * 9999, "[" * 99999, "null", "\\"),
        '{"pairs": [{"question": ["a"], "answer": "b"}]}',
        "<think>" + json.dumps({"pairs": [{"question": "a", "answer": "b"}]}) + "</think>",
    ],
)
def test_anything_else_is_nonsense(text: str) -> None:
    with pytest.raises(NonsenseError):
        items(text, "pairs", Pair, 3)


def test_a_question_has_three_wrong_options() -> None:
    one = {"question": "q", "correct": "c", "explanation": "e", "support": "s"}
    for wrong in ([], ["a", "b"], ["a", "b", "c", "d"]):
        with pytest.raises(NonsenseError, match=r"questions\[0\].wrong"):
            items(json.dumps({"questions": [one | {"wrong": wrong}]}), "questions", Choice, 1)


def test_grades_in_figures_or_words_of_figures() -> None:
    names = ("correctness", "standalone", "pertinence", "overall")
    found = grades(json.dumps(dict(zip(names, (5, "4", 3.5, 2), strict=True))))
    assert (found.correctness, found.standalone, found.pertinence) == (5.0, 4.0, 3.5)
    for bad in ({"overall": 5}, dict.fromkeys(names, 6), dict.fromkeys(names, "good"), [5, 5]):
        with pytest.raises(NonsenseError):
            grades(json.dumps(bad))
