"""What the writer and the grader are told."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from astrosage.generate.passages import Passage
from astrosage.spec.generate import GenerateSpec

Message = dict[str, str]

_ALONE = (
    "Each question stands alone: somebody who knows the field and has never seen the {source} "
    "understands it without doubt. Name the objects, quantities, methods and conditions that it is "
    "about. Never mention the {source}, a text, its authors, figures, tables, sections or "
    "equations by number."
)
_PAIRS = f"""\
You write training material for a language model that is to know a scientific field. From what the \
passage below says, write {{count}} different questions that somebody working in the field might \
ask, each with its answer.

- {_ALONE.format(source="passage")}
- Ask about the science that is worth knowing in a year's time: what is so, why, how it is known, \
how large, under which conditions; not about wording or about who did what when.
- Each answer is right by the passage, goes no further than it does except for common knowledge of \
the field, is complete in itself and says why, in two to eight sentences. Keep numbers, units and \
uncertainties."""
_THOUGHTS = """\
- `reasoning` comes before each answer: the thoughts, step by step, that lead somebody who knows \
the field and has only the question to the answer: what is asked, which facts and laws bear on it, \
what follows, a check. Three to twelve sentences in the first person, without a word of the \
passage."""
_QUESTIONS = f"""\
You write an examination for professional scientists. From the article below, write {{count}} \
multiple-choice questions on different parts of it, each with one right and three wrong options.

- {_ALONE.format(source="article")}
- Ask for results and insight that an expert has, specific enough to have one right answer, and \
not for what can be guessed or looked up in a dictionary.
- The three wrong options are plausible to somebody who knows less, and clearly wrong. All four \
options have the same form and about the same length; the right one is neither the longest nor the \
most detailed. None of them is "all of the above" or the like, and the question does not contain \
the right one.
- `explanation` says why the right option is right and the others are not.
- `support` is the part of the article that shows it: one whole paragraph or several sentences in \
a row, copied word for word."""
_GRADE = """\
You check study material before it is used. Judge the item below by the passage that it was made \
from, strictly, with whole numbers from 1 (bad) to 5 (excellent):

- `correctness`: is everything in it right, by the passage and by what is known in the field? For \
options: is the right one right, and is each of the others wrong?
- `standalone`: can the question be understood and answered by an expert who does not see the \
passage?
- `pertinence`: is it worth knowing in this field, rather than a detail of this one text?
- `overall`: how good is the item altogether?

5 means without fault; 4 means fit to be used with a small weakness; 3 and less mean not fit."""
VARIATIONS = (
    "At least one of the questions asks for an explanation of a physical cause.",
    "At least one of the questions asks for a quantity, with its unit, and how it is known.",
    "At least one of the questions compares two objects, methods or models.",
    "At least one of the questions asks how an observation is made, and what limits it.",
    "At least one of the questions is one that a student in a first course would ask.",
    "At least one of the questions is one that a researcher of a neighbouring field would ask.",
)
"""Added to the prompt of pairs in turn, so that not all are of one mould."""
_PAIR_FORM = {"question": "…", "answer": "…"}
_REASONED_FORM = {"question": "…", "reasoning": "…", "answer": "…"}
_QUESTION_FORM = {
    "question": "…",
    "correct": "…",
    "wrong": ["…", "…", "…"],
    "explanation": "…",
    "support": "…",
}
_GRADE_FORM = {"correctness": 1, "standalone": 1, "pertinence": 1, "overall": 1, "comment": "…"}


def writing(spec: GenerateSpec, passage: Passage, *, reasoned: bool) -> list[Message]:
    """What the writer is asked of a passage.

    Args:
        spec: The stage's spec.
        passage: What is written about.
        reasoned: Whether answers begin with thoughts.
    """
    pairs = spec.kind == "chat"
    told = [spec.prompts.write or (_PAIRS if pairs else _QUESTIONS)]
    if reasoned:
        told.append(_THOUGHTS)
    variations = spec.prompts.variations
    if variations is None:
        variations = list(VARIATIONS) if pairs and spec.items > 1 else []
    if variations:
        turn = int(passage.share("variation", spec.seed) * len(variations))
        told.append(f"- {variations[turn]}")
    named = "Passage" if pairs else "Article"
    parts = ["\n".join(told).replace("{count}", str(spec.items)), form(spec, reasoned=reasoned)]
    return [_user("\n\n".join([*parts, f"{named}:\n\n{passage.text}"]))]


def form(spec: GenerateSpec, *, reasoned: bool) -> str:
    """The form of the writer's reply, in words."""
    item: dict[str, Any] = _QUESTION_FORM
    if spec.kind == "chat":
        item = _REASONED_FORM if reasoned else _PAIR_FORM
    name = "pairs" if spec.kind == "chat" else "questions"
    return _only({name: [item]}, f" (with {spec.items} in the list)")


def grading(spec: GenerateSpec, passage: Passage, item: Mapping[str, Any]) -> list[Message]:
    """What the grader is asked of one item.

    Args:
        spec: The stage's spec.
        passage: What the item was made from.
        item: What is judged, as it was written.
    """
    told = spec.prompts.grade or _GRADE
    shown = "\n\n".join(_shown(name, value) for name, value in item.items())
    content = f"{told}\n\n{grade_form()}\n\nPassage:\n\n{passage.text}\n\nItem:\n\n{shown}"
    return [_user(content)]


def grade_form() -> str:
    """The form of the grader's reply, in words."""
    return _only(_GRADE_FORM, "; `comment` is one sentence")


def again(messages: list[Message], reply: str, problem: str, wanted: str) -> list[Message]:
    """The conversation that asks once more, after a reply that cannot be used.

    Args:
        messages: What was asked.
        reply: What came.
        problem: What is wrong with it.
        wanted: The form of the reply.
    """
    told = f"That cannot be used: {problem}. {wanted}"
    return [*messages, {"role": "assistant", "content": reply or "(nothing)"}, _user(told)]


def _only(shape: Mapping[str, Any], more: str) -> str:
    return f"Reply with JSON alone, of this form{more}: {json.dumps(shape, ensure_ascii=False)}"


def _shown(name: str, value: Any) -> str:
    text = "\n".join(f"- {v}" for v in value) if isinstance(value, list) else str(value)
    return f"{name}: {text}" if "\n" not in text else f"{name}:\n{text}"


def _user(content: str) -> Message:
    return {"role": "user", "content": content}
