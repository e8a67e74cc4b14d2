"""Perplexity of held-out texts: how well a model foretells text that it was not trained on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from astrosage.bench.language_model import LanguageModel

WINDOW = 2048
# Positions computed at once.
_BATCH_TOKENS = 4096


@dataclass(frozen=True, slots=True)
class Likelihood:
    """A document's negative log-likelihood.

    Attributes:
        nats: Summed over its tokens.
        tokens: How many there are.
        bytes: Length of its text in UTF-8.
    """

    nats: float
    tokens: int
    bytes: int


def likelihoods(
    model: LanguageModel, documents: Sequence[str], *, plain: bool = False
) -> list[Likelihood]:
    """Score documents from their first token on.

    The first token is predicted from the tokenizer's beginning-of-text token (end-of-text where
    there is none). Documents longer than the model's positions, or than ``WINDOW``, are cut into
    windows that follow each other; a window's first token is predicted from the last token of the
    one before, as lm-evaluation-harness does for rolling log-likelihoods.

    Args:
        model: The model.
        documents: Texts.
        plain: Use the model's own forward pass, window by window.
    """
    size = min(WINDOW, model.max_positions)
    windows = [
        (index, inputs, targets)
        for index, text in enumerate(documents)
        for inputs, targets in _windows(model, text, size)
    ]
    nats, tokens = [0.0] * len(documents), [0] * len(documents)
    for batch in _batches(sorted(windows, key=lambda w: (-len(w[1]), w[0]))):
        for (index, _, targets), value in zip(batch, _score(model, batch, plain), strict=True):
            nats[index] += value
            tokens[index] += len(targets)
    return [
        Likelihood(n, t, len(text.encode()))
        for n, t, text in zip(nats, tokens, documents, strict=True)
    ]


def summarize(found: Sequence[Likelihood]) -> dict[str, Any]:
    """Perplexity over all tokens, and bits per byte, which tokenizers cannot change."""
    nats, tokens = math.fsum(f.nats for f in found), sum(f.tokens for f in found)
    size = sum(f.bytes for f in found)
    return {
        "perplexity": math.exp(min(nats / tokens, 700.0)) if tokens else None,
        "bitsPerByte": nats / math.log(2) / size if size else None,
        "tokens": tokens,
        "documents": len(found),
    }


def _windows(model: LanguageModel, text: str, size: int) -> Iterator[tuple[list[int], list[int]]]:
    ids = model.encode(text, special=False)
    first = model.tokenizer.bos_token_id
    if first is None:
        first = model.end_ids[0] if model.end_ids else model.pad_id
    shifted = [int(first), *ids]
    for begin in range(0, len(ids), size):
        yield shifted[begin : min(begin + size, len(ids))], ids[begin : begin + size]


_Window = tuple[int, list[int], list[int]]


def _batches(windows: Sequence[_Window]) -> Iterator[list[_Window]]:
    """Windows, longest first, in groups of at most ``_BATCH_TOKENS`` padded positions."""
    batch: list[_Window] = []
    for window in windows:
        if batch and (len(batch) + 1) * len(batch[0][1]) > _BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(window)
    if batch:
        yield batch


@torch.inference_mode()
def _score(model: LanguageModel, batch: Sequence[_Window], plain: bool) -> list[float]:
    if plain:
        return [
            -model.plain_log_probabilities([*inputs, targets[-1]], 1).double().sum().item()
            for _, inputs, targets in batch
        ]
    width = max(len(inputs) for _, inputs, _ in batch)
    padded = [inputs + [model.pad_id] * (width - len(inputs)) for _, inputs, _ in batch]
    # Causal attention never looks at the padding on the right, so no mask is needed.
    hidden = model.hidden(model.tensor(padded), None, None)
    lengths = [len(targets) for _, _, targets in batch]
    kept = torch.cat([row[:n] for row, n in zip(hidden, lengths, strict=True)])
    wanted = model.tensor([t for _, _, targets in batch for t in targets])
    every = torch.arange(len(wanted), device=model.device)
    found = model.log_probabilities(kept, every, wanted).double()
    return [-part.sum().item() for part in torch.split(found, lengths)]
