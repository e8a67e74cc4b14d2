from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astrosage.data import tokenise
from astrosage.data.tokenise import TextEncoder, check_model, document_end_id, load_tokenizer
from astrosage.errors import DataError, NotFoundError, SpecError


@pytest.fixture
def copy(tiny_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> Any:
    return load_tokenizer(tiny_model)


@pytest.fixture(scope="module")
def encoder(tokenizer: Any) -> TextEncoder:
    return TextEncoder(tokenizer)


def test_the_plain_path_gives_the_tokens_of_auto_tokenizer(tiny_model: Path) -> None:
    from transformers import AutoTokenizer

    ours, theirs = load_tokenizer(tiny_model), AutoTokenizer.from_pretrained(tiny_model)
    text = "Galaxies rotate faster; Émile saw 3 of them.\n\n<|im_end|>"
    assert ours(text)["input_ids"] == theirs(text)["input_ids"]
    assert ours.get_vocab() == theirs.get_vocab()
    assert ours.chat_template == theirs.chat_template


@given(text=st.text(max_size=80))
def test_a_document_ends_once_and_decodes_to_itself(
    encoder: TextEncoder, tokenizer: Any, text: str
) -> None:
    (ids,) = encoder.encode([text])
    assert ids.dtype == np.int32
    assert list(ids).index(document_end_id(tokenizer)) == len(ids) - 1
    assert tokenizer.decode(ids[:-1], clean_up_tokenization_spaces=False) == text


def test_control_tokens_in_a_text_are_ordinary_text(encoder: TextEncoder, tokenizer: Any) -> None:
    (ids,) = encoder.encode(["a<|endoftext|>b<|im_start|>"])
    assert not set(ids[:-1]) & {0, 1, 2}
    assert tokenizer.decode(ids[:-1]) == "a<|endoftext|>b<|im_start|>"


@given(st.lists(st.integers(0, 511), max_size=70), st.integers(1, 20))
def test_split_loses_nothing(tokens: list[int], length: int) -> None:
    pieces = tokenise.split(np.array(tokens, dtype=np.int32), length)
    assert [t for p in pieces for t in p] == tokens
    assert all(len(p) == length for p in pieces[:-1])
    assert all(1 <= len(p) <= length for p in pieces)


def test_bos_is_put_where_the_tokenizer_puts_it(tiny_model: Path) -> None:
    from tokenizers.processors import TemplateProcessing

    tokenizer = load_tokenizer(tiny_model)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|im_start|> $A", special_tokens=[("<|im_start|>", 1)]
    )
    (ids,) = TextEncoder(tokenizer).encode(["star"])
    assert (ids[0], ids[-1]) == (1, 0)
    assert list(ids).count(1) == 1


def test_end_token_is_eos_where_endoftext_is_unknown(copy: Path) -> None:
    for file in (copy / "tokenizer.json", copy / "tokenizer_config.json"):
        file.write_text(file.read_text().replace("<|endoftext|>", "<|other|>"))
    tokenizer = load_tokenizer(copy)
    tokenizer.eos_token = "<|im_end|>"
    assert document_end_id(tokenizer) == 2
    tokenizer.eos_token = None
    with pytest.raises(DataError, match=r"neither `<\|endoftext\|>` nor an eos token"):
        document_end_id(tokenizer)


def test_sequence_length_over_the_models(tiny_model: Path, tokenizer: Any) -> None:
    check_model(tiny_model, tokenizer, 256, "f")
    with pytest.raises(SpecError, match=r"f: 257 is over .*max_position_embeddings, 256") as caught:
        check_model(tiny_model, tokenizer, 257, "f")
    assert caught.value.hint == "use at most 256"


def test_a_foreign_tokenizer_is_refused(copy: Path, tokenizer: Any) -> None:
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"vocab_size": 300}))
    with pytest.raises(DataError, match=r"tokenizer has \d+ tokens, the model embeds 300"):
        check_model(copy, tokenizer, 16, "f")


def test_broken_and_missing_tokenizers(copy: Path) -> None:
    (copy / "tokenizer.json").write_text("{")
    with pytest.raises(DataError, match="the tokenizer cannot be loaded"):
        load_tokenizer(copy)
    (copy / "tokenizer.json").unlink()
    with pytest.raises(NotFoundError, match="has no tokenizer"):
        load_tokenizer(copy)
