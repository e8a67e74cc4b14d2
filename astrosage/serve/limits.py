"""What one client may ask for, and how much work the server takes on."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request

from astrosage.serve.errors import ApiError


@dataclass(frozen=True)
class Limits:
    """Limits of the server.

    Attributes:
        max_concurrent: Sequences that are generated at once.
        max_queue: Sequences that may wait for their turn.
        max_tokens: Most new tokens one sequence may ask for.
        max_body_bytes: Largest request body.
        request_timeout: Seconds in which an answer must be whole; None sets no limit.
        queue_timeout: Seconds that a sequence may wait for its turn; None sets no limit.
    """

    max_concurrent: int = 8
    max_queue: int = 32
    max_tokens: int = 1024
    max_body_bytes: int = 4 << 20
    request_timeout: float | None = None
    queue_timeout: float | None = None


@dataclass(frozen=True)
class Fields:
    """Names of a request's fields, for messages: the prompt and the length of the answer."""

    prompt: str
    length: str = "max_tokens"


class Ticket:
    """Leave to run some sequences, given back once."""

    def __init__(self, admission: Admission, sequences: int) -> None:
        self._admission = admission
        self._sequences = sequences

    def release(self) -> None:
        """Give the places back; further calls do nothing."""
        self._admission.in_flight -= self._sequences
        self._sequences = 0


class Admission:
    """Counts the sequences that run or wait; the engine lets them wait in order of arrival.

    Args:
        limits: The server's limits.
    """

    def __init__(self, limits: Limits) -> None:
        self._capacity = limits.max_concurrent + limits.max_queue
        self.in_flight = 0

    def enter(self, sequences: int, param: str) -> Ticket:
        """Take places for a request.

        Args:
            sequences: How many sequences it needs.
            param: The field that says so.

        Raises:
            ApiError: 400 if it can never fit, 429 if it does not fit now.
        """
        if sequences > self._capacity:
            raise ApiError(
                400,
                f"{param}: asks for {sequences} sequences; at most {self._capacity} in a request",
                param=param,
                code="too_many_sequences",
            )
        if self.in_flight + sequences > self._capacity:
            raise ApiError(429, "the queue is full; try again later", code="queue_full")
        self.in_flight += sequences
        return Ticket(self, sequences)


async def read_body(request: Request, limit: int) -> bytes:
    """The request's body, read no further than the limit, and not at all if it says so itself.

    Raises:
        ApiError: With status 413.
    """
    said = request.headers.get("content-length", "")
    if said.isdecimal() and int(said[:20]) > limit:
        raise _too_large(limit)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise _too_large(limit)
    return bytes(body)


def _too_large(limit: int) -> ApiError:
    return ApiError(413, f"the body is larger than {limit} bytes", code="request_too_large")


def answer_length(
    asked: int | None, *, default: int, prompt: int, context: int, limits: Limits, fields: Fields
) -> int:
    """How many tokens a sequence may generate.

    Args:
        asked: The tokens the request asks for, if it says.
        default: What to take otherwise, as far as the context allows.
        prompt: Tokens in the prompt.
        context: The model's context length.
        limits: The server's limits.
        fields: Where the request says so.

    Raises:
        ApiError: 400 naming the field that is too large.
    """
    if asked is not None and asked > limits.max_tokens:
        raise ApiError(
            400,
            f"{fields.length}: {asked} is over this server's limit of {limits.max_tokens}",
            param=fields.length,
            code="max_tokens_too_large",
        )
    room = context - prompt
    if room < (1 if asked is None else asked):
        raise ApiError(
            400,
            f"{fields.prompt}: {prompt} tokens and {asked or 'at least 1'} new ones are more than "
            f"the model's context of {context}",
            param=fields.prompt,
            code="context_length_exceeded",
        )
    return min(default, room) if asked is None else asked
