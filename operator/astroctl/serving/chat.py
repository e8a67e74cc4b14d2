"""Ask an OpenAI-compatible endpoint and read its answer as it comes (server-sent events)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx

from astroctl.targets.http import is_loopback
from astrosage.errors import ClusterError, SpecError

_FIRST_TOKEN_SECONDS = 300.0


def stream(url: str, key: str | None, request: dict[str, Any]) -> Iterator[str]:
    """The answer's pieces.

    Args:
        url: Base URL that ends in /v1.
        key: Bearer token.
        request: Body of a chat completion; ``stream`` is set here.

    Raises:
        ClusterError: If the endpoint cannot be reached or breaks off.
        SpecError: If it refuses the request.
    """
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    timeout = httpx.Timeout(_FIRST_TOKEN_SECONDS, connect=5.0)
    with httpx.Client(timeout=timeout, trust_env=not is_loopback(url)) as client:
        try:
            with client.stream(
                "POST",
                f"{url.rstrip('/')}/chat/completions",
                json={**request, "stream": True},
                headers=headers,
            ) as answer:
                if answer.status_code >= 400:
                    answer.read()
                    raise _refusal(url, answer)
                yield from _pieces(answer.iter_lines())
        except httpx.HTTPError as error:
            raise ClusterError(
                f"{url} cannot be reached or broke off: {error or type(error).__name__}",
                "`astroctl serve --status` shows what is served",
            ) from None


def _pieces(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        if not line.startswith("data:"):
            continue
        data = line.removeprefix("data:").strip()
        if data == "[DONE]":
            return
        event = json.loads(data)
        if "error" in event:
            raise ClusterError(f"the model broke off: {_message(event)}", "ask again")
        for choice in event.get("choices") or []:
            if text := (choice.get("delta") or {}).get("content"):
                yield text


def _refusal(url: str, answer: httpx.Response) -> ClusterError | SpecError:
    try:
        reason = _message(answer.json())
    except ValueError:
        reason = answer.text[:200] or "no reason given"
    text = f"{url} refuses the request (HTTP {answer.status_code}): {reason}"
    if answer.status_code in (401, 403):
        return SpecError(text, "give the key's file with --key-file")
    if answer.status_code in (429, 503):
        return ClusterError(text, "the model is busy; ask again in a moment")
    return SpecError(text, "change the options that it names")


def _message(body: Any) -> str:
    error = body.get("error") if isinstance(body, dict) else None
    if isinstance(error, dict):
        return str(error.get("message") or error)
    return str(error or body)
