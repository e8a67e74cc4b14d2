"""Models that fit each other, and how any piece of the merged one is made of theirs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from astrosage.merge import magnitude, methods
from astrosage.merge.alike import check_alike
from astrosage.merge.recipe import Recipe
from astrosage.merge.tensors import ModelTensors, check_finite, pieces
from astrosage.spec.merge import MergeSpec

Thresholds = list[dict[float, float]]
"""For each donor, the magnitude below which its differences are trimmed, by density."""


@dataclass(frozen=True, slots=True)
class Whole:
    """What must be known of a whole tensor before its pieces can be merged.

    Attributes:
        slerp: Factors of the base and of the donor.
        trimmed: TIES's threshold of each donor.
    """

    slerp: tuple[float, float] = (1.0, 0.0)
    trimmed: tuple[float, ...] = ()


class Merger:
    """Merges piece by piece; safe from several threads.

    Args:
        spec: The stage's options.
        donors: In the order of ``spec.models``.
        base: What differences are taken from; None for a linear merge.
        field: Where the options stand in the run file, for messages.

    Raises:
        DataError, SpecError: If the models do not fit each other or the options.
    """

    def __init__(
        self, spec: MergeSpec, donors: list[ModelTensors], base: ModelTensors | None, field: str
    ) -> None:
        models = [base, *donors] if base else donors
        check_alike(models)
        self._spec, self._donors, self._base = spec, donors, base
        self._dtype = torch.float32 if spec.arithmetic == "float32" else torch.bfloat16
        self.shapes = {name: donors[0].shape(name) for name in donors[0].names()}
        self.source = models[0].folder
        self.size = sum(m.size for m in models)
        self.recipe = Recipe(spec, list(self.shapes), field)

    def count(
        self, donor: int, name: str, piece: tuple[int, int], upper: int | None
    ) -> magnitude.Counts:
        """A donor's differences in a piece, counted by :func:`magnitude.count`."""
        return magnitude.count(self._delta(donor, name, piece), upper)

    def whole(self, name: str, thresholds: Thresholds) -> Whole:
        """Look through a whole tensor, where its method needs that.

        Args:
            name: The tensor.
            thresholds: The whole model's; not needed where each tensor is trimmed for itself.
        """
        shares = self.recipe.shares(name)
        if self._spec.method == "slerp":
            return Whole(slerp=methods.slerp_shares(*self._products(name), shares[0].weight))
        if self._spec.method != "ties":
            return Whole()
        if self._spec.trim == "model":
            return Whole(trimmed=tuple(thresholds[i][s.density] for i, s in enumerate(shares)))
        return Whole(trimmed=tuple(self._threshold(i, name) for i in range(len(shares))))

    def piece(self, name: str, piece: tuple[int, int], whole: Whole) -> Tensor:
        """The merged entries of a piece, bf16.

        Raises:
            DataError: If they, or what they are made of, are not finite.
        """
        merged = self._merged(name, piece, whole).to(torch.bfloat16)
        check_finite(merged, f"the merged weight {name}")
        return merged

    def _merged(self, name: str, piece: tuple[int, int], whole: Whole) -> Tensor:
        spec, shares = self._spec, self.recipe.shares(name)
        weights = [s.weight for s in shares]
        if self._base is None:
            tensors = [d.read(name, *piece, self._dtype) for d in self._donors]
            return methods.linear(tensors, weights, normalize=spec.normalize)
        base = self._base.read(name, *piece, self._dtype)
        if spec.method == "slerp":
            ends = [base, self._donors[0].read(name, *piece, self._dtype)]
            return methods.linear(ends, whole.slerp, normalize=False)
        deltas = [d.read(name, *piece, self._dtype).sub_(base) for d in self._donors]
        for i, (delta, share) in enumerate(zip(deltas, shares, strict=True)):
            if spec.method == "ties":
                methods.trim(delta, whole.trimmed[i])
            else:
                methods.drop_and_rescale(delta, share.density, spec.seed, i, name, piece[0])
        join = methods.linear if spec.method == "dare_linear" else methods.elect_and_merge
        return base.add_(join(deltas, weights, normalize=spec.normalize), alpha=spec.scale)

    def _delta(self, donor: int, name: str, piece: tuple[int, int]) -> Tensor:
        assert self._base is not None, "the spec requires a base"
        base = self._base.read(name, *piece, self._dtype)
        return self._donors[donor].read(name, *piece, self._dtype).sub_(base)

    def _products(self, name: str) -> tuple[float, float, float]:
        """Squared norms of base and donor, and their scalar product, in fp64."""
        found = torch.zeros(3, dtype=torch.float64)
        for a, b in self._ends(name):
            found += torch.stack([a @ a, b @ b, a @ b])
        start, end, product = found.tolist()
        return start, end, product

    def _ends(self, name: str) -> Iterator[tuple[Tensor, Tensor]]:
        assert self._base is not None, "the spec requires a base"
        for piece in pieces(self.shapes[name]):
            yield (
                self._base.read(name, *piece, torch.float64),
                self._donors[0].read(name, *piece, torch.float64),
            )

    def _threshold(self, donor: int, name: str) -> float:
        density = self.recipe.shares(name)[donor].density
        every = pieces(self.shapes[name])

        def counted(upper: int | None) -> magnitude.Counts:
            return magnitude.total(self.count(donor, name, p, upper) for p in every)

        return magnitude.thresholds(counted, [density])[density]
