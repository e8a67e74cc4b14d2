"""What is wrong with a question, as far as a program can tell."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from astrosage.generate.passages import paragraphs

_WORD = re.compile(r"\w+")
# Options shorter than this count as so long: "5 km" and "12,000 km" are no giveaway.
_SHORT = 12
# How much longer, or shorter, than all the others the right option may be.
_STANDS_OUT = 1.35
_LEAST_SUPPORT = 5
_SOURCE = re.compile(
    r"""
      \b(?:the|this|that|our)\s+(?:\w+\s+)?
        (?:article|paper(?!-)|excerpt|manuscript|preprint|passage(?!s?\s+(?:of|through)\b))s?\b
    | \b(?:the|this|that)\s+(?:(?:given|above|provided|following|present)\s+)?
        (?:text|document|chapter|abstract(?!\s+[a-z])|publication)\b
    | \b(?:the|these|its|our)\s+authors?\b
    | \b(?:this|the\s+present|our)\s+(?:study|work|review|section|figure|table|equation|analysis)\b
    | \bthe\s+study\b(?!\s+of\b)
    | \b(?:fig(?:ure)?s?|tables?|sections?|sect?|equations?|eqs?)\b\.?\s*~?\(?\d
    | \b(?:figure|table|text|passage|equation|paragraph)s?\s+(?:above|below)\b
    | \b(?:mentioned|described|discussed|stated|shown|presented|reported|given|defined)\s+
        (?:above|below|earlier|here\b|in\s+the\s+(?:text|figure|table|review|introduction))
    | \b(?:according\s+to|based\s+on|in)\s+(?:the|this)\s+
        (?:text|provided\s+\w+|information|figure|table|review)\b
    """,
    re.IGNORECASE | re.VERBOSE,
)
_ALL_OR_NONE = re.compile(
    r"\b(?:all|none|both|neither|any)\s+(?:of\s+)?(?:the\s+)?(?:above|these|those|others)\b"
    r"|\b(?:both|neither)\s+[A-D]\s+(?:and|n?or)\s+[A-D]\b",
    re.IGNORECASE,
)


def words(text: str) -> list[str]:
    """A text's words, compatibility forms and case folded, punctuation gone."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def mention(*texts: str) -> str | None:
    """The words by which one of the texts points to where it comes from, if it does."""
    for text in texts:
        if found := _SOURCE.search(text):
            return " ".join(found[0].split())
    return None


def is_in(needle: Sequence[str], hay: Sequence[str]) -> bool:
    """Whether words stand in others in a row."""
    size = len(needle)
    return size > 0 and any(
        list(hay[i : i + size]) == list(needle) for i in range(len(hay) - size + 1)
    )


def fault_of_options(correct: str, wrong: Sequence[str]) -> str | None:
    """What is wrong with a question's options in themselves, if anything."""
    options = [correct, *wrong]
    if len(options) != 4:
        return f"{len(options)} options, not four"
    if len({" ".join(o.split()).casefold() for o in options}) < len(options):
        return "two options are equal"
    for option in options:
        if _ALL_OR_NONE.search(option):
            return f"an option is about the others: {option}"
    return None


def fault_of_lengths(correct: str, wrong: Sequence[str], ratio: float) -> str | None:
    """Whether the options' lengths, in characters, differ too much or tell the right one.

    Args:
        correct: The right option.
        wrong: The others.
        ratio: The longest may be so many times as long as the shortest.
    """
    mine, others = _length(correct), sorted(map(_length, wrong))
    longest, shortest = max(mine, others[-1]), min(mine, others[0])
    if longest > ratio * shortest:
        return f"the longest option is {longest / shortest:.1f} times as long as the shortest"
    if mine > _STANDS_OUT * others[-1] or mine * _STANDS_OUT < others[0]:
        return "the right option stands out by its length"
    return None


def _length(option: str) -> int:
    return max(len(option.strip()), _SHORT)


def gives_away(stem: str, correct: str, wrong: Sequence[str]) -> bool:
    """Whether the question holds its right option, and none of the others."""
    asked = words(stem)
    return is_in(words(correct), asked) and not any(is_in(words(w), asked) for w in wrong)


def supporting(support: str, text: str) -> str | None:
    """The text's own paragraph that a copied part stands in.

    Args:
        support: What was copied; white space, case, punctuation and forms of letters may differ.
        text: What it is said to be from.

    Returns:
        The paragraph, or several if the part spans them; None where it does not stand there.
    """
    wanted = words(support)
    if len(wanted) < _LEAST_SUPPORT:
        return None
    parts = paragraphs(text)
    folded = [words(part) for part in parts]
    for part, found in zip(parts, folded, strict=True):
        if is_in(wanted, found):
            return part
    return _spanning(wanted, parts, folded)


def _spanning(
    wanted: Sequence[str], parts: Sequence[str], folded: Sequence[Sequence[str]]
) -> str | None:
    """The paragraphs that a part runs over, from the one it begins in."""
    for first in range(len(parts)):
        held: list[str] = []
        for last in range(first, len(parts)):
            held += folded[last]
            if is_in(wanted, held):
                return "\n\n".join(parts[first : last + 1])
            if len(held) - len(folded[first]) > len(wanted):
                break
    return None
