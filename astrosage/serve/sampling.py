"""Choosing next tokens for rows that each have their own parameters and noise."""

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


def choose(
    logits: Tensor, temperature: Tensor, top_p: Tensor, generators: Sequence[torch.Generator]
) -> Tensor:
    """One token for each row.

    Sampling adds noise to the logits and takes the best (the Gumbel-max trick). Rows have their
    own noise, so neighbours never change a draw, and rounding differences between batches, which
    are small against the noise, rarely do; inverting a cumulative distribution would sum them up.

    Args:
        logits: [N, V].
        temperature: [N]; zero is greedy.
        top_p: [N], nucleus mass (Holtzman et al. 2020, arXiv:1904.09751).
        generators: N sources of noise, on the logits' device; greedy rows leave theirs alone.

    Returns:
        Token ids [N].
    """
    tokens = logits.argmax(-1)
    rows = (temperature >= _GREEDY_BELOW).nonzero().flatten()
    if len(rows):
        scaled = logits[rows] - logits[rows].amax(-1, keepdim=True)
        logprobs = (scaled / temperature[rows, None]).log_softmax(-1)
        if bool((top_p[rows] < 1).any()):
            logprobs = _nucleus(logprobs, top_p[rows, None])
        waits = torch.stack([_exponential(logprobs[0], generators[i]) for i in rows.tolist()])
        tokens[rows] = (logprobs - waits.log()).argmax(-1)
    return tokens


def scores(logits: Tensor, token_ids: Sequence[int], top: int) -> list[TokenScore]:
    """Log-probabilities of given tokens and of the likeliest ones.

    Args:
        logits: [N, V] of the model itself.
        token_ids: N tokens, one a row.
        top: How many of the likeliest tokens to report.
    """
    logits = logits.float()
    total = logits.logsumexp(-1, keepdim=True)
    index = torch.tensor(list(token_ids), device=logits.device)
    own = _finite((logits.gather(-1, index[:, None]) - total).flatten())
    best, best_ids = logits.topk(min(top, logits.shape[-1]), dim=-1)
    tops = [
        tuple(zip(ids, values, strict=True))
        for ids, values in zip(best_ids.tolist(), _finite(best - total), strict=True)
    ]
    return [TokenScore(t, p, a) for t, p, a in zip(token_ids, own, tops, strict=True)]


def _nucleus(logprobs: Tensor, top_p: Tensor) -> Tensor:
    """[N, V] with everything outside the smallest set of mass ``top_p`` ([N, 1]) at -inf."""
    ordered, order = logprobs.sort(stable=True, dim=-1, descending=True)
    mass = ordered.exp()
    outside = mass.cumsum(-1) - mass >= top_p
    outside[:, 0] = False
    return logprobs.scatter(-1, order, ordered.masked_fill(outside, -torch.inf))


def _exponential(like: Tensor, generator: torch.Generator) -> Tensor:
    """Exponential noise; minus its logarithm is Gumbel noise. Never zero, which has none."""
    return torch.empty_like(like).exponential_(generator=generator).clamp_min(1e-30)


def _finite(values: Tensor) -> Any:
    return values.nan_to_num(_IMPOSSIBLE).clamp_min(_IMPOSSIBLE).tolist()
