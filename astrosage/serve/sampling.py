"""Choosing next tokens for rows that each have their own parameters and random number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from astrosage.serve.engine import TokenScore

# Below this a temperature is greedy: dividing by less only rounds the other tokens to zero.
_GREEDY_BELOW = 1e-4
# JSON has no infinity; OpenAI's API uses this value for what is impossible.
_IMPOSSIBLE = -9999.0


def choose(logits: Tensor, temperature: Tensor, top_p: Tensor, uniform: Tensor) -> Tensor:
    """One token for each row.

    Sampling inverts the cumulative distribution in token order, so one uniform number decides a
    row: other rows never change its draw, and small rounding differences rarely do.

    Args:
        logits: [N, V].
        temperature: [N]; zero is greedy.
        top_p: [N], nucleus mass (Holtzman et al. 2020, arXiv:1904.09751).
        uniform: [N], in [0, 1).

    Returns:
        Token ids [N].
    """
    tokens = logits.argmax(-1)
    rows = (temperature >= _GREEDY_BELOW).nonzero().flatten()
    if len(rows):
        scaled = logits[rows] - logits[rows].amax(-1, keepdim=True)
        probabilities = (scaled / temperature[rows, None]).softmax(-1)
        if bool((top_p[rows] < 1).any()):
            probabilities = _nucleus(probabilities, top_p[rows, None])
        cumulative = probabilities.double().cumsum(-1)
        target = uniform[rows, None].double() * cumulative[:, -1:]
        drawn = torch.searchsorted(cumulative, target, right=True).flatten()
        tokens[rows] = drawn.clamp_max(logits.shape[-1] - 1)
    return tokens


def scores(logits: Tensor, token_ids: Sequence[int], top: int) -> list[TokenScore]:
    """Log-probabilities of given tokens and of the likeliest ones.

    Args:
        logits: [N, V] of the model itself.
        token_ids: N tokens, one a row.
        top: How many of the likeliest tokens to report.
    """
    logprobs = logits.float().log_softmax(-1)
    index = torch.tensor(list(token_ids), device=logits.device)
    own = _finite(logprobs.gather(-1, index[:, None]).flatten())
    best, best_ids = logprobs.topk(min(top, logits.shape[-1]), dim=-1)
    tops = [
        tuple(zip(ids, values, strict=True))
        for ids, values in zip(best_ids.tolist(), _finite(best), strict=True)
    ]
    return [TokenScore(t, p, a) for t, p, a in zip(token_ids, own, tops, strict=True)]


def _nucleus(probabilities: Tensor, top_p: Tensor) -> Tensor:
    """[N, V] with everything outside the smallest set of mass ``top_p`` ([N, 1]) at zero."""
    ordered, order = probabilities.sort(stable=True, dim=-1, descending=True)
    keep = ordered.cumsum(-1) - ordered < top_p
    keep[:, 0] = True
    return torch.zeros_like(probabilities).scatter_(-1, order, ordered * keep)


def _finite(values: Tensor) -> Any:
    return values.nan_to_num(_IMPOSSIBLE).clamp_min(_IMPOSSIBLE).tolist()
