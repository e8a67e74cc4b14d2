"""What a serving engine is: token events for a prompt, and scores for a prompt's own tokens."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from astrosage.errors import AstroError
from astrosage.serve.tokens import Tokens

FinishReason = Literal["stop", "length"]


class EngineError(AstroError):
    """The engine has died or dropped a request; a restart mends it."""

    retryable = True


class QueueTimeout(EngineError):
    """A sequence did not get its turn in time."""


@dataclass(frozen=True)
class GenerationRequest:
    """One sequence to generate.

    Attributes:
        prompt_ids: Token ids of the prompt, at least one.
        max_tokens: Most tokens to generate, at least one.
        temperature: 0 means greedy.
        top_p: Mass of the nucleus that is sampled from.
        seed: Same seed, prompt and parameters give the same draws.
        stop: Texts that end the answer; they are not part of it.
        top_logprobs: How many alternatives to report a token; None reports no log-probabilities.
        queue_timeout: Most seconds to wait for its turn; None waits as long as it takes.
    """

    prompt_ids: Sequence[int]
    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int = 0
    stop: tuple[str, ...] = ()
    top_logprobs: int | None = None
    queue_timeout: float | None = None


@dataclass(frozen=True)
class TokenScore:
    """A token with its log-probability under the model itself (temperature 1, no nucleus).

    Attributes:
        token_id: The token.
        logprob: Natural logarithm; None for a prompt's first token, which nothing predicts.
        top: The likeliest tokens at this place with their log-probabilities, best first.
        text_offset: Where the token's text starts, in characters of the text around it.
    """

    token_id: int
    logprob: float | None
    top: tuple[tuple[int, float], ...] = ()
    text_offset: int = 0


@dataclass(frozen=True)
class TokenEvent:
    """What one generated token adds to the answer.

    Attributes:
        text: New text, often empty: half characters and possible stop texts are held back.
        tokens: Tokens generated so far, end token included.
        scores: Scores of the tokens whose text is now out; empty unless asked for.
        finish_reason: Set on the last event.
        queued: On the first event, the seconds that the sequence waited for its turn.
    """

    text: str
    tokens: int
    scores: tuple[TokenScore, ...] = ()
    finish_reason: FinishReason | None = None
    queued: float | None = None


class Engine(Protocol):
    """A loaded model that answers many requests at once."""

    @property
    def tokens(self) -> Tokens:
        """The model's tokenizer and chat template."""
        ...

    @property
    def context_length(self) -> int:
        """Most tokens of prompt and answer together."""
        ...

    def generate(self, request: GenerationRequest) -> AsyncGenerator[TokenEvent, None]:
        """Events until one has a finish reason; closing the iterator frees the slot.

        Raises:
            QueueTimeout: If it does not get its turn in time.
            EngineError: If the engine fails.
        """
        ...

    async def score(self, prompt_ids: Sequence[int], top: int) -> list[TokenScore]:
        """A score for each token of a prompt, with ``top`` alternatives each."""
        ...

    def check(self) -> None:
        """Raise :class:`EngineError` if the engine can no longer serve."""
        ...

    def cache_use(self) -> float | None:
        """Share of the key-value cache that is taken, 0 to 1; None if the engine does not tell."""
        ...

    def close(self) -> None:
        """Fail what is running and free the model; may be called twice."""
        ...
