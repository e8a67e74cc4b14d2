"""What a service answered: read with care, since services answer in many ways that are wrong."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from astrosage.endpoints.usage import Usage

BYTES_PER_TOKEN = 4
"""Tokens that are not told, or not credibly, are estimated: one for so many bytes of UTF-8."""
_HIDDEN = 8192  # tokens that a template, a system prompt or hidden thoughts may add
_OPEN, _CLOSE = "<think>", "</think>"


class GarbledError(Exception):
    """A reply with status 200 that is no answer; its text says what it is."""


@dataclass(frozen=True)
class Reply:
    """One answer of a service, plain enough to be kept.

    Attributes:
        text: What the model wrote; for log-probabilities empty.
        limited: Whether it ended since no more tokens were allowed.
        thinking: Whether it ended within the model's thoughts.
        value: A summed log-probability, where one was asked for.
        prompt: Tokens read.
        completion: Tokens written, thoughts included.
        reasoning: Tokens of thoughts.
        estimated: Whether tokens were estimated.
        model: The model's name in the reply.
        fingerprint: The service's ``system_fingerprint``.
        problem: What came instead of an answer.
    """

    text: str = ""
    limited: bool = False
    thinking: bool = False
    value: float | None = None
    prompt: int = 0
    completion: int = 0
    reasoning: int = 0
    estimated: bool = False
    model: str | None = None
    fingerprint: str | None = None
    problem: str | None = None

    @property
    def usage(self) -> Usage:
        """Its tokens."""
        return Usage(self.prompt, self.completion, self.reasoning, int(self.estimated))

    def to_dict(self) -> dict[str, Any]:
        """Plain data; what is as by default is left out."""
        default = Reply()
        return {k: v for k, v in asdict(self).items() if v != getattr(default, k)}


def chat_reply(data: Any, prompt: str, limit: int) -> Reply:
    """A reply of ``chat/completions``.

    Args:
        data: The reply's JSON.
        prompt: The text that was sent, for estimates.
        limit: Tokens that the answer was allowed.

    Raises:
        GarbledError: If it holds no answer.
    """
    refuse_error(data)
    try:
        choice = data["choices"][0]
        message = choice["message"]
        text = _text(message.get("content"))
    except (KeyError, IndexError, TypeError, AttributeError):
        raise GarbledError("no choices[0].message.content") from None
    thought = _text(message.get("reasoning_content") or message.get("reasoning"))
    inline = text.partition(_OPEN)[2].partition(_CLOSE)[0]
    limited = choice.get("finish_reason") == "length"
    tokens = _tokens(data, prompt, thought + text, limit)
    known = tokens.pop("told")
    share = len(thought) + len(inline)
    reasoning = known if known is not None else _share(tokens["completion"], share, thought + text)
    return Reply(
        text=text.strip(),
        limited=limited,
        thinking=_is_thinking(text, bool(thought), limited),
        reasoning=reasoning,
        model=_name(data, "model"),
        fingerprint=_name(data, "system_fingerprint"),
        **tokens,
    )


def option_reply(data: Any, prompt: str, option: str) -> Reply:
    """A reply of ``completions`` that echoes the prompt's log-probabilities.

    Args:
        data: The reply's JSON.
        prompt: What the option continues.
        option: The text whose tokens are scored.

    Raises:
        GarbledError: If the reply is an error.
        ValueError: If it holds no log-probabilities.
    """
    refuse_error(data)
    text = prompt + option
    try:
        found = data["choices"][0]["logprobs"]
        offsets, values = found["text_offset"], found["token_logprobs"]
        ends = [*offsets[1:], len(text)]
        scored = [
            float(value)
            for value, begin, end in zip(values, offsets, ends, strict=True)
            if begin < len(text) and end > len(prompt)
        ]
    except (KeyError, IndexError, TypeError, ValueError):
        raise ValueError("no log-probabilities") from None
    if not scored or not all(map(math.isfinite, scored)):
        raise ValueError("no log-probabilities")
    tokens = _tokens(data, text, "", 1)
    tokens.pop("told")
    return Reply(
        value=sum(scored),
        model=_name(data, "model"),
        fingerprint=_name(data, "system_fingerprint"),
        **tokens,
    )


def refuse_error(data: Any) -> None:
    """Stop at a reply that is an error in the clothes of an answer.

    Raises:
        GarbledError: With the service's own words.
    """
    if not isinstance(data, dict):
        raise GarbledError(f"a JSON {type(data).__name__}, not an object")
    error = data.get("error")
    if error and not data.get("choices"):
        message = error.get("message", error) if isinstance(error, dict) else error
        raise GarbledError(f"an error: {str(message)[:300]}")


def _text(content: Any) -> str:
    """A message's content: text, or a list of text parts."""
    if content is None:
        return ""
    if isinstance(content, list):
        parts = (p.get("text") for p in content if isinstance(p, dict))
        content = "".join(p for p in parts if isinstance(p, str))
    if not isinstance(content, str):
        raise TypeError
    return content.encode("utf-8", "replace").decode()  # half of a character cannot be kept


def _is_thinking(text: str, has_thought: bool, limited: bool) -> bool:
    if _OPEN in text:
        return _CLOSE not in text.rpartition(_OPEN)[2]
    return limited and has_thought and not text.strip()


def _name(data: dict[str, Any], key: str) -> str | None:
    value = data.get(key)
    return value if isinstance(value, str) and value else None


def _tokens(data: dict[str, Any], prompt: str, written: str, limit: int) -> dict[str, Any]:
    """Tokens as the service tells them, or an estimate where that cannot be.

    A token is at least a byte, but for what templates, system prompts and hidden thoughts add; more
    than that is a slip of the service's.
    """
    usage = data.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    read = _count(usage.get("prompt_tokens"), 1, len(prompt.encode()) + _HIDDEN)
    wrote = _count(usage.get("completion_tokens"), 0, limit + len(written.encode()) + _HIDDEN)
    details = usage.get("completion_tokens_details")
    details = details if isinstance(details, dict) else {}
    prompt_tokens = estimate(prompt) if read is None else read
    completion = estimate(written) if wrote is None else wrote
    return {
        "prompt": prompt_tokens,
        "completion": completion,
        "estimated": read is None or wrote is None,
        "told": _count(details.get("reasoning_tokens"), 0, completion),
    }


def _count(value: Any, least: int, most: int) -> int | None:
    """A count that can be; None for what is missing, negative or absurd."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not math.isfinite(value) or value != int(value) or not least <= value <= most:
        return None
    return int(value)


def _share(completion: int, thoughts: int, whole: str) -> int:
    """Tokens of thoughts, by their share of the characters."""
    return round(completion * thoughts / len(whole)) if thoughts and whole else 0


def estimate(text: str) -> int:
    """About how many tokens a text has."""
    return -(-len(text.encode()) // BYTES_PER_TOKEN)
