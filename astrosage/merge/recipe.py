"""Which weight and density each donor has for each tensor."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from astrosage.errors import SpecError
from astrosage.spec.base import did_you_mean
from astrosage.spec.merge import MergeOverride, MergeSpec

# What the layers are called in Llama and its kin, in GPT-2, in GPT-NeoX and in older MPT.
_LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks)\.(\d+)\.")


@dataclass(frozen=True, slots=True)
class Share:
    """One donor's part in one tensor."""

    weight: float
    density: float


class Recipe:
    """A merge's values, tensor by tensor.

    Args:
        spec: The stage's options.
        names: All tensors of the models.
        field: Where the options stand in the run file, for messages.

    Raises:
        SpecError: For an override that no tensor has, or weights that cannot be normalized.
    """

    def __init__(self, spec: MergeSpec, names: Sequence[str], field: str) -> None:
        self._spec = spec
        self._layers = {name: int(m[1]) for name in names if (m := _LAYER.search(name))}
        self._count = max(self._layers.values(), default=-1) + 1
        self._check_overrides(names, field)
        donors = range(len(spec.models))
        self._shares = {name: [self._share(i, name) for i in donors] for name in names}
        if spec.normalize and spec.method in ("linear", "dare_linear"):
            self._check_sums(field)

    def shares(self, name: str) -> list[Share]:
        """Each donor's part in a tensor, in the order of the run file."""
        return self._shares[name]

    def densities(self, donor: int) -> list[float]:
        """All densities that a donor has for some tensor, ascending."""
        return sorted({shares[donor].density for shares in self._shares.values()})

    def _share(self, donor: int, name: str) -> Share:
        model = self._spec.models[donor]
        weight, density = model.weight, model.density
        for override in model.overrides:
            if self._matches(override, name):
                at = self._position(override, name)
                weight = _pick(override.weight, override.weights, at, weight)
                density = _pick(override.density, override.densities, at, density)
        return Share(weight, density)

    def _matches(self, override: MergeOverride, name: str) -> bool:
        if not fnmatchcase(name, override.tensors):
            return False
        if override.layers is None:
            return True
        first, last = override.layer_range()
        return name in self._layers and first <= self._layers[name] <= last

    def _position(self, override: MergeOverride, name: str) -> float | None:
        """How far a tensor's layer is from the first (0) to the last (1) of an override."""
        if name not in self._layers:
            return None
        first, last = override.layer_range() if override.layers else (0, self._count - 1)
        last = min(last, self._count - 1)
        return (self._layers[name] - first) / (last - first) if last > first else 0.0

    def _check_overrides(self, names: Sequence[str], field: str) -> None:
        for i, model in enumerate(self._spec.models):
            for j, override in enumerate(model.overrides):
                if any(self._matches(override, name) for name in names):
                    continue
                where = f"{field}.models[{i}].overrides[{j}]"
                raise SpecError(
                    f"{where}: no tensor is called `{override.tensors}`"
                    + (f" in layers {override.layers}" if override.layers else ""),
                    f"the models have layers 0 to {self._count - 1}; of their tensors, "
                    + did_you_mean(override.tensors, _kinds(names)),
                )

    def _check_sums(self, field: str) -> None:
        for name, shares in self._shares.items():
            if sum(s.weight for s in shares) == 0:
                raise SpecError(
                    f"{field}.models: the weights of {name} sum to 0 and cannot be normalized",
                    "change an override, or set `normalize: false`",
                )


def _pick(one: float | None, many: list[float] | None, at: float | None, before: float) -> float:
    if one is not None:
        return one
    if many is None or at is None:
        return before
    place = at * (len(many) - 1)
    left = min(int(place), len(many) - 2)
    return many[left] + (place - left) * (many[left + 1] - many[left])


def _kinds(names: Sequence[str]) -> list[str]:
    """Patterns of the names, one for all layers."""
    return sorted({re.sub(r"\.\d+\.", ".*.", name) for name in names})
