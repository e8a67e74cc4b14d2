"""Real text as packed rows: the sample articles, joined into documents of varying length."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ARTICLES = Path(__file__).resolve().parents[2] / "examples/data/articles"
_MOST_TOKENS_IN_VOCABULARY = 8_192


def articles(vocabulary: int) -> list[list[int]]:
    """The sample articles as token ids below ``vocabulary``.

    The byte-pair vocabulary is learnt from the articles themselves, so no tokenizer is fetched.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    texts = [file.read_text(encoding="utf-8") for file in sorted(ARTICLES.glob("*.md"))]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=min(vocabulary, _MOST_TOKENS_IN_VOCABULARY),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return [list(encoded.ids) for encoded in tokenizer.encode_batch(texts)]


def documents(pieces: list[list[int]], mean: int, longest: int, seed: int = 0) -> Iterator[Any]:
    """Documents without end: articles joined until a length drawn from a log-normal is reached.

    Args:
        pieces: Token ids of the articles.
        mean: Tokens a document has in the middle (the distribution's median).
        longest: No document is longer.
        seed: Decides lengths and order.
    """
    choose = random.Random(seed)
    while True:
        wanted = min(longest, max(2, round(choose.lognormvariate(np.log(mean), 0.8))))
        document: list[int] = []
        while len(document) < wanted:
            document += choose.choice(pieces)
        yield document[:wanted]


def rows(
    source: Iterator[Any], count: int, length: int
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.uint8]]:
    """``count`` full rows of ``length`` tokens; the last document of a row is cut.

    Returns:
        Tokens, segments (1, 2, … by document) and loss mask, each ``[count, length]``.
    """
    tokens = np.zeros((count, length), dtype=np.int32)
    segments = np.zeros((count, length), dtype=np.int32)
    mask = np.ones((count, length), dtype=np.uint8)
    for row in range(count):
        begin, segment = 0, 0
        while begin < length:
            document = next(source)[: length - begin]
            segment += 1
            end = begin + len(document)
            tokens[row, begin:end], segments[row, begin:end] = document, segment
            mask[row, begin] = 0
            begin = end
    return tokens, segments, mask
