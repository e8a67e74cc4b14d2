"""Requests of OpenAI's API, as far as this server honours them.

Types are strict, unknown fields are refused with the nearest name, and a field that would be
ignored though it changes the answer is refused unless it holds its neutral value.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from astrosage.spec.base import did_you_mean
from astrosage.spec.chat import reasoning_switch, with_system_prompt

_MOST_STOPS = 16
_INT64 = 2**63

# Fields that would change the answer if they were honoured, with the values that change nothing.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "best_of": (None, 1),
    "frequency_penalty": (None, 0),
    "function_call": (None, "none"),
    "functions": (None, []),
    "logit_bias": (None, {}),
    "modalities": (None, ["text"]),
    "presence_penalty": (None, 0),
    "response_format": (None, {"type": "text"}),
    "suffix": (None, ""),
    "tool_choice": (None, "none", "auto"),
    "tools": (None, []),
}
_UNSUPPORTED = "is not supported by this server"
_REASONS = {
    "response_format": 'only {"type": "text"} is supported: this server cannot hold a model to '
    "JSON or to a schema; ask for JSON in the prompt and check the answer",
}
# Fields for the provider's bookkeeping, which change nothing in the answer.
_BOOKKEEPING = frozenset(
    ("metadata", "prompt_cache_key", "safety_identifier", "service_tier", "store", "user")
)


# What the two validators below accept, for the server's description.
_TEXT_SCHEMA: dict[str, Any] = {"type": "string", "minLength": 1}
_STOP_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": "null"},
        _TEXT_SCHEMA,
        {"type": "array", "items": _TEXT_SCHEMA, "maxItems": _MOST_STOPS},
    ]
}
_IDS_SCHEMA: dict[str, Any] = {
    "type": "array",
    "items": {"type": "integer", "minimum": 0},
    "minItems": 1,
}
_PROMPT_SCHEMA: dict[str, Any] = {
    "anyOf": [
        _TEXT_SCHEMA,
        {"type": "array", "items": _TEXT_SCHEMA, "minItems": 1},
        _IDS_SCHEMA,
        {"type": "array", "items": _IDS_SCHEMA, "minItems": 1},
    ]
}
_CONTENT_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": "null"},
        {"type": "string"},
        {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"type": {"const": "text"}, "text": {"type": "string"}},
                "required": ["type", "text"],
            },
        },
    ]
}


def _stops(value: Any) -> list[str]:
    texts = [] if value is None else [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(t, str) and t for t in texts):
        raise ValueError("must be a text or a list of texts, none of them empty")
    if len(texts) > _MOST_STOPS:
        raise ValueError(f"has {len(texts)} texts; at most {_MOST_STOPS}")
    return texts


def _prompts(value: Any) -> list[str] | list[list[int]]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and value:
        if all(isinstance(item, str) for item in value):
            return value
        if _are_ids(value):
            return [value]
        if all(isinstance(item, list) and _are_ids(item) for item in value):
            return value
    raise ValueError("must be a text, a list of token ids, or a non-empty list of either")


def _are_ids(value: list[Any]) -> bool:
    return bool(value) and all(type(item) is int and item >= 0 for item in value)


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)


class StreamOptions(_Strict):
    """Options of a streamed answer."""

    include_usage: bool | None = None


class GenerateBody(_Strict):
    """What chat and plain completions have in common."""

    model: str
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    n: Annotated[int, Field(ge=1)] | None = None
    stop: Annotated[list[str], BeforeValidator(_stops), WithJsonSchema(_STOP_SCHEMA)] = []
    seed: Annotated[int, Field(ge=-_INT64, lt=_INT64)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    @model_validator(mode="before")
    @classmethod
    def _refuse_what_is_not_honoured(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        kept = {}
        for key, value in data.items():
            if key in cls.model_fields:
                kept[key] = value
            elif key in _NEUTRAL:
                if not _is_neutral(key, value):
                    raise _problem("unsupported", key, _REASONS.get(key, _UNSUPPORTED))
            elif key not in _BOOKKEEPING:
                hint = did_you_mean(key, cls.model_fields)
                raise _problem("unknown_field", key, f"unknown field; {hint}")
        return kept

    @property
    def wants_usage(self) -> bool:
        """Whether a stream ends with a usage chunk."""
        return bool(self.stream_options and self.stream_options.include_usage)


class ChatMessage(_Strict):
    """One message; fields that clients echo from answers are ignored."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[str, WithJsonSchema(_CONTENT_SCHEMA)] = ""

    @field_validator("content", mode="before")
    @classmethod
    def _join_parts(cls, value: Any) -> Any:
        if value is None:
            return ""
        if not isinstance(value, list):
            return value
        texts = []
        for i, part in enumerate(value):
            text = part.get("text") if isinstance(part, dict) else None
            if not isinstance(text, str) or part.get("type") != "text":
                raise ValueError(f"part {i} is not a text part; only text is supported")
            texts.append(text)
        return "".join(texts)


class ChatBody(GenerateBody):
    """Body of ``POST /v1/chat/completions``."""

    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    reasoning: Literal["on", "off"] | None = None

    @model_validator(mode="after")
    def _check_logprobs(self) -> Self:
        if self.top_logprobs is not None and not self.logprobs:
            raise _problem("value_error", "top_logprobs", "needs `logprobs: true`")
        return self

    def conversation(self) -> list[dict[str, str]]:
        """The messages as a chat template takes them.

        ``reasoning`` becomes the system message ``Reasoning: on|off`` that models are trained
        with, before the request's own system message if it has one.
        """
        messages = [
            {"role": "system" if m.role == "developer" else m.role, "content": m.content}
            for m in self.messages
        ]
        if self.reasoning:
            return with_system_prompt(messages, reasoning_switch(self.reasoning))
        return messages


class CompletionBody(GenerateBody):
    """Body of ``POST /v1/completions``."""

    prompt: Annotated[
        list[str] | list[list[int]], BeforeValidator(_prompts), WithJsonSchema(_PROMPT_SCHEMA)
    ]
    max_tokens: Annotated[int, Field(ge=0)] | None = None
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    echo: bool | None = None

    @model_validator(mode="after")
    def _check_length(self) -> Self:
        if self.max_tokens == 0 and not self.echo:
            raise _problem("value_error", "max_tokens", "0 makes sense only with `echo: true`")
        return self


def _problem(kind: Any, field: str, message: str) -> PydanticCustomError:
    # The text is a template to pydantic; braces in a client's field name must not be one.
    return PydanticCustomError(kind, "{message}", {"field": field, "message": message})


def _is_neutral(key: str, value: Any) -> bool:
    """Whether it changes nothing; unlike ``in``, without taking false for 0 or 1 for true."""
    return any(
        value == neutral and isinstance(value, bool) == isinstance(neutral, bool)
        for neutral in _NEUTRAL[key]
    )


def request_schema(body: type[GenerateBody], prefix: str) -> dict[str, Any]:
    """The JSON Schema of a request's body, with the fields that are only accepted as neutral.

    Args:
        body: Which.
        prefix: Of references to other schemas.
    """
    schema = body.model_json_schema(ref_template=prefix + "{model}")
    properties: dict[str, Any] = schema["properties"]
    properties |= {key: {"enum": list(values)} for key, values in _NEUTRAL.items()}
    properties |= {key: {} for key in _BOOKKEEPING}
    schema["additionalProperties"] = False
    if body is ChatBody:
        schema |= _only_if("top_logprobs", {"type": "integer"}, "logprobs")
    else:
        schema |= _only_if("max_tokens", {"const": 0}, "echo")
    return schema


def _only_if(field: str, value: dict[str, Any], needs: str) -> dict[str, Any]:
    """A field that may have such a value only beside another one that is true."""
    return {
        "if": {"properties": {field: value}, "required": [field]},
        "then": {"properties": {needs: {"const": True}}, "required": [needs]},
    }
