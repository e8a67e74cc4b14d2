"""The state of one server: its model, its keys, its limits and what is in flight."""

from __future__ import annotations

import secrets
import time
import uuid
from collections.abc import Sequence

from astrosage.serve.auth import KeyRing
from astrosage.serve.engine import Engine, EngineError, GenerationRequest
from astrosage.serve.errors import ApiError
from astrosage.serve.limits import Admission, Limits
from astrosage.serve.openai_types import GenerateBody


class Service:
    """What the handlers share.

    Args:
        model_id: The name clients call the model by.
        limits: Limits on requests and on work in flight.
        keys: Who may use it; None lets everybody in.
    """

    def __init__(self, model_id: str, limits: Limits, keys: KeyRing | None) -> None:
        self.model_id = model_id
        self.limits = limits
        self.keys = keys
        self.admission = Admission(limits)
        self.created = int(time.time())
        self.engine: Engine | None = None

    def ready(self) -> Engine:
        """The engine.

        Raises:
            ApiError: 503 while it loads or after it has failed.
        """
        if self.engine is None:
            raise ApiError(503, "the model is still loading", code="loading")
        try:
            self.engine.check()
        except EngineError as error:
            raise ApiError(503, error.message, code="engine_failed") from error
        return self.engine

    def engine_for(self, model: str) -> Engine:
        """The engine that serves a model.

        Raises:
            ApiError: 404 for another model, 503 while it loads.
        """
        engine = self.ready()
        if model != self.model_id:
            raise ApiError(
                404,
                f"model: `{model}` is not served here; there is `{self.model_id}`",
                param="model",
                code="model_not_found",
            )
        return engine


def sequences(
    body: GenerateBody, prompt_ids: Sequence[int], max_tokens: int, top_logprobs: int | None
) -> list[GenerationRequest]:
    """The ``n`` sequences of one prompt; choice ``i`` draws with ``seed + i``."""
    seed = secrets.randbits(63) if body.seed is None else body.seed
    return [
        GenerationRequest(
            prompt_ids=prompt_ids,
            max_tokens=max_tokens,
            temperature=1.0 if body.temperature is None else body.temperature,
            top_p=1.0 if body.top_p is None else body.top_p,
            seed=(seed + i) % 2**64,
            stop=tuple(body.stop),
            top_logprobs=top_logprobs,
        )
        for i in range(body.n or 1)
    ]


def new_id(prefix: str) -> str:
    """A fresh identifier of an answer."""
    return f"{prefix}-{uuid.uuid4().hex}"


def usage(prompt_tokens: int, completion_tokens: int) -> dict[str, int]:
    """The usage object of an answer."""
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }
