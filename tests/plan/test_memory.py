from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astrosage.plan import activations, memory
from astrosage.train import loss
from tests.plan.setups import setup

MODELS = st.sampled_from(["llama-3.1-8b", "llama-3.1-70b", "smollm2-135m"])
STAGES = st.integers(0, 3)
WORKERS = st.sampled_from([1, 2, 8, 64])


@settings(deadline=None)
@given(model=MODELS, workers=WORKERS, recompute=st.booleans(), cuda=st.booleans())
def test_each_stage_keeps_no_more_states_than_the_one_below(
    model: str, workers: int, recompute: bool, cuda: bool
) -> None:
    base = setup(model, workers, cuda=cuda, activationCheckpointing=recompute)
    stages = [base.with_stage(s) for s in range(4)]
    optimizer = [memory.optimizer(s) for s in stages]
    parameters = [memory.parameters(s) for s in stages]
    assert optimizer == sorted(optimizer, reverse=True)
    assert parameters == sorted(parameters, reverse=True)


@settings(deadline=None)
@given(model=MODELS, stage=STAGES, workers=WORKERS, cuda=st.booleans())
def test_memory_grows_with_the_micro_batch_and_falls_with_recomputing(
    model: str, stage: int, workers: int, cuda: bool
) -> None:
    small = setup(model, workers, cuda=cuda, zero={"stage": stage})
    large = replace(small, micro_batch=4)
    assert memory.peak(large).total > memory.peak(small).total
    spec = large.spec.model_copy(update={"activation_checkpointing": True})
    assert memory.peak(replace(large, spec=spec)).total < memory.peak(large).total


@settings(deadline=None)
@given(stage=st.integers(1, 3), workers=st.sampled_from([2, 8, 64]))
def test_more_workers_never_need_more_memory_each(stage: int, workers: int) -> None:
    few = setup(workers=workers, zero={"stage": stage}, globalBatchSize=128)
    many = replace(few, workers=workers * 2)
    # Sums over more than two workers are sent in fp32: the step from two to four is another case.
    if workers > 2:
        assert memory.peak(many).total <= memory.peak(few).total


@settings(deadline=None)
@given(model=MODELS, stage=STAGES, workers=WORKERS, cuda=st.booleans())
def test_the_parts_add_up_and_none_is_negative(
    model: str, stage: int, workers: int, cuda: bool
) -> None:
    for moment in memory.moments(setup(model, workers, cuda=cuda, zero={"stage": stage})):
        parts = [getattr(moment, name) for name in memory.PARTS]
        assert min(parts) >= 0
        assert moment.total == sum(parts)
        assert moment.to_dict()["total"] == round(moment.total)


def test_states_of_full_training_are_sixteen_bytes_a_parameter() -> None:
    one = setup(workers=1, zero={"stage": 0})
    peak = memory.peak(one)
    parameters = one.shape.parameters
    assert peak.parameters == 2 * parameters
    assert peak.optimizer == 12 * parameters
    assert next(m for m in memory.moments(one) if m.moment == "update").gradients == 2 * parameters


def test_zero_3_shares_out_every_state() -> None:
    peak = memory.peak(setup("llama-3.1-70b", 64))
    parameters = setup("llama-3.1-70b").shape.parameters
    assert peak.parameters == 2 * parameters / 64
    assert peak.gradients == 2 * parameters / 64
    assert peak.optimizer == 12 * parameters / 64


def test_a_second_partition_costs_a_copy_inside_its_group() -> None:
    zero = {"stage": 3, "hierarchicalPartition": 8}
    near = memory.parameters(setup("llama-3.1-70b", 64, zero=zero))
    parameters = setup("llama-3.1-70b").shape.parameters
    assert near == 2 * parameters / 64 + 2 * parameters / 8


def test_only_adapters_have_gradients_and_states() -> None:
    whole = setup(workers=1)
    adapters = setup(workers=1, lora={"rank": 16})
    # 16 x (sum of both widths of each of seven matrices) x 32 layers.
    assert adapters.trained == 16 * 32 * (8192 + 2 * 5120 + 8192 + 3 * 18432)
    assert memory.optimizer(adapters) == 12 * adapters.trained
    peak = memory.peak(adapters)
    assert peak.parameters == 2 * (whole.shape.parameters + adapters.trained)
    assert peak.gradients == 2 * adapters.trained
    spared = memory.peak(whole).total - peak.total
    assert spared > 0.95 * 14 * whole.shape.parameters


def test_offloaded_states_are_on_the_host() -> None:
    zero = {"stage": 3, "offloadOptimizer": "cpu", "offloadParameters": "cpu"}
    peak = memory.peak(setup(workers=8, zero=zero))
    parameters = setup().shape.parameters
    assert peak.optimizer == peak.parameters == 0
    assert peak.host == pytest.approx((12 + 4 + 2) * parameters / 8)


def test_a_processor_has_nowhere_to_offload_to() -> None:
    zero = {"stage": 3, "offloadOptimizer": "cpu", "offloadParameters": "cpu"}
    kept = memory.peak(setup("smollm2-135m", 2, cuda=False))
    moved = memory.peak(setup("smollm2-135m", 2, cuda=False, zero=zero))
    assert (moved.parameters, moved.optimizer, moved.host) == (
        kept.parameters,
        kept.optimizer,
        0.0,
    )


def test_accumulation_keeps_gradients_in_fp32() -> None:
    one = setup(workers=8, globalBatchSize=8, zero={"stage": 2})
    several = setup(workers=8, globalBatchSize=16, zero={"stage": 2})
    ends = [next(m for m in memory.moments(s) if m.moment == "update") for s in (one, several)]
    assert ends[1].gradients == 2 * ends[0].gradients


def test_the_loss_is_cut_as_training_cuts_it() -> None:
    assert loss._CHUNK_ELEMENTS == activations.CHUNK_ELEMENTS
    assert loss._GROUP == activations.CHUNKS_TOGETHER
    assert loss._MOST_ROUNDINGS == activations.MOST_ROUNDINGS
