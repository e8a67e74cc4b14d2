"""What a model is asked: the cloze prompt for likelihoods, the lettered ones for letters.

A question's ``shots`` come first, each in the form of the question with its answer filled in.
"""

from __future__ import annotations

from astrosage.bench.question import LETTERS, Question

INSTRUCTION = "Answer with the letter only."
Message = dict[str, str]


def cloze(question: Question) -> str:
    """The prompt that each option continues; options are not listed in it.

    The form of lm-evaluation-harness's ARC tasks (Gao et al. 2024).
    """
    solved = (f"{_cloze(shot)}{continuation(_right(shot))}\n\n" for shot in question.shots)
    return "".join(solved) + _cloze(question)


def _cloze(question: Question) -> str:
    return f"Question: {question.question}\nAnswer:"


def continuation(choice: str) -> str:
    """An option, or a letter, as the continuation of a prompt that ends in ``Answer:``."""
    return f" {choice}"


def lettered(question: Question) -> str:
    """The prompt that each option's letter continues, after all options were shown.

    The form of lm-evaluation-harness's MMLU tasks, with and without examples.
    """
    solved = (f"{_lettered(s)}{continuation(_letter(s))}\n\n" for s in question.shots)
    return "".join(solved) + _lettered(question)


def _lettered(question: Question) -> str:
    return f"{question.question}\n{_options(question)}\nAnswer:"


def multiple_choice(question: Question) -> str:
    """The question with its lettered options, as a user's message; without its examples."""
    return f"{question.question}\n\n{_options(question)}\n\n{INSTRUCTION}"


def conversation(question: Question) -> list[Message]:
    """The question as the last message of a chat in which its examples were answered rightly."""
    turns: list[Message] = []
    for shot in question.shots:
        turns.append({"role": "user", "content": multiple_choice(shot)})
        turns.append({"role": "assistant", "content": _letter(shot)})
    return [*turns, {"role": "user", "content": multiple_choice(question)}]


def multiple_choice_completion(question: Question) -> str:
    """The same for a model without a chat template: the answer is the text's continuation."""
    solved = (f"{_completion(s)}{continuation(_letter(s))}\n\n" for s in question.shots)
    return "".join(solved) + _completion(question)


def _completion(question: Question) -> str:
    return f"Question: {multiple_choice(question)}\n\nAnswer:"


def _options(question: Question) -> str:
    return "\n".join(
        f"{letter}. {choice}" for letter, choice in zip(LETTERS, question.choices, strict=False)
    )


def _right(shot: Question) -> str:
    assert shot.answer is not None, "examples are questions with keys"
    return shot.choices[shot.answer]


def _letter(shot: Question) -> str:
    assert shot.answer is not None, "examples are questions with keys"
    return LETTERS[shot.answer]
