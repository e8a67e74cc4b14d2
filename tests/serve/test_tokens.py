from __future__ import annotations

from pathlib import Path

import pytest

from astrosage.errors import DataError
from astrosage.serve.tokens import Tokens


@pytest.fixture(scope="module")
def tokens(tiny_model: Path) -> Tokens:
    return Tokens.load(tiny_model, [0])


def test_token_bytes_join_to_the_text(tokens: Tokens) -> None:
    text = "A star 🪐 «shines»é\n"
    assert b"".join(tokens.token_bytes(i) for i in tokens.encode(text)) == text.encode()


def test_part_of_a_character_is_named_by_its_bytes(tokens: Tokens) -> None:
    first = tokens.encode("🪐")[0]
    assert tokens.token_text(first) == "bytes:\\xf0"


def test_every_token_has_a_name(tokens: Tokens) -> None:
    names = [tokens.token_text(i) for i in range(tokens.size)]
    assert len(set(names)) == tokens.size
    assert names[2] == "<|im_end|>"


def test_end_tokens_come_from_configuration_tokenizer_and_template(tokens: Tokens) -> None:
    assert tokens.end_ids == {0, 2}


def test_chat_ends_with_the_assistants_turn(tokens: Tokens) -> None:
    ids, prompt = tokens.encode_chat([{"role": "user", "content": "Hi"}])
    assert prompt == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    assert ids[0] == 1
    assert ids.count(1) == 2  # special tokens are tokens, not spelled out, and not added again


def test_a_folder_without_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=str(tmp_path)):
        Tokens.load(tmp_path)
