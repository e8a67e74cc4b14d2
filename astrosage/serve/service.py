"""The state of one server: its model, its keys, its limits and what is in flight."""

from __future__ import annotations

import secrets
import time
import uuid
from collections.abc import Sequence

from astrosage.serve.auth import ANONYMOUS, Key, KeyRing
from astrosage.serve.card import Card
from astrosage.serve.engine import Engine, EngineError, GenerationRequest
from astrosage.serve.errors import ApiError
from astrosage.serve.keys import Rates
from astrosage.serve.limits import Admission, Limits
from astrosage.serve.observe import Watch
from astrosage.serve.openai_types import GenerateBody
from astrosage.serve.rates import Limiter


class Service:
    """What the handlers share.

    Args:
        model_id: The name clients call the model by.
        limits: Limits on requests and on work in flight.
        keys: Who may use it; None lets everybody in.
        rates: What a key may use that has no limits of its own.
        watch: Where metrics and the access log go.
        card: What the page tells of the model.
    """

    def __init__(
        self,
        model_id: str,
        limits: Limits,
        keys: KeyRing | None,
        *,
        rates: Rates | None = None,
        watch: Watch | None = None,
        card: Card | None = None,
    ) -> None:
        self.model_id = model_id
        self.limits = limits
        self.keys = keys
        self.limiter = Limiter(rates or Rates())
        self.watch = watch or Watch()
        self.card = card or Card()
        self.admission = Admission(limits)
        self.created = int(time.time())
        self.engine: Engine | None = None

    def key_of(self, authorization: str | None) -> Key:
        """The key of a request.

        Raises:
            ApiError: 401 without a known one, if keys are wanted.
        """
        return ANONYMOUS if self.keys is None else self.keys.require(authorization)

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

    def tell_state(self) -> None:
        """Bring the metrics that are states up to date."""
        use = None if self.engine is None else self.engine.cache_use()
        self.watch.state(self.admission.in_flight, use)

    def close(self) -> None:
        """Free the model and write what is left; may be called twice."""
        if self.engine is not None:
            self.engine.close()
        self.watch.close()


def sequences(
    body: GenerateBody,
    prompt_ids: Sequence[int],
    max_tokens: int,
    top_logprobs: int | None,
    queue_timeout: float | None = None,
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
            queue_timeout=queue_timeout,
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
