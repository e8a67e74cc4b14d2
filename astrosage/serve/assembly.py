"""From tokens to events: text, stop texts, scores and the reason why an answer ends."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence, Set
from dataclasses import replace

from astrosage.serve.engine import FinishReason, GenerationRequest, TokenEvent, TokenScore
from astrosage.serve.text import Detokenizer, StopScanner


class Assembler:
    """Turns one sequence's tokens into :class:`TokenEvent` values, whatever engine made them.

    Args:
        request: What was asked for.
        decode: Token ids to text.
        end_ids: Tokens that end an answer.
    """

    def __init__(
        self,
        request: GenerationRequest,
        decode: Callable[[Sequence[int]], str],
        end_ids: Set[int],
    ) -> None:
        self._max_tokens = request.max_tokens
        self._end_ids = end_ids
        self._detokenizer = Detokenizer(decode)
        self._scanner = StopScanner(request.stop)
        self._pending: deque[TokenScore] = deque()
        self._tokens = self._decoded = self._sent = 0

    def push(self, token_id: int, score: TokenScore | None) -> TokenEvent:
        """The event of the next token; its finish reason says when to stop."""
        self._tokens += 1
        if token_id in self._end_ids:
            return self._finish("stop")
        if score is not None:
            self._pending.append(replace(score, text_offset=self._decoded))
        text, stopped = self._scan(self._detokenizer.push(token_id))
        if stopped:
            return self._event(text, "stop")
        if self._tokens >= self._max_tokens:
            return self._finish("length", text)
        return self._event(text)

    def _finish(self, reason: FinishReason, text: str = "") -> TokenEvent:
        tail, stopped = self._scan(self._detokenizer.flush())
        if stopped:
            return self._event(text + tail, "stop")
        rest = self._scanner.flush()
        self._sent += len(rest) + 1  # nothing is held any more: every score is due
        return self._event(text + tail + rest, reason)

    def _scan(self, text: str) -> tuple[str, bool]:
        self._decoded += len(text)
        ready, stopped = self._scanner.push(text)
        self._sent += len(ready)
        return ready, stopped

    def _event(self, text: str, reason: FinishReason | None = None) -> TokenEvent:
        due = []
        while self._pending and self._pending[0].text_offset < self._sent:
            due.append(self._pending.popleft())
        return TokenEvent(text, self._tokens, tuple(due), reason)
