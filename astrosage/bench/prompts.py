"""What a model is asked: the cloze prompt for likelihoods, the lettered one for answers."""

from __future__ import annotations

from astrosage.bench.questions import LETTERS, Question

INSTRUCTION = "Answer with the letter only."


def cloze(question: Question) -> str:
    """The prompt that each option continues; options are not listed in it.

    The form of lm-evaluation-harness's ARC tasks (Gao et al. 2024), zero shot.
    """
    return f"Question: {question.question}\nAnswer:"


def continuation(choice: str) -> str:
    """An option as the continuation of :func:`cloze`."""
    return f" {choice}"


def multiple_choice(question: Question) -> str:
    """The question with its lettered options, as a user's message."""
    options = "\n".join(
        f"{letter}. {choice}" for letter, choice in zip(LETTERS, question.choices, strict=False)
    )
    return f"{question.question}\n\n{options}\n\n{INSTRUCTION}"


def multiple_choice_completion(question: Question) -> str:
    """The same for a model without a chat template: the answer is the text's continuation."""
    return f"Question: {multiple_choice(question)}\n\nAnswer:"
