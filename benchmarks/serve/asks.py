"""What is asked of a server, and how an answer is known to be the one that was asked for."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

QUESTIONS = (
    "Why is the sky blue?",
    "What is a black hole?",
    "How far away is the Moon?",
    "Name the planets of the solar system.",
    "What is dark matter?",
    "Tell me about Mars.",
    "Who was Galileo?",
    "What is a comet?",
)


@dataclass(frozen=True)
class Ask:
    """One request.

    Attributes:
        number: Which of the run.
        path: Below the base URL.
        body: Its body.
        marker: Text that only its answer can have; empty if answers are not told apart.
    """

    number: int
    path: str
    body: dict[str, Any] = field(repr=False)
    marker: str = ""


def chat(number: int, model: str, tokens: int) -> Ask:
    """A question whose answer is streamed."""
    body = {
        "model": model,
        "messages": [{"role": "user", "content": QUESTIONS[number % len(QUESTIONS)]}],
        "max_tokens": tokens,
        "temperature": 0,
        "stream": True,
    }
    return Ask(number, "/chat/completions", body)


def marked(number: int, model: str) -> Ask:
    """A prompt that no other request has, echoed with one to four seeded tokens behind it.

    A third are streamed, and a third ask for two choices, so that answers have several parts that
    could go astray.
    """
    digest = hashlib.sha256(str(number).encode()).hexdigest()[:12]
    marker = f"Star {number} has the sign {digest}. It is"
    body = {
        "model": model,
        "prompt": marker,
        "echo": True,
        "max_tokens": 1 + number % 4,
        "temperature": 0.8,
        "seed": number,
        "n": 2 if number % 3 == 1 else 1,
        "stream": number % 3 == 2,
    }
    return Ask(number, "/completions", body, marker)
