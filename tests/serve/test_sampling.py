from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from astrosage.serve.sampling import choose, scores


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pick(logits: torch.Tensor, temperature: float, top_p: float, draws: int) -> list[int]:
    source = generator(0)
    chosen: list[int] = choose(
        logits.expand(draws, -1),
        torch.full((draws,), temperature),
        torch.full((draws,), top_p),
        [source] * draws,
    ).tolist()
    return chosen


@given(st.integers(0, 10_000), st.floats(0.05, 2), st.floats(0, 1))
@settings(deadline=None)
def test_a_row_does_not_depend_on_its_neighbours(
    seed: int, temperature: float, top_p: float
) -> None:
    torch.manual_seed(seed)
    logits = torch.randn(3, 50) * 3
    crowded = choose(
        logits,
        torch.tensor([0.0, temperature, 1.3]),
        torch.tensor([1.0, top_p, 0.5]),
        [generator(1), generator(seed), generator(2)],
    )
    alone = choose(
        logits[1:2], torch.tensor([temperature]), torch.tensor([top_p]), [generator(seed)]
    )
    assert crowded[0] == logits[0].argmax()
    assert crowded[1] == alone[0]


def test_draws_follow_the_distribution() -> None:
    logits, draws = torch.tensor([2.0, 0.0, -1.0, 1.0]), 20_000
    counts = torch.bincount(torch.tensor(pick(logits, 0.7, 1.0, draws)), minlength=4)
    expected = (logits / 0.7).softmax(0)
    deviation = (expected * (1 - expected) / draws).sqrt()
    assert bool(((counts / draws - expected).abs() < 4 * deviation).all())


def test_nucleus_keeps_the_smallest_set_of_that_mass() -> None:
    logits = torch.tensor([0.3, 0.5, 0.05, 0.15]).log()
    assert set(pick(logits, 1.0, 0.75, 500)) == {0, 1}
    assert set(pick(logits, 1.0, 0.85, 500)) == {0, 1, 3}
    assert set(pick(logits, 1.0, 0.0, 500)) == {1}


@pytest.mark.parametrize("temperature", [0.0, 1e-30, 1e-4])
def test_a_vanishing_temperature_is_greedy(temperature: float) -> None:
    assert set(pick(torch.tensor([1e3, -1e3, 1e3 + 1, 0.0]), temperature, 1.0, 20)) == {2}


def test_impossible_tokens_are_never_drawn_and_have_finite_scores() -> None:
    logits = torch.tensor([[-torch.inf, 0.0, -torch.inf]])
    assert set(pick(logits[0], 1.0, 1.0, 50)) == {1}
    score = scores(logits, [0], top=2)[0]
    assert score.logprob == -9999.0
    assert score.top[0] == (1, 0.0)
