"""The server's description in OpenAPI 3.1, made from the models that requests are checked with."""

from __future__ import annotations

from typing import Any

from astrosage import __version__
from astrosage.serve.limits import Limits
from astrosage.serve.openai_types import ChatBody, CompletionBody, GenerateBody, request_schema

Schema = dict[str, Any]

_REF = "#/components/schemas/"
_TEXT: Schema = {"type": "string"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_NUMBER: Schema = {"type": "number"}
_FINISH: Schema = {"enum": ["stop", "length"]}
_STATUSES = {
    "400": "A field is wrong; `param` names it.",
    "401": "There is no known key.",
    "404": "There is no such model or path.",
    "413": "The body is too large.",
    "429": "The queue is full, or the key has used its requests or tokens; see `Retry-After`.",
    "503": "The model is loading, has failed, or gave no turn in time; see `Retry-After`.",
    "504": "The answer was not whole in time.",
}


def describe(limits: Limits) -> Schema:
    """The description.

    Args:
        limits: The server's, which are part of what a request may hold.
    """
    schemas = {**_answers(), **_bodies(limits)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "astrosage",
            "version": __version__,
            "description": "A model behind OpenAI's API, as far as it is described here.",
        },
        "security": [{"key": []}],
        "paths": {
            "/v1/models": {"get": _get("The models", "Models", "401", "503")},
            "/v1/models/{name}": {
                "get": {
                    **_get("One model", "Model", "401", "404", "503"),
                    "parameters": [
                        {"name": "name", "in": "path", "required": True, "schema": _TEXT}
                    ],
                }
            },
            "/v1/chat/completions": {
                "post": _post("Answer a conversation", "ChatBody", "ChatAnswer")
            },
            "/v1/completions": {
                "post": _post("Go on with texts, or score them", "CompletionBody", "Completion")
            },
            "/healthz": {"get": {**_get("Whether it can answer", "Health"), "security": []}},
        },
        "components": {
            "schemas": schemas,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _get(summary: str, answer: str, *failures: str) -> Schema:
    responses = {"200": _json(answer), **{status: _failure(status) for status in failures}}
    if answer == "Health":
        responses["503"] = {**_json("Health"), "description": "It cannot answer."}
    return {"summary": summary, "responses": responses}


def _post(summary: str, body: str, answer: str) -> Schema:
    whole = _json(answer)
    whole["description"] = "The answer; with `stream`, events that end with `data: [DONE]`."
    whole["content"]["text/event-stream"] = {"schema": _TEXT}
    return {
        "summary": summary,
        "requestBody": {"required": True, "content": _json(body)["content"]},
        "responses": {"200": whole, **{status: _failure(status) for status in _STATUSES}},
    }


def _failure(status: str) -> Schema:
    return {**_json("Error"), "description": _STATUSES[status]}


def _json(schema: str) -> Schema:
    return {
        "description": "The answer.",
        "content": {"application/json": {"schema": {"$ref": _REF + schema}}},
    }


def _bodies(limits: Limits) -> dict[str, Schema]:
    found: dict[str, Schema] = {}
    body: type[GenerateBody]
    for body in (ChatBody, CompletionBody):
        schema = request_schema(body, _REF)
        found |= schema.pop("$defs", {})
        for name, most in (
            ("max_tokens", limits.max_tokens),
            ("max_completion_tokens", limits.max_tokens),
            ("n", limits.max_concurrent + limits.max_queue),
        ):
            for option in schema["properties"].get(name, {}).get("anyOf", []):
                if option.get("type") == "integer":
                    option["maximum"] = most
        found[body.__name__] = schema
    return found


def _answers() -> dict[str, Schema]:
    entry = _object(token=_TEXT, logprob=_NUMBER, bytes=_list(_COUNT))
    chat_scores = _object(
        content=_list(
            {**entry, "properties": {**entry["properties"], "top_logprobs": _list(entry)}}
        ),
        refusal={"type": "null"},
    )
    text_scores = _object(
        tokens=_list(_TEXT),
        token_logprobs=_list(_or_null(_NUMBER)),
        top_logprobs=_list(_or_null({"type": "object", "additionalProperties": _NUMBER})),
        text_offset=_list(_COUNT),
    )
    usage = _object(prompt_tokens=_COUNT, completion_tokens=_COUNT, total_tokens=_COUNT)
    head = {"id": _TEXT, "created": _COUNT, "model": _TEXT, "usage": usage}
    message = _object(role={"const": "assistant"}, content=_TEXT)
    message["properties"]["reasoning_content"] = _TEXT
    return {
        "Error": _object(
            error=_object(
                message={"type": "string", "minLength": 1},
                type=_TEXT,
                param=_or_null(_TEXT),
                code=_or_null(_TEXT),
            )
        ),
        "Health": _object({"inFlight": _COUNT}, status=_TEXT),
        "Model": _object(
            {"card": {"type": "object"}},
            id=_TEXT,
            object={"const": "model"},
            created=_COUNT,
            owned_by=_TEXT,
            max_model_len=_COUNT,
        ),
        "Models": _object(object={"const": "list"}, data=_list({"$ref": f"{_REF}Model"})),
        "ChatAnswer": _object(
            **head,
            object={"const": "chat.completion"},
            choices=_list(
                _object(
                    index=_COUNT,
                    message=message,
                    logprobs=_or_null(chat_scores),
                    finish_reason=_FINISH,
                )
            ),
        ),
        "Completion": _object(
            **head,
            object={"const": "text_completion"},
            choices=_list(
                _object(
                    index=_COUNT, text=_TEXT, logprobs=_or_null(text_scores), finish_reason=_FINISH
                )
            ),
        ),
    }


def _object(optional: dict[str, Schema] | None = None, /, **properties: Schema) -> Schema:
    return {
        "type": "object",
        "properties": {**properties, **(optional or {})},
        "required": list(properties),
        "additionalProperties": False,
    }


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}
