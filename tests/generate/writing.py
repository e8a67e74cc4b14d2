"""A service of two models by rules: one writes items from sentences, the other grades them."""

from __future__ import annotations

import json
import re
from typing import Any

from tests.endpoints.fake_service import Answer, chat

OBJECTS = ("cepheids", "quasars", "pulsars", "comets", "novae", "magnetars", "nebulae", "blazars")


def sentence(i: int) -> str:
    """A fact with an object, a verb and a number of its own."""
    verb = ("brighten", "fade", "spin down", "lose mass", "expand", "cool")[i % 6]
    return (
        f"The {OBJECTS[i % 8]} of sample {i} {verb} over {10 + i} days since their outer layers "
        f"trap radiation at {3000 + 7 * i} kelvin until pressure drives them apart again."
    )


def article(first: int, paragraphs: int = 4, sentences: int = 3) -> str:
    """A text whose sentences are its own."""
    parts = [
        " ".join(sentence(first + p * sentences + s) for s in range(sentences))
        for p in range(paragraphs)
    ]
    return "\n\n".join(parts)


def passage(body: dict[str, Any]) -> str:
    """The passage or article that a request holds."""
    text = body["messages"][0]["content"]
    found = re.search(r"\n(?:Passage|Article):\n\n(.*?)(?:\n\nItem:|\Z)", text, re.DOTALL)
    assert found, text
    return found[1]


def asked_for(body: dict[str, Any]) -> int:
    """How many items a request is for."""
    return int(re.search(r"with (\d+) in the list", body["messages"][0]["content"])[1])  # type: ignore[index]


def pairs(body: dict[str, Any]) -> list[dict[str, str]]:
    """Pairs of a passage: one a sentence."""
    found = []
    for text in re.split(r"(?<=\.)\s+", passage(body))[: asked_for(body)]:
        who = text.split(" over ")[0].removeprefix("The ")
        pair = {"question": f"Why do the {who} after days of quiet?", "answer": text}
        if "`reasoning`" in body["messages"][0]["content"]:
            pair["reasoning"] = f"I am asked about {who}. Pressure and opacity matter."
        found.append(pair)
    return found


def questions(body: dict[str, Any]) -> list[dict[str, Any]]:
    """Questions of an article: the number of days that something takes."""
    found = []
    for text in re.split(r"(?<=\.)\s+", passage(body))[: asked_for(body)]:
        number = int(re.search(r"over (\d+) days", text)[1])  # type: ignore[index]
        who = text.split(" over ")[0].removeprefix("The ").capitalize()
        kelvin = re.search(r"at (\d+) kelvin", text)[1]  # type: ignore[index]
        found.append(
            {
                "question": f"{who}: how many days does that take at {kelvin} kelvin?",
                "correct": f"About {number} days",
                "wrong": [f"About {number + step} days" for step in (20, 40, 60)],
                "explanation": f"Photometry gives {number} days.",
                "support": text,
            }
        )
    return found


def graded(value: int = 5, **more: int) -> str:
    """A grader's reply."""
    names = ("correctness", "standalone", "pertinence", "overall")
    return json.dumps({**dict.fromkeys(names, value), **more, "comment": "as it is"})


def answer(body: dict[str, Any]) -> Answer:
    """What a good service says: a writer's items, or a grader's grades."""
    if body["model"] == "grader":
        return chat(graded(), model="grader-1")
    if "`support`" in body["messages"][0]["content"]:
        return chat(json.dumps({"questions": questions(body)}), model="writer-1")
    return chat(json.dumps({"pairs": pairs(body)}), model="writer-1")


if __name__ == "__main__":
    import sys
    import threading

    from tests.endpoints.fake_service import Service

    running = Service()
    running.answer, running.delay = answer, float(sys.argv[1])
    print(running.url, flush=True)
    threading.Event().wait()
