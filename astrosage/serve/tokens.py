"""A model's tokenizer and chat template, as serving needs them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from astrosage.errors import DataError

# End-of-turn tokens of the common chat templates: a fine-tuned model ends with its template's
# token even where its configuration still names the base model's end of text.
_TURN_ENDS = ("<|im_end|>", "<|eot_id|>", "<|end|>", "<end_of_turn>", "<|end_of_turn|>")
_SPACE = "\u2581"


class Tokens:
    """Text to token ids and back.

    Args:
        tokenizer: A Hugging Face tokenizer.
        end_ids: End tokens named by the model's configuration.
    """

    def __init__(self, tokenizer: Any, end_ids: Sequence[int] = ()) -> None:
        self._tokenizer = tokenizer
        vocabulary: dict[str, int] = tokenizer.get_vocab()
        own = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
        turn_ends = [vocabulary[name] for name in _TURN_ENDS if name in vocabulary]
        self.end_ids = frozenset((*end_ids, *own, *turn_ends))
        self.size = len(tokenizer)
        self.has_chat_template = bool(tokenizer.chat_template)
        # A byte-level vocabulary holds a stand-in for every byte; "Ġ" is the one for space.
        self._bytes = _byte_stand_ins() if "Ġ" in vocabulary else None

    @classmethod
    def load(cls, folder: Path, end_ids: Sequence[int] = ()) -> Tokens:
        """Read the tokenizer of a model directory.

        Raises:
            DataError: If it cannot be read.
        """
        from transformers import AutoTokenizer

        try:
            return cls(AutoTokenizer.from_pretrained(folder, local_files_only=True), end_ids)
        except (OSError, ValueError, KeyError) as error:
            raise DataError(
                f"model: the tokenizer in {folder} cannot be read: {error}",
                "save it again with tokenizer.save_pretrained(…)",
            ) from None

    def encode(self, text: str) -> list[int]:
        """Token ids of plain text, with the special tokens the tokenizer puts around a text."""
        ids: list[int] = self._tokenizer(text, add_special_tokens=True)["input_ids"]
        return ids

    def encode_chat(self, messages: Sequence[Mapping[str, str]]) -> tuple[list[int], str]:
        """Token ids and text of a conversation, ready for the assistant's turn.

        Raises:
            DataError: If the model has no chat template or its template refuses the messages.
        """
        import jinja2

        if not self.has_chat_template:
            raise DataError("the model has no chat template", "use /v1/completions")
        try:
            prompt: str = self._tokenizer.apply_chat_template(
                list(messages), tokenize=False, add_generation_prompt=True
            )
        except (jinja2.TemplateError, TypeError, KeyError) as error:
            raise DataError(f"the model's chat template refuses the messages: {error}") from None
        ids: list[int] = self._tokenizer(prompt, add_special_tokens=False)["input_ids"]
        return ids, prompt

    def decode(self, token_ids: Sequence[int]) -> str:
        """Text of the tokens, special tokens left out."""
        text: str = self._tokenizer.decode(
            token_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return text

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes one token stands for; part of a character for some."""
        token: str = self._tokenizer.convert_ids_to_tokens(token_id) or ""
        if self._bytes is not None:
            mapped = [self._bytes.get(character) for character in token]
            known = [byte for byte in mapped if byte is not None]
            return bytes(known) if len(known) == len(mapped) else token.encode()
        if len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
            return bytes([int(token[3:5], 16)])
        return token.replace(_SPACE, " ").encode()

    def token_text(self, token_id: int) -> str:
        r"""The token as text; ``bytes:\xe2\x98`` where it is only part of a character."""
        raw = self.token_bytes(token_id)
        try:
            return raw.decode()
        except UnicodeDecodeError:
            return "bytes:" + "".join(f"\\x{byte:02x}" for byte in raw)


def _byte_stand_ins() -> dict[str, int]:
    """GPT-2's printable stand-in of each byte: ``bytes_to_unicode`` read backwards."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    return {chr(byte): byte for byte in printable} | {
        chr(256 + n): byte for n, byte in enumerate(others)
    }
