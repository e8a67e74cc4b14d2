"""What a model wrote, read with patience: JSON within fences, thoughts and courtesies.

Scientific text is full of LaTeX, whose backslashes many models do not double in JSON: ``\\alpha``
is then no JSON, and ``\\beta`` is a backspace and ``eta``. Both are mended.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

_THOUGHT = re.compile(r"<think>.*?</think>", re.DOTALL)
_FENCE = re.compile(r"```[a-zA-Z]*\s*\n?(.*?)```", re.DOTALL)
_CANDIDATES = 20  # beginnings of objects that are tried
# LaTeX commands that begin like an escape of JSON; none of them is a word after a line break.
_COMMANDS = (
    "backslash|bar|begin|beta|bf|big[gl-r]?|binom|bm|boldsymbol|bullet|flat|forall|frac|nabla|natural"
    "|ne|neq|ngtr|nless|nolimits|not|notin|nu|rangle|rho|right|rightarrow|rm|tan|tanh|tau|text[a-z]*"
    "|theta|thinspace|tilde|times|to|top|triangle"
)
_ESCAPE = re.compile(
    rf"\\\\|\\(?:{_COMMANDS})(?![a-z])|\\u(?![0-9a-fA-F]{{4}})|\\(?![\"\\/bfnrtu])|\\\Z"
)
_LOST = re.compile(rf"(?<!\\)(?:\\\\)*\\(?:{_COMMANDS})(?![a-z])")
Schema = TypeVar("Schema", bound=BaseModel)


class NonsenseError(Exception):
    """A reply that cannot be used; its text says what is wrong, for the one who wrote it."""


class Pair(BaseModel):
    """A question with its answer, as a writer gives it."""

    model_config = ConfigDict(str_strip_whitespace=True)

    question: str = Field(min_length=1)
    answer: str = Field(min_length=1)
    reasoning: str | None = None


class Choice(BaseModel):
    """A multiple-choice question, as a writer gives it."""

    model_config = ConfigDict(str_strip_whitespace=True)

    question: str = Field(min_length=1)
    correct: str = Field(min_length=1)
    wrong: list[str] = Field(min_length=3, max_length=3)
    explanation: str = Field(min_length=1)
    support: str = Field(min_length=1)


class Grades(BaseModel):
    """Grades from 1 to 5, as a grader gives them."""

    model_config = ConfigDict(str_strip_whitespace=True)

    correctness: float = Field(ge=1.0, le=5.0)
    standalone: float = Field(ge=1.0, le=5.0)
    pertinence: float = Field(ge=1.0, le=5.0)
    overall: float = Field(ge=1.0, le=5.0)
    comment: str = ""


def items(text: str, name: str, schema: type[Schema], most: int) -> list[Schema]:
    """The items of a writer's reply: ``{name: [...]}``, or the list alone.

    Args:
        text: What was written.
        name: The list's name.
        schema: What each item is.
        most: How many were asked for; more are left out.

    Raises:
        NonsenseError: If there is no such list, or one of its items is something else.
    """
    problem = "it holds no JSON"
    for value in _values(text):
        if isinstance(value, dict) and isinstance(value.get(name), list):
            value = value[name]
        if not isinstance(value, list) or not value:
            problem = f"the JSON has no list `{name}`"
            continue
        if all(isinstance(item, dict) for item in value):
            return [_checked(item, schema, f"{name}[{i}]") for i, item in enumerate(value[:most])]
        problem = f"`{name}` must be a list of objects"
    raise NonsenseError(problem)


def grades(text: str) -> Grades:
    """A grader's reply.

    Raises:
        NonsenseError: If it holds no grades.
    """
    problem = NonsenseError("it holds no JSON")
    for value in _values(text):
        if isinstance(value, dict):
            try:
                return _checked(value, Grades, "")
            except NonsenseError as error:
                problem = error
    raise problem


def _checked(item: dict[str, Any], schema: type[Schema], where: str) -> Schema:
    try:
        return schema.model_validate(item)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        path = ".".join([where, *map(str, first["loc"])]).strip(".")
        raise NonsenseError(f"{path}: {first['msg']}") from None


def _values(text: str) -> Iterator[Any]:
    """JSON values in a text, the likeliest first."""
    plain = _THOUGHT.sub("", text).rpartition("</think>")[2]  # a lone end: the beginning was sent
    for part in [*_FENCE.findall(plain), plain]:
        for match in list(re.finditer(r"[{\[]", part))[:_CANDIDATES]:
            value = _value(part[match.start() :])
            if value is not None:
                yield value
                break  # what is inside it is no reply of its own


def _value(text: str) -> Any:
    decoder = json.JSONDecoder(strict=False)
    tries = [_doubled(text), text] if _LOST.search(text) else [text, _doubled(text)]
    for one in tries:
        try:
            value = decoder.raw_decode(one)[0]
        except (ValueError, RecursionError):
            continue
        return _clean(value)
    return None


def _doubled(text: str) -> str:
    """The text with those backslashes doubled that JSON would take for something else."""
    return _ESCAPE.sub(lambda m: m[0] if m[0] == "\\\\" else "\\" + m[0], text)


def _clean(value: Any) -> Any:
    """Text that can be stored: halves of characters replaced."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [_clean(v) for v in value]
    if isinstance(value, dict):
        return {str(k): _clean(v) for k, v in value.items()}
    return value
