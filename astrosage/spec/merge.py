"""What a merge stage may be told."""

from __future__ import annotations

import itertools
from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from astrosage.spec.base import SpecModel
from astrosage.spec.kubernetes import Quantity, rule, rules

Density = Annotated[float, Field(gt=0.0, le=1.0)]


class MergeOverride(SpecModel):
    """Other values for some of a donor's tensors."""

    model_config = rules(
        rule(
            "!(has(self.weight) && has(self.weights)) && "
            "!(has(self.density) && has(self.densities))",
            "give one value or a list of values over the layers, not both",
        ),
        rule(
            "has(self.weight) || has(self.weights) || has(self.density) || has(self.densities)",
            "give `weight`, `weights`, `density` or `densities`",
        ),
    )

    tensors: str = Field(default="*", min_length=1)
    """Pattern of their names, such as `*.self_attn.*`."""
    layers: str | None = Field(default=None, pattern=r"^[0-9]+(-[0-9]+)?$")
    """Only in these layers, counted from 0: `7`, or `0-15` with both ends."""
    weight: float | None = None
    """Instead of the donor's `weight`."""
    density: Density | None = None
    """Instead of the donor's `density`."""
    weights: list[float] | None = Field(default=None, min_length=2, max_length=1024)
    """Weights spread evenly over the layers, first to last; between them a straight line. Tensors
    outside layers keep theirs."""
    densities: list[Density] | None = Field(default=None, min_length=2, max_length=1024)
    """Densities, in the same way."""

    @model_validator(mode="after")
    def _one_of_each(self) -> MergeOverride:
        for one, many in (("weight", "weights"), ("density", "densities")):
            if getattr(self, one) is not None and getattr(self, many) is not None:
                raise PydanticCustomError(
                    "exclusive",
                    "give `{one}` or `{many}`, not both",
                    {"one": one, "many": many},
                )
        if all(v is None for v in (self.weight, self.weights, self.density, self.densities)):
            raise PydanticCustomError(
                "nothing", "says nothing: give `weight`, `weights`, `density` or `densities`"
            )
        if self.layers is not None:
            first, last = self.layer_range()
            if first > last:
                raise PydanticCustomError(
                    "layers",
                    "`layers: {found}` ends before it starts; write `{last}-{first}`",
                    {"found": self.layers, "first": first, "last": last},
                )
        return self

    def layer_range(self) -> tuple[int, int]:
        """First and last layer of ``layers``, which must be given."""
        assert self.layers is not None
        first, _, last = self.layers.partition("-")
        return int(first), int(last or first)


class MergeModel(SpecModel):
    """One donor of a merge."""

    model: str
    """A stage, alias, path or hub id."""
    weight: float = 1.0
    """Its share; for slerp how far to go from the base, 0 to 1."""
    density: Density = 1.0
    """Share of its difference from the base that is kept (ties, dare_linear, dare_ties)."""
    overrides: list[MergeOverride] = Field(default=[], max_length=32)
    """Other values by layer or by tensor; of several that match, the last one counts."""

    def all_weights(self) -> list[float]:
        """Every weight that may be used for some tensor."""
        single = [o.weight for o in self.overrides if o.weight is not None]
        return [self.weight, *single, *itertools.chain(*(o.weights or [] for o in self.overrides))]


Method = Literal["linear", "slerp", "ties", "dare_linear", "dare_ties"]


class MergeSpec(SpecModel):
    """Combine models of one architecture."""

    model_config = rules(
        rule(
            "(self.method == 'linear') != has(self.base)", "base belongs to every method but linear"
        ),
        rule(
            "self.method != 'slerp' || size(self.models) == 1",
            "slerp joins base and exactly one model",
        ),
    )

    method: Method = "linear"
    """TIES: Yadav et al. 2023; DARE: Yu et al. 2024; `dare_linear` with all densities 1 is task
    arithmetic (Ilharco et al. 2023)."""
    base: str | None = None
    """What differences are taken from (ties, dare_linear, dare_ties), or the first end (slerp)."""
    models: list[MergeModel] = Field(min_length=1, max_length=64)
    """The donors."""
    normalize: bool = True
    """Divide by the sum of the weights, for ties and dare_ties by that of the donors which agree in
    sign; a single such donor's weight then cancels out, and `false` keeps it."""
    scale: float = 1.0
    """What the merged difference is multiplied by before the base is added: λ of the TIES paper."""
    trim: Literal["model", "tensor"] = "model"
    """Whether ties keeps the largest differences of the whole model, as its paper does, or of each
    tensor, as some tools do."""
    seed: int = 0
    """Seeds DARE's random drops."""
    arithmetic: Literal["float32", "bfloat16"] = "float32"
    """What merging computes in; the result is bf16 in any case. bfloat16 rounds at each step."""
    shard_size: Quantity = "4Gi"
    """Largest weight file of the result; a larger tensor has a file of its own."""

    @model_validator(mode="after")
    def _base_where_needed(self) -> MergeSpec:
        if self.method != "linear" and self.base is None:
            raise PydanticCustomError(
                "base_needed", "method `{method}` needs `base`", {"method": self.method}
            )
        if self.method == "linear" and self.base is not None:
            raise PydanticCustomError(
                "no_base", "method `linear` has no `base`; list it under `models` with its weight"
            )
        return self

    @model_validator(mode="after")
    def _weights_that_work(self) -> MergeSpec:
        if self.method == "slerp" and len(self.models) != 1:
            raise PydanticCustomError(
                "slerp_models",
                "slerp joins `base` and exactly one model, found {n}",
                {"n": len(self.models)},
            )
        outside = [w for w in self.models[0].all_weights() if not 0 <= w <= 1]
        if self.method == "slerp" and outside:
            raise PydanticCustomError(
                "slerp_weight",
                "slerp's weight says how far from `base` to go, 0 to 1; found {w}",
                {"w": outside[0]},
            )
        divides = self.method in ("linear", "dare_linear") and self.normalize
        if divides and sum(m.weight for m in self.models) == 0:
            raise PydanticCustomError(
                "weights", "the weights sum to 0 and cannot be normalized; set `normalize: false`"
            )
        return self
