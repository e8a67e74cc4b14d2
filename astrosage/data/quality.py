"""Filters for documents that are hardly prose.

Rae et al. 2021, "Scaling Language Models: Methods, Analysis & Insights from Training Gopher",
appendix A.1, and Raffel et al. 2020, "Exploring the Limits of Transfer Learning" (C4), section 2.2.
"""

from __future__ import annotations

import re

from astrosage.spec.clean import C4, Gopher

_STOP_WORDS = frozenset(("the", "be", "to", "of", "and", "that", "have", "with"))
_BULLETS = ("\u2022", "\u2023", "\u25b6", "\u25c0", "\u25e6", "\u25a0", "\u25a1", "\u25aa")
_BULLET_LINE = re.compile(r"[-*+\u2013\u2014][^\S\n]")
_ELLIPSES = ("\u2026", "...")
_ENDINGS = (".", "!", "?", '"', "\u201d", "'", "\u2019")
_SENTENCE_END = re.compile(r"[.!?][\"\u201d'\u2019)]*(?:\s|$)")
_PUNCTUATION = ".,;:!?\"'()[]{}\u201c\u201d\u2018\u2019"


def gopher(text: str, options: Gopher) -> str | None:
    """The first filter that the text fails, None if it passes all."""
    words = text.split()
    count = len(words)
    if count < max(options.min_words, 1):
        return "tooFewWords"
    if options.max_words and count > options.max_words:
        return "tooManyWords"
    mean = sum(map(len, words)) / count
    if not options.min_mean_word <= mean <= options.max_mean_word:
        return "meanWordLength"
    symbols = max(text.count("#"), sum(text.count(e) for e in _ELLIPSES))
    if symbols / count > options.max_symbols:
        return "symbols"
    if reason := _lines(text, options):
        return reason
    alphabetic = sum(any(map(str.isalpha, word)) for word in words)
    if alphabetic / count < options.min_alphabetic_words:
        return "alphabeticWords"
    if options.min_stop_words:
        found = _STOP_WORDS & {word.lower().strip(_PUNCTUATION) for word in words}
        if len(found) < options.min_stop_words:
            return "stopWords"
    return None


def _lines(text: str, options: Gopher) -> str | None:
    lines = [line for raw in text.split("\n") if (line := raw.strip())]
    bullets = sum(line.startswith(_BULLETS) or bool(_BULLET_LINE.match(line)) for line in lines)
    if bullets / len(lines) > options.max_bullet_lines:
        return "bulletLines"
    if sum(line.endswith(_ELLIPSES) for line in lines) / len(lines) > options.max_ellipsis_lines:
        return "ellipsisLines"
    return None


def c4(text: str, options: C4) -> tuple[str, int, str | None]:
    """The text without lines that fail, how many went, and why the rest fails, if it does."""
    lines = text.split("\n")
    kept = [line for line in lines if not line.strip() or _is_prose(line, options)]
    removed = len(lines) - len(kept)
    if removed:
        text = re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip("\n")
    low = text.lower()
    if "lorem ipsum" in low:
        return text, removed, "loremIpsum"
    if options.refuse_braces and "{" in text:
        return text, removed, "braces"
    if len(_SENTENCE_END.findall(text)) < options.min_sentences:
        return text, removed, "tooFewSentences"
    return text, removed, None


def _is_prose(line: str, options: C4) -> bool:
    line = line.strip()
    if options.end_punctuation and (not line.endswith(_ENDINGS) or line.endswith(_ELLIPSES)):
        return False
    return len(line.split()) >= options.min_line_words and "javascript" not in line.lower()
