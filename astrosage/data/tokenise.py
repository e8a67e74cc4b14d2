"""Texts to token ids: batches through the fast tokenizer, an end token after each document."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrosage.errors import DataError, SpecError
from astrosage.models.resolve import check_directory

DOCUMENT_END = "<|endoftext|>"
# These classes are tokenizer.json and nothing more, so the file alone gives the same tokens; going
# through AutoTokenizer would import torch, which takes seconds.
_PLAIN_CLASSES = ("TokenizersBackend", "PreTrainedTokenizerFast")


def load_tokenizer(folder: Path) -> Any:
    """The model's fast tokenizer.

    Raises:
        NotFoundError: If the folder is no model directory.
        DataError: If its tokenizer is broken or not a fast one.
    """
    check_directory(folder, "model")
    try:
        tokenizer = _load(folder)
    except Exception as error:  # the libraries raise bare Exception, ValueError, OSError, …
        raise DataError(
            f"{folder}: the tokenizer cannot be loaded: {error}",
            "save it again with AutoTokenizer.from_pretrained(…).save_pretrained(…)",
        ) from error
    if not tokenizer.is_fast:
        raise DataError(
            f"{folder}: no fast tokenizer (tokenizer.json)",
            "save one with AutoTokenizer.from_pretrained(…).save_pretrained(…)",
        )
    return tokenizer


def _load(folder: Path) -> Any:
    settings = folder / "tokenizer_config.json"
    named = json.loads(settings.read_text()).get("tokenizer_class") if settings.is_file() else None
    if named in _PLAIN_CLASSES and (folder / "tokenizer.json").is_file():
        from transformers import PreTrainedTokenizerFast

        return PreTrainedTokenizerFast.from_pretrained(folder)
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


def check_model(folder: Path, tokenizer: Any, sequence_length: int, field: str) -> None:
    """Refuse sequences or tokens that the model has no position or embedding for.

    Raises:
        SpecError: Naming the field and the model's limit.
        DataError: If the tokenizer does not belong to the model.
    """
    config = json.loads((folder / "config.json").read_text())
    config = config.get("text_config", config)
    longest = config.get("max_position_embeddings")
    if longest is not None and sequence_length > longest:
        raise SpecError(
            f"{field}: {sequence_length} is over the model's max_position_embeddings, {longest}",
            f"use at most {longest}",
        )
    rows = config.get("vocab_size")
    if rows is not None and len(tokenizer) > rows:
        raise DataError(
            f"{folder}: the tokenizer has {len(tokenizer)} tokens, the model embeds {rows}",
            "use the tokenizer that the model was trained with",
        )


def document_end_id(tokenizer: Any) -> int:
    """The id of the token after each document: ``<|endoftext|>`` if known, else the eos token.

    Raises:
        DataError: If the tokenizer has neither.
    """
    known = tokenizer.backend_tokenizer.token_to_id(DOCUMENT_END)
    known = tokenizer.eos_token_id if known is None else known
    if known is None:
        raise DataError(
            f"{tokenizer.name_or_path}: the tokenizer has neither `{DOCUMENT_END}` nor an eos "
            "token, so documents cannot be ended",
            "set `eos_token` in its tokenizer_config.json",
        )
    return int(known)


class TextEncoder:
    """Encodes documents.

    What looks like a control token inside a text is spelled out as ordinary text, so that no
    document can end or begin another. A tokenizer that starts texts with its bos token does so
    here too.

    Args:
        tokenizer: A fast tokenizer; its backend is set to spell control tokens out.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._backend = tokenizer.backend_tokenizer
        self._backend.no_truncation()
        self._backend.no_padding()
        self._backend.encode_special_tokens = True
        self._end = document_end_id(tokenizer)
        starts = self._backend.encode("").ids[:1] == [tokenizer.bos_token_id]
        self._start = [tokenizer.bos_token_id] if starts else []

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._backend.encode_special_tokens = True  # which is not pickled

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """Token ids of each text, its end token last."""
        encodings = self._backend.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.array([*self._start, *e.ids, self._end], dtype=np.int32) for e in encodings]


def split(ids: NDArray[np.int32], length: int) -> list[NDArray[np.int32]]:
    """Consecutive pieces of at most ``length`` tokens, none lost."""
    return [ids[i : i + length] for i in range(0, len(ids), length)]
