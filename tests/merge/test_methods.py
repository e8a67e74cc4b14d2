import math
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from astrosage.merge import magnitude, methods

SEEDS = st.integers(0, 10_000)


def vectors(count: int, seed: int, size: int = 40) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(size, generator=generator) for _ in range(count)]


def ties(
    deltas: list[torch.Tensor], weights: list[float], density: float, *, normalize: bool
) -> torch.Tensor:
    trimmed = [
        methods.trim(
            d.clone(), magnitude.thresholds(partial(magnitude.count, d), [density])[density]
        )
        for d in deltas
    ]
    return methods.elect_and_merge(trimmed, weights, normalize=normalize)


def ties_by_hand(
    deltas: list[list[float]], weights: list[float], density: float, *, normalize: bool
) -> list[float]:
    """TIES in plain Python, entry by entry, from the paper's algorithm 1."""
    trimmed = []
    for delta in deltas:
        kept = max(1, round(density * len(delta)))
        order = sorted(range(len(delta)), key=lambda i: -abs(delta[i]))
        keep = set(order[:kept])
        trimmed.append([v if i in keep else 0.0 for i, v in enumerate(delta)])
    merged = []
    for i in range(len(deltas[0])):
        mass = sum(w * d[i] for w, d in zip(weights, trimmed, strict=True))
        agreeing = [(w, d[i]) for w, d in zip(weights, trimmed, strict=True) if w * d[i] * mass > 0]
        total = sum((w * v for w, v in agreeing), 0.0)
        share = sum(abs(w) for w, _ in agreeing)
        merged.append((total / share if share else 0.0) if normalize else total)
    return merged


@given(
    seed=SEEDS,
    density=st.floats(0.05, 1.0),
    weights=st.lists(st.floats(-1.0, 1.0).map(lambda w: round(w, 2)), min_size=3, max_size=3),
    normalize=st.booleans(),
)
@settings(max_examples=80, deadline=None)
def test_ties_equals_the_algorithm_by_hand(
    seed: int, density: float, weights: list[float], normalize: bool
) -> None:
    deltas = vectors(3, seed)
    expected = ties_by_hand([d.tolist() for d in deltas], weights, density, normalize=normalize)
    found = ties(deltas, weights, density, normalize=normalize)
    torch.testing.assert_close(found, torch.tensor(expected), atol=1e-5, rtol=1e-4)


@given(seed=SEEDS, density=st.floats(0.05, 1.0), order=st.permutations(range(3)))
@settings(max_examples=30, deadline=None)
def test_the_order_of_donors_does_not_matter(seed: int, density: float, order: list[int]) -> None:
    deltas, weights = vectors(3, seed), [0.7, 0.2, 0.4]
    moved, moved_weights = [deltas[i] for i in order], [weights[i] for i in order]
    for normalize in (True, False):
        torch.testing.assert_close(
            ties(moved, moved_weights, density, normalize=normalize),
            ties(deltas, weights, density, normalize=normalize),
        )
        torch.testing.assert_close(
            methods.linear(moved, moved_weights, normalize=normalize),
            methods.linear(deltas, weights, normalize=normalize),
        )


def test_opposed_deltas_of_equal_mass_elect_no_sign() -> None:
    deltas = [torch.tensor([1.0, 2.0, 3.0]), torch.tensor([-1.0, -1.0, 3.0])]
    merged = methods.elect_and_merge(deltas, [1.0, 1.0], normalize=True)
    assert merged.tolist() == [0.0, 2.0, 3.0]


@given(seed=SEEDS, weight=st.floats(0.1, 2.0))
@settings(deadline=None)
def test_one_donor_of_full_density_is_task_arithmetic(seed: int, weight: float) -> None:
    (delta,) = vectors(1, seed)
    kept = methods.drop_and_rescale(delta.clone(), 1.0, seed, "w")
    merged = methods.elect_and_merge([kept], [weight], normalize=False)
    torch.testing.assert_close(merged, weight * delta)


@given(seed=SEEDS)
@settings(deadline=None)
def test_linear_of_equal_models_is_that_model(seed: int) -> None:
    (tensor,) = vectors(1, seed)
    merged = methods.linear([tensor] * 3, [0.2, 5.0, 1.0], normalize=True)
    torch.testing.assert_close(merged, tensor)


def slerp(a: torch.Tensor, b: torch.Tensor, t: float) -> torch.Tensor:
    products = [float(x.double() @ y.double()) for x, y in ((a, a), (b, b), (a, b))]
    start, end, product = products
    shares = methods.slerp_shares(start, end, product, t)
    return methods.linear([a, b], shares, normalize=False)


@given(seed=SEEDS, t=st.floats(0, 1))
@settings(deadline=None)
def test_slerp_keeps_the_length_of_unit_vectors_and_meets_both_ends(seed: int, t: float) -> None:
    a, b = (v / v.norm() for v in vectors(2, seed))
    assert float(slerp(a, b, t).norm()) == pytest.approx(1.0, abs=1e-4)
    torch.testing.assert_close(slerp(a, b, 0.0), a)
    torch.testing.assert_close(slerp(a, b, 1.0), b)


def test_slerp_goes_along_the_arc() -> None:
    a, b = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    half = slerp(a, b, 0.5)
    torch.testing.assert_close(half, torch.tensor([math.sqrt(0.5)] * 2))
    nearly = a + torch.tensor([0.0, 1e-5])
    torch.testing.assert_close(slerp(a, 3 * nearly, 0.5), (a + 3 * nearly) / 2)
    torch.testing.assert_close(slerp(a, -a, 0.25), 0.5 * a)  # opposite: no single arc
    assert not slerp(torch.zeros(2), torch.zeros(2), 0.5).any()


def test_dare_keeps_the_mean_and_the_share() -> None:
    delta = torch.ones(200_000)
    dropped = methods.drop_and_rescale(delta.clone(), 0.3, 1, "w")
    assert float((dropped != 0).float().mean()) == pytest.approx(0.3, abs=0.01)
    assert float(dropped.mean()) == pytest.approx(1.0, abs=0.03)
    assert set(dropped.tolist()) == {0.0, float(torch.tensor(1.0) / 0.3)}


def test_dare_depends_on_its_seed_only() -> None:
    delta = torch.ones(1000)
    first = methods.drop_and_rescale(delta.clone(), 0.5, 7, "a")
    torch.rand(10)  # other random numbers drawn in between change nothing
    assert torch.equal(first, methods.drop_and_rescale(delta.clone(), 0.5, 7, "a"))
    assert not torch.equal(first, methods.drop_and_rescale(delta.clone(), 0.5, 7, "b"))
    assert not torch.equal(first, methods.drop_and_rescale(delta.clone(), 0.5, 8, "a"))
