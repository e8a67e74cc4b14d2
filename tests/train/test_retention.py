from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from astrosage.spec.train import CheckpointSpec
from astrosage.train.retention import Facts, kept

facts = st.lists(
    st.builds(
        Facts,
        step=st.integers(0, 100),
        validation_loss=st.none() | st.floats(0, 10),
        for_good=st.booleans(),
    ),
    unique_by=lambda f: f.step,
)


@given(facts, st.integers(1, 5), st.integers(0, 5))
def test_the_newest_the_best_and_those_for_good_are_kept(
    found: list[Facts], keep: int, best: int
) -> None:
    chosen = kept(found, CheckpointSpec(keep=keep, keep_best=best))
    steps = sorted(f.step for f in found)
    assert set(steps[-keep:]) <= chosen <= set(steps)
    assert {f.step for f in found if f.for_good} <= chosen
    judged = [f for f in found if f.validation_loss is not None]
    others = [f for f in judged if f.step not in chosen]
    better = [f for f in judged if f.step in chosen]
    assert len(better) >= min(best, len(judged))
    if best and others:
        worst_kept = sorted(f.validation_loss or 0.0 for f in better)[best - 1]
        assert all((f.validation_loss or 0.0) >= worst_kept for f in others)
    assert len(chosen) <= keep + best + sum(f.for_good for f in found)


@given(facts, st.integers(1, 5), st.integers(0, 5))
def test_deleting_changes_nothing_of_what_is_kept(found: list[Facts], keep: int, best: int) -> None:
    spec = CheckpointSpec(keep=keep, keep_best=best)
    chosen = kept(found, spec)
    assert kept([f for f in found if f.step in chosen], spec) == chosen
