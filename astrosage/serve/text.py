"""Text as it grows token by token: whole characters only, stop texts cut off, reasoning apart."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from astrosage.spec.chat import THINK_CLOSE, THINK_OPEN

_REPLACEMENT = "\ufffd"
# A UTF-8 character has at most four bytes, so at most three bytes can be waiting for their last.
_MOST_HELD = 3
# Tokens kept as context when decoding goes on: sentencepiece decoders treat a first token apart.
_CONTEXT = 4
_WINDOW = 16


class Detokenizer:
    """Decodes a growing token sequence without ever giving out half a character.

    The pieces and the flush together equal decoding all tokens at once. Only a short window is
    decoded for each token (as in text-generation-inference), so the cost does not grow.

    Args:
        decode: Token ids to text.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode
        self._window: list[int] = []
        self._sent = 0

    def push(self, token_id: int) -> str:
        """The text that this token completes."""
        self._window.append(token_id)
        text = self._decode(self._window)
        waiting = min(_MOST_HELD, len(text) - len(text.rstrip(_REPLACEMENT)))
        piece = self._take(text, len(text) - waiting)
        if not waiting and len(self._window) >= _WINDOW:
            self._window = self._window[-_CONTEXT:]
            self._sent = len(self._decode(self._window))
        return piece

    def flush(self) -> str:
        """What is left at the end: replacement characters for bytes that never became one."""
        text = self._decode(self._window)
        return self._take(text, len(text))

    def _take(self, text: str, end: int) -> str:
        piece = text[self._sent : end]
        self._sent = max(self._sent, end)
        return piece


class StopScanner:
    """Passes text on up to the first stop text, wherever the pieces are cut.

    The stop text that is complete first counts; of those that end together, the longest.

    Args:
        stops: Texts to stop at, none empty.
    """

    def __init__(self, stops: Iterable[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""

    def push(self, text: str) -> tuple[str, bool]:
        """The text that is certain not to be part of a stop text, and whether one was met."""
        text = self._held + text
        ends = [(at + len(s), at) for s in self._stops if (at := text.find(s)) >= 0]
        if ends:
            self._held = ""
            return text[: min(ends)[1]], True
        keep = max((_overlap(text, s) for s in self._stops), default=0)
        cut = len(text) - keep
        self._held = text[cut:]
        return text[:cut], False

    def flush(self) -> str:
        """The held text, once nothing more can come."""
        held, self._held = self._held, ""
        return held


class ReasoningSplitter:
    """Splits a leading ``<think>…</think>`` from the answer, wherever the pieces are cut.

    Args:
        inside: Whether the prompt has opened the block already.
    """

    OPEN = THINK_OPEN
    CLOSE = THINK_CLOSE

    def __init__(self, *, inside: bool = False) -> None:
        self._state = "reasoning" if inside else "start"
        self._buffer = ""
        self._trim = inside

    def push(self, text: str) -> tuple[str, str]:
        """The new reasoning and the new answer text."""
        self._buffer += text
        reasoning = ""
        if self._state == "start":
            begin = self._buffer.lstrip()
            if begin.startswith(self.OPEN):
                self._enter("reasoning", begin.removeprefix(self.OPEN))
            elif self.OPEN.startswith(begin):
                return "", ""
            else:
                self._state = "answer"
        if self._state == "reasoning":
            body, close, rest = self._buffer.partition(self.CLOSE)
            if not close:
                return self._emit(len(body) - _overlap(body, self.CLOSE), hold_space=True), ""
            self._buffer = body.rstrip()
            reasoning = self._emit(len(self._buffer))
            self._enter("answer", rest)
        return reasoning, self._emit(len(self._buffer))

    def flush(self) -> tuple[str, str]:
        """The held text, once nothing more can come."""
        if self._state == "reasoning":
            self._buffer = self._buffer.rstrip()
            return self._emit(len(self._buffer)), ""
        return "", self._emit(len(self._buffer))

    def _enter(self, state: str, rest: str) -> None:
        self._state, self._buffer, self._trim = state, rest, True

    def _emit(self, end: int, *, hold_space: bool = False) -> str:
        ready = self._buffer[:end]
        if hold_space:
            ready = ready.rstrip()
        self._buffer = self._buffer[len(ready) :]
        if self._trim:
            ready = ready.lstrip()
            self._trim = not ready
        return ready


def _overlap(text: str, stop: str) -> int:
    """Length of the longest proper beginning of ``stop`` that ``text`` ends with."""
    for length in range(min(len(stop) - 1, len(text)), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
