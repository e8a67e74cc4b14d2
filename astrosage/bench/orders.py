"""Other orders of a question's options, to see whether a model chooses an option or a letter."""

from __future__ import annotations

import random
from dataclasses import replace

from astrosage.bench.question import Question


def order(name: str, options: int, which: int, seed: int) -> tuple[int, ...]:
    """Which option stands at each place.

    As many orders as there are options form a round: each is the one before turned on by one place,
    so that within a round each option stands at each place once, and an even share of right
    answers falls on each letter. The first round starts from the file's own order, later ones from
    orders that are drawn from the seed.

    Args:
        name: The question's id.
        options: How many options it has.
        which: Number of the order; 0 is the file's own.
        seed: Seeds the later rounds.
    """
    around, turn = divmod(which, options)
    start = list(range(options))
    if around:
        # Seeded by text, which Python hashes the same way in every process.
        random.Random(f"{seed} {around} {name}").shuffle(start)
    return tuple(start[(place + turn) % options] for place in range(options))


def ordered(question: Question, which: int, seed: int) -> Question:
    """The question with its options in another order, its key moved along."""
    if which == 0:
        return question
    places = order(question.id, len(question.choices), which, seed)
    key = None if question.answer is None else places.index(question.answer)
    return replace(question, choices=tuple(question.choices[i] for i in places), answer=key)


def original(question: Question, chosen: int | None, which: int, seed: int) -> int | None:
    """The option that was chosen, by its place in the file's own order.

    Args:
        question: In the file's own order.
        chosen: Place that was chosen in order number ``which``.
        which: Number of the order.
        seed: As for :func:`ordered`.
    """
    if chosen is None:
        return None
    return order(question.id, len(question.choices), which, seed)[chosen]
