import json
import math

from hypothesis import given
from hypothesis import strategies as st

from astrosage.spec.train import EarlyStopping
from astrosage.train.stopping import EarlyStop

LOSSES = st.lists(
    st.one_of(st.floats(0.0, 20.0), st.just(math.nan), st.just(math.inf)), max_size=40
)
SPECS = st.builds(EarlyStopping, patience=st.integers(1, 5), min_delta=st.floats(0.0, 1.0))


def stops_at(stop: EarlyStop, losses: list[float], first: int = 0) -> int | None:
    for step, loss in enumerate(losses, start=first):
        if stop.seen(step, loss):
            return step
    return None


def test_it_stops_after_patience_validations_without_improvement() -> None:
    stop = EarlyStop(EarlyStopping(patience=2))
    assert stops_at(stop, [3.0, 2.0, 2.1, 1.9, 1.9, 2.5]) == 5
    assert (stop.best, stop.best_step) == (1.9, 3)


def test_a_fall_smaller_than_min_delta_is_none() -> None:
    losses = [3.0, 2.95, 2.9, 2.85]
    assert stops_at(EarlyStop(EarlyStopping(patience=3)), losses) is None
    assert stops_at(EarlyStop(EarlyStopping(patience=3, min_delta=0.2)), losses) == 3


def test_slow_falls_add_up_against_the_best() -> None:
    assert stops_at(EarlyStop(EarlyStopping(patience=2, min_delta=0.1)), [3.0, 2.95, 2.89]) is None


def test_without_a_spec_it_never_stops() -> None:
    assert stops_at(EarlyStop(None), [1.0] * 100) is None


def test_losses_that_are_not_finite_are_no_improvement() -> None:
    stop = EarlyStop(EarlyStopping(patience=3))
    assert stops_at(stop, [math.nan, math.inf, math.nan]) == 2
    json.dumps(stop.state_dict(), allow_nan=False)


def test_the_same_validation_twice_counts_once() -> None:
    stop = EarlyStop(EarlyStopping(patience=2))
    assert not stop.seen(10, 2.0)
    assert not stop.seen(20, 2.0)
    assert not stop.seen(20, 2.0)
    assert stop.seen(30, 2.0)


@given(SPECS, LOSSES)
def test_it_stops_where_the_definition_says(spec: EarlyStopping, losses: list[float]) -> None:
    best, bad, expected = math.inf, 0, None
    for step, loss in enumerate(losses):
        improves = math.isfinite(loss) and (best == math.inf or loss < best - spec.min_delta)
        best, bad = (loss, 0) if improves else (best, bad + 1)
        if bad == spec.patience:
            expected = step
            break
    assert stops_at(EarlyStop(spec), losses) == expected


@given(SPECS, LOSSES, st.data())
def test_a_resumed_run_stops_where_the_undisturbed_one_does(
    spec: EarlyStopping, losses: list[float], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(losses)))
    first = EarlyStop(spec)
    stopped = stops_at(first, losses[:cut])
    second = EarlyStop(spec)
    second.load_state_dict(json.loads(json.dumps(first.state_dict(), allow_nan=False)))
    if stopped is None:
        stopped = stops_at(second, losses[cut:], first=cut)
    assert stopped == stops_at(EarlyStop(spec), losses)


def test_a_checkpoint_without_the_state_starts_anew() -> None:
    stop = EarlyStop(EarlyStopping(patience=1))
    stop.load_state_dict({})
    assert stop.state_dict() == EarlyStop(None).state_dict()
