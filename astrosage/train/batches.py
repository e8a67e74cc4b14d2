"""From packed rows to what the model is fed: documents end to end, padding left out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class FlatBatch:
    """A micro-batch without padding.

    Attributes:
        tokens: ``[1, N]`` token ids.
        positions: ``[1, N]`` positions, starting over at 0 in each document.
        lengths: Tokens of each document, summing to N.
        learnt: ``[M]`` positions in N whose next token is learnt.
        targets: ``[M]`` those next tokens.
    """

    tokens: Tensor
    positions: Tensor
    lengths: list[int]
    learnt: Tensor
    targets: Tensor

    def to(self, device: torch.device) -> FlatBatch:
        """The batch on another device."""
        return FlatBatch(
            self.tokens.to(device, non_blocking=True),
            self.positions.to(device, non_blocking=True),
            self.lengths,
            self.learnt.to(device, non_blocking=True),
            self.targets.to(device, non_blocking=True),
        )


def flatten(
    tokens: NDArray[np.int32], segments: NDArray[np.int32], mask: NDArray[np.uint8]
) -> FlatBatch:
    """Lay the documents of packed rows end to end.

    Args:
        tokens: ``[B, T]`` token ids.
        segments: ``[B, T]`` document number inside the row, 0 for padding.
        mask: ``[B, T]`` 1 where the token is learnt; never the first of a document.
    """
    rows = np.arange(len(tokens), dtype=np.int64)[:, None]
    real = segments > 0
    document = (rows * (int(segments.max(initial=0)) + 1) + segments)[real]
    flat = tokens[real].astype(np.int64)
    starts = np.flatnonzero(np.diff(document, prepend=-1))
    lengths = np.diff(starts, append=len(flat))
    learnt = np.flatnonzero(mask[real])
    return FlatBatch(
        tokens=torch.from_numpy(flat)[None],
        positions=torch.from_numpy(np.arange(len(flat)) - np.repeat(starts, lengths))[None],
        lengths=lengths.tolist(),
        learnt=torch.from_numpy(learnt - 1),
        targets=torch.from_numpy(flat[learnt]),
    )
