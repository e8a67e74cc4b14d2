"""What the model is asked and what it has to write, as text, by any chat template.

A model that is served reads the conversation with the generation prompt behind it, and writes until
its turn ends. So for each answer the prompt is rendered just so, and the turn is put together from
the answer and what the template writes around an answer, which rendering a placeholder shows.
Nothing depends on how a template treats text that it is given: those that cut out reasoning, or
show earlier turns otherwise once an answer is there, are asked for prompts alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from astrosage.data.conversations.messages import Message, is_learnt
from astrosage.data.conversations.traces import parted
from astrosage.data.records import Record
from astrosage.errors import DataError
from astrosage.spec.chat import THINK_CLOSE, THINK_OPEN, Chat

_PLACE = "Placeholder0f3a9c"
_MARK = re.compile(r"[<\[|\uff5c]")  # how tokens begin that are no words


@dataclass(frozen=True, slots=True)
class Turn:
    """An answer as it is asked for and given.

    Attributes:
        prompt: What the model reads.
        completion: What it has to write, its end of turn included.
    """

    prompt: str
    completion: str

    @property
    def text(self) -> str:
        """Both."""
        return self.prompt + self.completion


class Renderer:
    """Renders the turns of conversations.

    Args:
        tokenizer: A tokenizer with a chat template.
        options: Which turns are learnt, and what is shown of reasoning.

    Attributes:
        control_tokens: Those that begin and end turns, which no message may hold.
        control: Finds them in a text.

    Raises:
        DataError: If it has no template.
    """

    def __init__(self, tokenizer: Any, options: Chat) -> None:
        if not tokenizer.chat_template:
            raise DataError(
                f"{tokenizer.name_or_path}: the tokenizer has no chat template, which "
                "`format: chat` needs",
                "use an instruction-tuned model's tokenizer, or save a chat_template.jinja with it",
            )
        self._tokenizer, self._options = tokenizer, options
        self.control_tokens = self._control_tokens()
        self.control = re.compile("|".join(map(re.escape, self.control_tokens)) or r"(?!)")

    def turns(self, record: Record) -> list[Turn]:
        """The turns that are learnt, in order.

        Raises:
            DataError: Naming file and line, if a message holds a control token, or the template
                refuses the conversation or does not write the answer.
        """
        for text in record.texts:
            found = self.control.search(text)
            if found:
                raise DataError(
                    f"{record.where}: a message holds the control token `{found[0]}`",
                    "write it in another way, since it would end or forge a turn, or set the "
                    "source's `onError: skip`",
                )
        answers = [i for i, m in enumerate(record.messages) if is_learnt(m)]
        chosen = answers[-1:] if self._options.learn == "last" else answers
        return [self._turn(record, i) for i in chosen]

    def _control_tokens(self) -> list[str]:
        """Special tokens, and others that the template itself writes; not the marks of reasoning.

        Some tokenizers do not call the tokens special that begin a turn (DeepSeek's).
        """
        try:
            frame = self._apply([{"role": "user", "content": "a"}, _answer("b")])
        except Exception:  # whatever a template has against this, it will say of a real record
            frame = ""
        added = self._tokenizer.added_tokens_decoder.values()
        control = {
            t.content
            for t in added
            if t.content.strip() and (t.special or (_MARK.match(t.content) and t.content in frame))
        } - {THINK_OPEN, THINK_CLOSE}
        return sorted(control, key=lambda t: (-len(t), t))  # the longest is tried first

    def _turn(self, record: Record, i: int) -> Turn:
        history = self._shown(record.messages[:i])
        prompt = self._rendered(record, history, prompt=True)
        around = self._rendered(record, [*history, _answer(_PLACE)])
        before, place, after = around.rpartition(_PLACE)
        if not place:
            raise DataError(
                f"{record.where}, messages[{i}]: the chat template does not write the answer",
                "use a template that writes what the assistant says",
            )
        head = self._head(record, i, prompt, before, history)
        end = self.control.search(after)
        tail = after[: end.end()] if end else after
        body = self._body(record, i, prompt, head)
        return Turn(prompt, body + tail)

    def _shown(self, messages: Sequence[Message]) -> list[Message]:
        """What a later prompt shows of a conversation."""
        if self._options.reasoning.traces != "latest":
            return list(messages)
        return [
            _answer(parted(m["content"]).text) if m["role"] == "assistant" else m for m in messages
        ]

    def _head(
        self, record: Record, i: int, prompt: str, before: str, history: Sequence[Message]
    ) -> str:
        """What the template writes between the prompt and an answer.

        A prompt may open a trace that a turn without one does not have. Where the template shows
        earlier turns otherwise, what follows the last message is compared.
        """
        starts = [prompt, prompt.rstrip().removesuffix(THINK_OPEN)]
        for start in starts:
            if before.startswith(start):
                return before.removeprefix(start)
        last = history[-1]["content"].strip() if history else ""
        if last and last in before:
            behind = before.rpartition(last)[2]
            for start in starts:
                frame = start.rpartition(last)[2]
                if last in start and behind.startswith(frame):
                    return behind.removeprefix(frame)
        raise DataError(
            f"{record.where}, messages[{i}]: the chat template begins an answer in another way "
            "than it asks for one",
            "use a template whose generation prompt is how it begins the assistant's turns",
        )

    def _body(self, record: Record, i: int, prompt: str, head: str) -> str:
        """The answer with its reasoning, in the template's own way where it has one."""
        content = record.messages[i]["content"]
        thought, text = parted(content)
        asked = prompt.rstrip()
        if asked.endswith(THINK_CLOSE) and thought:
            raise DataError(
                f"{record.where}, messages[{i}]: the chat template's prompt asks for no reasoning, "
                "but the answer has a trace",
                "set `chat.reasoning.traces: drop`, or give the record the system message that "
                "switches reasoning on",
            )
        opened = asked.endswith(THINK_OPEN)
        if THINK_CLOSE in head:
            if not thought:
                return head + text
            begun, _, between = head.rpartition(THINK_CLOSE)
            begun = begun.rstrip() + "\n" if begun.rstrip() else ""
            return f"{begun}{thought}\n{THINK_CLOSE}{between}{text}"
        if opened:
            line = "" if prompt.endswith("\n") and thought else "\n"
            thought = f"{thought}\n" if thought else ""
            return f"{line}{thought}{THINK_CLOSE}\n\n{text}"
        if asked.endswith(THINK_CLOSE):
            return head + text
        return head + content

    def _rendered(self, record: Record, messages: Sequence[Message], prompt: bool = False) -> str:
        from jinja2 import TemplateError

        try:
            return self._apply(messages, prompt)
        except TemplateError as error:
            merge = "set `chat.system: merge` if it takes no system message, " * (
                messages[0]["role"] == "system"
            )
            raise DataError(
                f"{record.where}: the model's chat template refuses the conversation: {error}",
                f"{merge}change the record, or use a model whose template allows it",
            ) from None

    def _apply(self, messages: Sequence[Message], prompt: bool = False) -> str:
        shown = [{"role": m["role"], "content": m["content"]} for m in messages]
        return str(
            self._tokenizer.apply_chat_template(shown, tokenize=False, add_generation_prompt=prompt)
        )


def _answer(text: str) -> Message:
    return {"role": "assistant", "content": text}
