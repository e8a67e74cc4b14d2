"""Conversations to token ids, and which of them are learnt: what the assistant writes.

From the tokens of a prompt to the end-of-turn token is exactly what the model has to write when it
is served, so exactly that is learnt. Answers share a sequence as long as the prompt of the next one
begins, token by token, with all that came before; where a template shows earlier turns otherwise
(without their reasoning, say), the next answer begins a sequence of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrosage.data.borders import Borders
from astrosage.data.records import Record
from astrosage.data.rendering import Renderer, Turn
from astrosage.errors import DataError
from astrosage.spec.chat import Chat

_TEXTS = ("prompt", "text")
Refused = Callable[[int, DataError], None]


@dataclass(frozen=True, eq=False)
class Conversation:
    """A tokenised conversation, or the part of it that can be learnt in one sequence.

    Attributes:
        ids: ``[n]`` token ids; ends with the last learnt token.
        answers: Token ranges ``(start, end)`` of the assistant's turns, end-of-turn included.
    """

    ids: NDArray[np.int32]
    answers: tuple[tuple[int, int], ...]

    @property
    def learned(self) -> NDArray[np.uint8]:
        """``[n]`` 1 on tokens that are learnt, else 0."""
        mask = np.zeros(len(self.ids), dtype=np.uint8)
        for start, end in self.answers:
            mask[start:end] = 1
        return mask

    def cut(self, length: int) -> Conversation | None:
        """The turns that fit into ``length`` tokens; None if no answer does."""
        kept = tuple(a for a in self.answers if a[1] <= length)
        return Conversation(self.ids[: kept[-1][1]], kept) if kept else None


def _raise(_: int, error: DataError) -> None:
    raise error


class ChatEncoder:
    """Encodes conversations with the tokenizer's chat template.

    Args:
        tokenizer: A fast tokenizer with a chat template.
        options: Which turns are learnt, and what is shown of reasoning.

    Raises:
        DataError: If it has no template.
    """

    def __init__(self, tokenizer: Any, options: Chat | None = None) -> None:
        self._renderer = Renderer(tokenizer, options or Chat())
        self._backend = tokenizer.backend_tokenizer
        self._backend.no_truncation()
        self._backend.no_padding()
        control, tokens = self._renderer.control, self._renderer.control_tokens
        self._borders = Borders(self._backend, control, tokens)

    def encode(
        self, records: Sequence[Record], refused: Refused = _raise
    ) -> list[list[Conversation]]:
        """Tokenise a batch.

        Args:
            records: Conversations.
            refused: Told the place of a record that cannot be rendered, and why; raises unless
                told otherwise.

        Returns:
            The sequences of each record, most often one; none for those that were refused.

        Raises:
            DataError: Naming file and line, if a message holds a control token or the template
                cannot be followed.
        """
        turns: list[list[Turn]] = []
        for place, record in enumerate(records):
            try:
                turns.append(self._renderer.turns(record))
            except DataError as error:
                refused(place, error)
                turns.append([])
        chained = [_chains(ts) for ts in turns]
        wholes = iter(self._ids([chain[-1].text for chains in chained for chain in chains]))
        result: list[list[Conversation]] = []
        for place, (record, chains) in enumerate(zip(records, chained, strict=True)):
            quick = [self._quick(chain, next(wholes)) for chain in chains]
            try:
                known = [conversation for conversation in quick if conversation is not None]
                if len(known) < len(quick):
                    known = self._sequences(record, turns[place])
                result.append(known)
            except DataError as error:
                refused(place, error)
                result.append([])
        return result

    def _quick(self, chain: Sequence[Turn], ids: list[int]) -> Conversation | None:
        """Turns of which each one's text begins the next one's; None if their tokens may not."""
        ends = [end for turn in chain for end in (len(turn.prompt), len(turn.text))]
        found = self._borders.find(chain[-1].text, ids, ends)
        if found is None:
            return None
        answers = tuple(zip(found[::2], found[1::2], strict=True))
        return Conversation(np.array(ids, dtype=np.int32), answers)

    def _sequences(self, record: Record, turns: Sequence[Turn]) -> list[Conversation]:
        """The same for any turns, from the tokens of each prompt."""
        prompts, wholes = (self._ids([getattr(t, name) for t in turns]) for name in _TEXTS)
        sequences: list[tuple[list[int], list[tuple[int, int]]]] = []
        for turn, prompt, whole in zip(turns, prompts, wholes, strict=True):
            ids = whole
            if ids[: len(prompt)] != prompt:
                ids = self._apart(record, turn, prompt, whole)
            answer = (len(prompt), len(ids))
            last = sequences[-1][0] if sequences else None
            if last is not None and prompt[: len(last)] == last:
                sequences[-1] = (ids, [*sequences[-1][1], answer])
            else:
                sequences.append((ids, [answer]))
        return [Conversation(np.array(i, dtype=np.int32), tuple(a)) for i, a in sequences]

    def _apart(self, record: Record, turn: Turn, prompt: list[int], whole: list[int]) -> list[int]:
        """Prompt and answer tokenised one by one, where together a token spans their border.

        That is how they come when the model is served. Tokenizers that put a space before a text
        cannot write an answer so.
        """
        ids = prompt + self._ids([turn.completion])[0]
        if self._text(ids) != self._text(whole):
            raise DataError(
                f"{record.where}: a token spans the border between a prompt and an answer, "
                "so what is learnt would not be what is asked for",
                "let the chat template end the generation prompt with a newline, or set the "
                "source's `onError: skip`",
            )
        return ids

    def _ids(self, texts: list[str]) -> list[list[int]]:
        encoded = self._backend.encode_batch_fast(texts, add_special_tokens=False)
        return [e.ids for e in encoded]

    def _text(self, ids: list[int]) -> str:
        return str(self._backend.decode(ids, skip_special_tokens=False))


def _chains(turns: Sequence[Turn]) -> list[list[Turn]]:
    """Turns in a row of which each one's text begins the next one's prompt."""
    chains: list[list[Turn]] = []
    for turn in turns:
        if chains and turn.prompt.startswith(chains[-1][-1].text):
            chains[-1].append(turn)
        else:
            chains.append([turn])
    return chains
