"""Questions for tests, short enough for the tiny model's 256 positions."""

from __future__ import annotations

from astrosage.bench.question import Question


def questions(count: int = 7) -> list[Question]:
    stems = [
        ("What is the Sun?", ("A star", "A planet", "One of the moons of Jupiter", "A comet")),
        ("What do planets move on?", ("Ellipses", "Circles", "Straight lines")),
        ("Which shines by fusion in its core?", ("A galaxy", "A star")),
        ("What recedes?", ("Distant galaxies", "The Moon", "Mars", "Venus", "Pluto")),
    ]
    return [
        Question(f"q{i}", stem, choices, i % len(choices), topic=f"topic {i % 2}")
        for i in range(count)
        for stem, choices in [stems[i % len(stems)]]
    ]
