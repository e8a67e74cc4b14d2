"""That a set of questions tells no key by length or by position."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence

LETTERS = "ABCD"
_CHANCE = 1 / len(LETTERS)
# One-sided: more than this is no chance any more.
_LEVEL = 0.05
_NORMAL = 1.645
_EXACT = 100  # questions up to which the binomial tail is summed


def surplus(questions: Sequence[tuple[str, Sequence[str]]]) -> set[int]:
    """Questions to leave out, so that the key is the longest, or the shortest, of the four options
    no more often than chance allows (one-sided 5 %); those that stand out most go first.

    Args:
        questions: The right option and the wrong ones of each.
    """
    out: set[int] = set()
    for sign in (1, -1):
        telling = sorted(
            ((_lead(q, sign), i) for i, q in enumerate(questions) if i not in out),
            key=lambda found: (-found[0], found[1]),
        )
        leading = [i for lead, i in telling if lead > 0]
        total = len(telling)
        while leading and is_bias(len(leading), total):
            out.add(leading.pop(0))
            total -= 1
    return out


def leads(questions: Sequence[tuple[str, Sequence[str]]]) -> tuple[int, int]:
    """How many keys are longer, and how many shorter, than all other options."""
    longest, shortest = (sum(_lead(q, sign) > 0 for q in questions) for sign in (1, -1))
    return longest, shortest


def is_bias(count: int, total: int) -> bool:
    """Whether so many of so many are more than chance allows."""
    if total > _EXACT:
        spread = math.sqrt(total * _CHANCE * (1 - _CHANCE))
        return count - 0.5 - total * _CHANCE > _NORMAL * spread
    tail = math.fsum(
        math.comb(total, k) * _CHANCE**k * (1 - _CHANCE) ** (total - k)
        for k in range(count, total + 1)
    )
    return tail < _LEVEL


def _lead(question: tuple[str, Sequence[str]], sign: int) -> float:
    """By how much the key is the longest (or, for -1, the shortest); 0 or less if it is not."""
    correct, wrong = question
    lengths = [len(option) for option in wrong]
    if sign > 0:
        return len(correct) / max(lengths) - 1
    return min(lengths) / max(1, len(correct)) - 1


def letters(seed: int) -> Iterator[str]:
    """Keys, one after another: every four hold each letter once, in an order by seed."""
    block = 0
    while True:
        order = list(LETTERS)
        random.Random(f"{seed} keys {block}").shuffle(order)
        yield from order
        block += 1


def arranged(correct: str, wrong: Sequence[str], key: str, name: str, seed: int) -> list[str]:
    """The four options with the right one at its letter, the others in an order by seed."""
    options = list(wrong)
    random.Random(f"{seed} options {name}").shuffle(options)
    options.insert(LETTERS.index(key), correct)
    return options
