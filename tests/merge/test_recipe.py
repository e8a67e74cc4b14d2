import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astrosage.errors import SpecError
from astrosage.merge.recipe import Recipe
from astrosage.spec.merge import MergeSpec

NAMES = [
    "model.embed_tokens.weight",
    *(
        f"model.layers.{i}.{kind}.weight"
        for i in range(5)
        for kind in ("self_attn.q_proj", "mlp.up")
    ),
    "model.norm.weight",
]


def recipe(*overrides: dict[str, object], names: list[str] = NAMES) -> Recipe:
    donor = {"model": "a/b", "weight": 0.5, "density": 0.8, "overrides": list(overrides)}
    spec = MergeSpec.model_validate({"method": "ties", "base": "a/c", "models": [donor]})
    return Recipe(spec, names, "merge")


def weights(made: Recipe, kind: str) -> list[float]:
    return [made.shares(n)[0].weight for n in NAMES if kind in n]


def test_a_list_is_spread_over_the_layers() -> None:
    made = recipe({"weights": [0.0, 1.0, 0.0], "tensors": "*.mlp.*"})
    assert weights(made, "mlp") == [0.0, 0.5, 1.0, 0.5, 0.0]
    assert set(weights(made, "self_attn")) == {0.5}
    assert weights(made, "embed") == [0.5]


def test_layers_bound_what_a_list_is_spread_over() -> None:
    made = recipe({"densities": [0.2, 0.4], "layers": "1-3"})
    found = [made.shares(n)[0].density for n in NAMES if "mlp" in n]
    assert found == pytest.approx([0.8, 0.2, 0.3, 0.4, 0.8])
    assert made.densities(0) == pytest.approx([0.2, 0.3, 0.4, 0.8])


def test_the_last_override_counts_and_leaves_the_other_value() -> None:
    made = recipe({"weight": 0.1, "density": 0.3}, {"tensors": "*norm*", "weight": 0.9})
    share = made.shares("model.norm.weight")[0]
    assert (share.weight, share.density) == (0.9, 0.3)


@settings(deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=2, max_size=9), st.integers(1, 40))
def test_a_list_begins_and_ends_where_it_says_and_stays_within(
    values: list[float], layers: int
) -> None:
    names = [f"layers.{i}.w" for i in range(layers)]
    made = recipe({"weights": values}, names=names)
    found = [made.shares(n)[0].weight for n in names]
    assert found[0] == pytest.approx(values[0])
    assert layers == 1 or found[-1] == pytest.approx(values[-1])
    assert min(values) - 1e-9 <= min(found)
    assert max(found) <= max(values) + 1e-9


def test_weights_that_cancel_in_one_tensor_are_refused() -> None:
    models = [
        {"model": "a/b", "overrides": [{"tensors": "*norm*", "weight": -1}]},
        {"model": "a/c"},
    ]
    spec = MergeSpec.model_validate({"models": models})
    with pytest.raises(SpecError, match=re.escape("the weights of model.norm.weight sum to 0")):
        Recipe(spec, NAMES, "merge")


def test_an_override_that_meets_nothing_says_what_there_is() -> None:
    with pytest.raises(SpecError, match="in layers 7-9") as caught:
        recipe({"layers": "7-9", "weight": 1})
    assert "layers 0 to 4" in caught.value.hint
