"""Which option a model chose: the likeliest, or the one that its written answer names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from astrosage.bench.question import LETTERS

Outcome = Literal["letter", "text", "refused", "unparsable", "cut", "failed"]

_THOUGHT = re.compile(r"<think>.*?(</think>|\Z)", re.DOTALL)
_UNFINISHED = re.compile(r"<think>(?!.*</think>)", re.DOTALL)
_MARKUP = re.compile(r"\\(?:boxed|text|textbf|mathbf)\s*\{([^{}]*)\}|[*`_$]+")
_LETTER = rf"[(\[]?([{LETTERS}])\b(?!['\u2019-])"
# "The answer is A star" names no letter; A and I are words of their own.
_NO_WORD = r"(?!(?<=[AI])\s+(?!because|since|as\b)[a-z])"
_STATED = re.compile(
    r"(?i:\b(?:answer|choice|option)(?:\s+(?:is|would be|should be)|\s*[:=])\s*"
    rf"(?:option\s+|choice\s+)?){_LETTER}{_NO_WORD}"
)
_LEADING = re.compile(
    rf"(?:(?:option|choice)\s+)?[(\[]?([{LETTERS}])\s*(?:[.):\]]|\n|\Z)", re.IGNORECASE
)
_ANOTHER = re.compile(
    rf"\s*(?:and\b|or\b|[,/&])?\s*[(\[]?([{LETTERS}])\s*(?:[.):,\]]|\Z|and\b|or\b)"
)
_WITH_TEXT = re.compile(rf"([{LETTERS}])\s+(?=\S)")
_BRACKETED = re.compile(rf"[(\[]([{LETTERS}])[)\]]")
_LONG_ENOUGH = 12  # characters that make the beginning of an option tell
_REFUSAL = re.compile(
    r"\b(?:i(?:'m| am) (?:sorry|unable|not able|not sure)|i (?:cannot|can't|can not|don't know"
    r"|do not know|won't)|as an ai|sorry, )",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model wrote.

    Attributes:
        text: The answer; thoughts may stand in it between ``<think>`` and ``</think>``.
        limited: Whether it ended since no more tokens were allowed.
        thinking: Whether it ended while the model was still thinking.
        reasoning_tokens: Tokens of thoughts, which are counted and not judged.
        problem: What a service did instead of answering, in words; None if it answered.
    """

    text: str
    limited: bool = False
    thinking: bool = False
    reasoning_tokens: int = 0
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a generated text chooses.

    Attributes:
        chosen: Index of the option; None where none or several are named.
        outcome: How it was found, or why not: ``cut`` is an answer that ended within the model's
            thoughts, ``failed`` one that a service did not give.
    """

    chosen: int | None
    outcome: Outcome


def read(answer: Answer | str, choices: Sequence[str]) -> Parsed:
    """What an answer chooses, whether it came whole or not; see :func:`parse`."""
    if isinstance(answer, str):
        return parse(answer, choices)
    parsed = parse(answer.text, choices)
    if parsed.chosen is not None:
        return parsed
    if answer.thinking:
        return Parsed(None, "cut")
    return Parsed(None, "failed") if answer.problem else parsed


def parse(text: str, choices: Sequence[str]) -> Parsed:
    """Read an answer, by letter first and by the option's text second.

    Thoughts between ``<think>`` and ``</think>`` do not count. A text that names several options
    chooses none; of several statements "the answer is X" the last one counts.
    """
    plain = _plain(text)
    letter = _by_letter(plain, choices)
    if letter is not None:
        return Parsed(letter, "letter")
    option = _by_text(plain, choices)
    if option is not None:
        return Parsed(option, "text")
    if _REFUSAL.search(plain.replace("\u2019", "'")):
        return Parsed(None, "refused")
    return Parsed(None, "cut" if _UNFINISHED.search(text) else "unparsable")


def _plain(text: str) -> str:
    plain, found = _THOUGHT.sub("", text), 1
    while found:  # from the inside out, as in \boxed{\text{B}}
        plain, found = _MARKUP.subn(lambda m: m[1] or "", plain)
    return plain.strip()


def _by_letter(text: str, choices: Sequence[str]) -> int | None:
    stated = [i for i in map(_index, _STATED.findall(text)) if i < len(choices)]
    if stated:
        return stated[-1]
    leading = _LEADING.match(text)
    if leading and _index(leading[1]) < len(choices):
        another = _ANOTHER.match(text, leading.end())
        several = another is not None and another[1] != leading[1].upper()
        return None if several else _index(leading[1])
    head = _WITH_TEXT.match(text)
    if head and _index(head[1]) < len(choices):
        own = _folded(choices[_index(head[1])])
        if _folded(text[head.end() :]).startswith(own):
            return _index(head[1])
    bracketed = {i for i in map(_index, _BRACKETED.findall(text)) if i < len(choices)}
    return bracketed.pop() if len(bracketed) == 1 else None


def _index(letter: str) -> int:
    return LETTERS.index(letter.upper())


def _by_text(text: str, choices: Sequence[str]) -> int | None:
    answer = _folded(text)
    options = [_folded(choice) for choice in choices]
    if answer in options:
        return options.index(answer)
    begun = [i for i, o in enumerate(options) if o.startswith(answer)]
    if len(answer) >= _LONG_ENOUGH and len(begun) == 1:
        return begun[0]  # the answer was cut by its limit of tokens
    named = [i for i, o in enumerate(options) if o and f" {o} " in f" {answer} "]
    # "1 kpc" stands in "1 kpc per second" too: an option within another named one does not count.
    named = [i for i in named if not any(j != i and options[i] in options[j] for j in named)]
    return named[0] if len(named) == 1 else None


def _folded(text: str) -> str:
    return " ".join(re.findall(r"[^\W_]+(?:[.,]\d+)*|[-+%<>=/°²³]", text.casefold()))


def choose(scores: Sequence[float], choices: Sequence[str], *, normalized: bool) -> int:
    """The option with the highest score; the first of equals.

    Args:
        scores: Log-probabilities.
        choices: The options' texts.
        normalized: Divide each score by the option's length in characters, as
            lm-evaluation-harness's ``acc_norm`` does, so that long options are not held back.
    """
    values = compared(scores, choices, normalized=normalized)
    return max(range(len(values)), key=values.__getitem__)


def compared(
    scores: Sequence[float], choices: Sequence[str], *, normalized: bool
) -> Sequence[float]:
    """The scores as they are compared; see :func:`choose`."""
    if not normalized:
        return scores
    return [s / len(c) for s, c in zip(scores, choices, strict=True)]
