"""Conversations to token ids, and which of them are learnt: what the assistant writes.

The borders are found for any chat template by rendering prefixes: the conversation up to an
answer, with the generation prompt, must be how the conversation with the answer begins, in text and
in tokens. From that border to the end-of-turn token is exactly what the model has to write when it
is served, so exactly that is learnt.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrosage.data.records import Message, Record
from astrosage.errors import DataError


@dataclass(frozen=True, eq=False)
class Conversation:
    """A tokenised conversation.

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


class ChatEncoder:
    """Encodes conversations with the tokenizer's chat template.

    Args:
        tokenizer: A fast tokenizer with a chat template.

    Raises:
        DataError: If it has no template.
    """

    def __init__(self, tokenizer: Any) -> None:
        if not tokenizer.chat_template:
            raise DataError(
                f"{tokenizer.name_or_path}: the tokenizer has no chat template, which "
                "`format: chat` needs",
                "use an instruction-tuned model's tokenizer, or save a chat_template.jinja with it",
            )
        self._tokenizer = tokenizer
        self._backend = tokenizer.backend_tokenizer
        self._backend.no_truncation()
        self._backend.no_padding()
        special = {t.content for t in tokenizer.added_tokens_decoder.values() if t.special}
        longest_first = sorted(special, key=lambda t: (-len(t), t))
        self._control = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")

    def encode(self, records: Sequence[Record]) -> list[Conversation]:
        """Tokenise a batch.

        Raises:
            DataError: Naming file and line, if a message holds a control token or the template does
                not render this conversation by adding to it.
        """
        rendered = [self._render(record) for record in records]
        texts = [text[:at] for text, spans in rendered for span in spans for at in span]
        encoded = iter(self._backend.encode_batch_fast(texts, add_special_tokens=False))
        result = []
        for record, (_, spans) in zip(records, rendered, strict=True):
            prefixes = [next(encoded).ids for _ in range(2 * len(spans))]
            result.append(self._conversation(record, prefixes))
        return result

    def _conversation(self, record: Record, prefixes: list[list[int]]) -> Conversation:
        ids = prefixes[-1]
        for prefix in prefixes:
            if ids[: len(prefix)] != prefix:
                raise DataError(
                    f"{record.where}: a token spans the border between a prompt and an answer, "
                    "so what is learnt would not be what is asked for",
                    "let the chat template end the generation prompt with a newline",
                )
        ends = [len(prefix) for prefix in prefixes]
        answers = tuple(zip(ends[::2], ends[1::2], strict=True))
        return Conversation(np.array(ids, dtype=np.int32), answers)

    def _render(self, record: Record) -> tuple[str, list[tuple[int, int]]]:
        """The whole text, and the character range of each answer in it."""
        for text in record.texts:
            found = self._control.search(text)
            if found:
                raise DataError(
                    f"{record.where}: a message holds the control token `{found[0]}`",
                    "write it in another way; it would end or forge a turn",
                )
        messages = record.messages
        answers = [i for i, m in enumerate(messages) if m["role"] == "assistant"]
        whole = self._apply(record, messages[: answers[-1] + 1])
        spans = []
        for i in answers:
            prompt = self._apply(record, messages[:i], prompt=True)
            upto = self._apply(record, messages[: i + 1])
            if not upto.startswith(prompt):
                raise self._not_a_prefix(record, i)
            end = len(prompt) + self._turn_length(
                record, i, upto[len(prompt) :], messages[i]["content"]
            )
            if whole[:end] != upto[:end]:
                raise self._not_a_prefix(record, i)
            spans.append((len(prompt), end))
        return whole, spans

    def _turn_length(self, record: Record, i: int, turn: str, content: str) -> int:
        at = turn.find(content)
        if at < 0:
            raise DataError(
                f"{record.where}, messages[{i}]: the chat template changes the assistant's text",
                "use a template that keeps it whole (some cut out reasoning)",
            )
        end_of_turn = self._control.search(turn, at + len(content))
        return end_of_turn.end() if end_of_turn else len(turn)

    def _apply(self, record: Record, messages: Sequence[Message], prompt: bool = False) -> str:
        from jinja2 import TemplateError

        try:
            return str(
                self._tokenizer.apply_chat_template(
                    list(messages), tokenize=False, add_generation_prompt=prompt
                )
            )
        except TemplateError as error:
            raise DataError(
                f"{record.where}: the model's chat template refuses the conversation: {error}",
                "change the record, or use a model whose template allows it",
            ) from None

    def _not_a_prefix(self, record: Record, i: int) -> DataError:
        return DataError(
            f"{record.where}, messages[{i}]: the chat template renders the turns before this "
            "answer in another way once the answer is there",
            "use a template that only ever adds to the conversation (some rewrite earlier turns), "
            "or split the record so that each conversation has one answer",
        )
