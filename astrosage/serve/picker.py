"""Per-request sampling inside transformers' continuous batching.

Its manager samples all requests alike: no seeds, no greedy next to sampled, no log-probabilities
of alternatives. Its per-request logits processors, however, are told which request each row of
logits belongs to. :class:`TokenPicker` is one: it chooses every row's token itself, reports it,
and leaves that token as the only possible one for the manager's own argmax.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from typing import Any

import torch
from torch import Tensor
from transformers.generation.continuous_batching.cb_logits_processors import (
    ContinuousBatchingLogitsProcessor,
)
from transformers.generation.continuous_batching.continuous_api import OutputRouter

from astrosage.serve.engine import EngineError, GenerationRequest, TokenScore
from astrosage.serve.sampling import choose, scores

Item = tuple[int, TokenScore | None] | EngineError


class RunningSequence:
    """One running sequence: its parameters, its noise and where its tokens go.

    Args:
        request: What was asked for.
        device: Where the model runs.
        loop: The event loop that reads :attr:`queue`.

    Attributes:
        queue: Its tokens, or why there are no more.
        waited: Seconds that it waited for its turn, once it has had one.
    """

    def __init__(
        self, request: GenerationRequest, device: torch.device, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.request = request
        self.queue: asyncio.Queue[Item] = asyncio.Queue()
        self.waited: float | None = None
        self._loop = loop
        self.generator = torch.Generator(device).manual_seed(request.seed)

    def put(self, item: Item) -> None:
        """Hand an item to the reader, from any thread."""
        with contextlib.suppress(RuntimeError):  # the reader's loop is closed: nobody waits
            self._loop.call_soon_threadsafe(self.queue.put_nowait, item)


class TokenPicker(ContinuousBatchingLogitsProcessor):  # type: ignore[misc]
    """Chooses and reports the next token of each request in a batch.

    Args:
        running: The sequences by request id; shared with the engine.
    """

    supported_kwargs: dict[str, type] = {}  # noqa: RUF012 (the base class has it so)
    ignored_kwargs = ()

    def __init__(self, running: dict[str, RunningSequence]) -> None:
        self._running = running
        self._order: list[str] = []

    def fill_defaults(self, int32_tensor: Tensor) -> None:
        """Nothing travels in the manager's argument tensor."""
        int32_tensor.zero_()

    def prepare_tensor_args(self, requests_with_new_token: list[Any]) -> Tensor:
        """Note which request each row of the coming logits belongs to."""
        states = [future.state for future in requests_with_new_token]
        self._order = [state.request_id for state in states]
        for state in states:
            sequence = self._running.get(state.request_id)
            if sequence is not None and sequence.waited is None:
                sequence.waited = max(0.0, state.lifespan[0] - state.created_time)
        return torch.zeros(len(self._order), dtype=torch.int32)

    def __call__(self, logits: Tensor, tensor_arg: Tensor) -> Tensor:
        """Logits [N, V] with one possible token a row; rows beyond the batch are padding."""
        rows, sequences = [], []
        for row, request_id in enumerate(self._order):
            if (sequence := self._running.get(request_id)) is not None:
                rows.append(row)
                sequences.append(sequence)
        if sequences:
            logits = self._pick(logits, rows, sequences)
        return logits

    def _pick(self, logits: Tensor, rows: list[int], sequences: list[RunningSequence]) -> Tensor:
        device = logits.device
        live = logits[rows]
        tokens = choose(
            live,
            torch.tensor([s.request.temperature for s in sequences], device=device),
            torch.tensor([s.request.top_p for s in sequences], device=device),
            [s.generator for s in sequences],
        )
        ids: list[int] = tokens.tolist()
        for i, (sequence, token_id) in enumerate(zip(sequences, ids, strict=True)):
            top = sequence.request.top_logprobs
            score = None if top is None else scores(live[i : i + 1], [token_id], top)[0]
            sequence.put((token_id, score))
        decided = torch.full_like(logits, -math.inf)
        decided[:, 0] = 0.0
        decided[rows, 0] = -math.inf
        decided[rows, tokens] = 0.0
        return decided


class FailureRouter(OutputRouter):  # type: ignore[misc]
    """Passes on the manager's failures only; tokens have come through the picker by then.

    Args:
        running: The sequences by request id; shared with the engine.
    """

    def __init__(self, running: dict[str, RunningSequence]) -> None:
        super().__init__()
        self._running = running

    def deliver(self, output: Any) -> None:
        """One request's result."""
        sequence = self._running.get(output.request_id)
        if sequence is not None and output.error is not None:
            sequence.put(EngineError(f"the engine dropped the request: {output.error}"))

    def deliver_batch(self, outputs: list[Any]) -> None:
        """Several requests' results."""
        for output in outputs:
            self.deliver(output)
