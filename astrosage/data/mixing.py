"""How often the records of each source are seen, so that sources have the shares that are wanted.

Sources with a ``share`` get that part of all training tokens. The others are taken as their
``weight`` or ``epochs`` says, or by temperature: in proportion to n^(1/T), n being their tokens
times their weight (Devlin et al. 2018, multilingual BERT; Raffel et al. 2020, T5, section 3.5.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from astrosage.errors import DataError
from astrosage.spec.mixture import Mixture
from astrosage.spec.sources import Source


@dataclass(frozen=True)
class Part:
    """A source's part of the mixture.

    Attributes:
        epochs: How often each of its records is seen.
        share: Its expected share of the training tokens.
    """

    epochs: float
    share: float


def needs_mixing(sources: Sequence[Source], mixture: Mixture) -> bool:
    """Whether the tokens of all sources must be known before any record's copies are."""
    return mixture.temperature is not None or any(s.share is not None for s in sources)


def proportions(
    sources: Sequence[Source], tokens: Sequence[int], mixture: Mixture, field: str
) -> list[Part]:
    """Epochs and expected share of each source.

    Without ``share``, by temperature, the size is such that no source is seen less than its weight
    says. With some, the others fix the size; if all have one, it is the largest at which no record
    is seen more than once. Nothing is seen more than ``maxEpochs`` times; where that bounds a
    source, the others keep what they have, and all shares shift.

    Args:
        sources: As the run file has them.
        tokens: Training tokens of each, every record once.
        mixture: Its options.
        field: The stage's place in the run file.

    Raises:
        DataError: If a source with a share has no tokens, or there are none at all.
    """
    for i, (source, count) in enumerate(zip(sources, tokens, strict=True)):
        if source.share is not None and not count:
            raise DataError(
                f"{field}.sources[{i}].share: {source.path} has no training tokens, so it cannot "
                f"have {source.share:g} of them",
                "loosen what leaves its records out (`clean`, `deduplicate`, `licenses`, "
                "`validation`), or take the share back",
            )
    if not any(tokens):
        raise DataError(
            f"{field}.mixture: the sources have no training tokens", "add sources or keep more"
        )
    wanted = _wanted(sources, tokens, mixture)
    epochs = [
        min(want / count, max(mixture.max_epochs, s.times)) if count else 0.0
        for s, want, count in zip(sources, wanted, tokens, strict=True)
    ]
    total = sum(e * n for e, n in zip(epochs, tokens, strict=True))
    return [Part(e, e * n / total) for e, n in zip(epochs, tokens, strict=True)]


def _wanted(sources: Sequence[Source], tokens: Sequence[int], mixture: Mixture) -> list[float]:
    """Tokens that each source is to give."""
    shares = [s.share for s in sources]
    sizes = [
        s.times * n if share is None else 0.0
        for s, n, share in zip(sources, tokens, shares, strict=True)
    ]
    given = _tempered(sizes, mixture.temperature) if mixture.temperature else sizes
    stated = sum(s for s in shares if s is not None)
    if any(given):
        total = sum(given) / (1 - stated)
    else:
        total = min(n / s for n, s in zip(tokens, shares, strict=True) if s is not None)
    return [g if s is None else s * total for g, s in zip(given, shares, strict=True)]


def _tempered(sizes: Sequence[float], temperature: float) -> list[float]:
    """Sizes to the power of 1/T, such that the largest stays as it is."""
    most = max(sizes)
    if not most:
        return list(sizes)
    return [most * (size / most) ** (1 / temperature) for size in sizes]
