from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astrosage.data.mixing import needs_mixing, proportions
from astrosage.errors import DataError
from astrosage.spec.prepare import PrepareSpec

FIELD = "spec.stages[0].prepare"
HIGH = {"maxEpochs": 1000}


def spec(*sources: dict[str, Any], **mixture: Any) -> PrepareSpec:
    named = [{"path": f"{i}.md", **s} for i, s in enumerate(sources)]
    return PrepareSpec.model_validate({"sources": named, "mixture": mixture})


def mix(found: PrepareSpec, *tokens: int) -> list[tuple[float, float]]:
    parts = proportions(found.sources, tokens, found.mixture, FIELD)
    return [(pytest.approx(p.epochs), pytest.approx(p.share)) for p in parts]


def test_a_share_is_filled_up_beside_what_the_others_give() -> None:
    assert mix(spec({}, {"share": 0.1}), 900, 1000) == [(1, 0.9), (0.1, 0.1)]
    assert mix(spec({"epochs": 2}, {"share": 0.5}), 100, 100) == [(2, 0.5), (2, 0.5)]


def test_shares_of_all_sources_take_as_much_as_there_is_once() -> None:
    assert mix(spec({"share": 0.75}, {"share": 0.25}), 300, 1000) == [(1, 0.75), (0.1, 0.25)]


def test_repeats_are_bounded() -> None:
    assert mix(spec({}, {"share": 0.5}), 1000, 100) == [(1, 1000 / 1400), (4, 400 / 1400)]


def test_temperature_makes_sources_more_equal() -> None:
    assert mix(spec({}, {}, temperature=2, **HIGH), 10000, 100) == [
        (1, 10 / 11),
        (10, 1 / 11),
    ]
    assert mix(spec({}, {}, temperature=1), 10000, 100) == [(1, 100 / 101), (1, 1 / 101)]


@given(
    st.lists(st.integers(1, 10**6), min_size=2, max_size=6),
    st.floats(1, 8),
    st.floats(0.01, 0.9),
)
def test_shares_are_met_where_repeats_are_not_bounded(
    tokens: list[int], temperature: float, share: float
) -> None:
    found = spec({"share": share}, *({} for _ in tokens[1:]), temperature=temperature)
    found.mixture.max_epochs = 1e12
    parts = proportions(found.sources, tokens, found.mixture, FIELD)
    assert sum(p.share for p in parts) == pytest.approx(1)
    assert parts[0].share == pytest.approx(share)
    total = sum(p.epochs * n for p, n in zip(parts, tokens, strict=True))
    for part, count in zip(parts, tokens, strict=True):
        assert part.share == pytest.approx(part.epochs * count / total)
    rest = parts[1:]
    for one, n in zip(rest, tokens[1:], strict=True):
        for other, m in zip(rest, tokens[1:], strict=True):
            assert one.share / other.share == pytest.approx((n / m) ** (1 / temperature), rel=1e-6)
            assert one.epochs >= 1 - 1e-9


def test_weights_alone_need_no_mixing() -> None:
    plain, shared = spec({"weight": 2}, {}), spec({"share": 0.5}, {})
    assert not needs_mixing(plain.sources, plain.mixture)
    assert needs_mixing(shared.sources, shared.mixture)


def test_sources_without_tokens() -> None:
    with pytest.raises(DataError, match=r"prepare\.sources\[1\]\.share: 1\.md has no training"):
        mix(spec({}, {"share": 0.1}), 10, 0)
    with pytest.raises(DataError, match=r"prepare\.mixture: the sources have no training tokens"):
        mix(spec({}, temperature=2), 0)


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        ([{"share": 0.7}, {"share": 0.7}], "`sources\\[\\].share` sum to 1.4, which is over 1"),
        ([{"share": 1.0}, {}], "leaves nothing for the 1 sources"),
        ([{"share": 0.2}, {"share": 0.2}], "they sum to 0.4; make that 1"),
        ([{"share": 0.2, "weight": 2}, {}], "`weight` and `share` say the same in two ways"),
        ([{"share": 0.0}, {}], "greater than 0"),
    ],
)
def test_shares_that_cannot_be(sources: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        spec(*sources)
