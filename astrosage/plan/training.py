"""Checks of train stages: what can be seen to be wrong with the learning before it starts."""

from __future__ import annotations

from typing import Any

from astrosage.plan.machine import Machine
from astrosage.spec import graph
from astrosage.spec.job import AstroJob
from astrosage.spec.stages import Stage
from astrosage.train import adapter_names, deepspeed_config, offload, schedule


def check(
    job: AstroJob, stage: Stage, model: dict[str, Any] | None, machine: Machine | None
) -> None:
    """Refuse a train stage whose schedule, options, groups, adapters or offload cannot be.

    Args:
        job: The run.
        stage: Any of its stages.
        model: The configuration of the model that is trained, if it can be read from here.
        machine: Where it runs, if it is this machine.

    Raises:
        AstroError: Naming the field.
    """
    train = stage.train
    if train is None:
        return
    where = f"{graph.path_of(job, stage)}.train"
    schedule.check(train, train.max_steps, where)
    deepspeed_config.check(train, where)
    # Elastic workers may come to any number; where it does not fit, training goes without groups.
    deepspeed_config.check_hierarchy(train, job.cluster_of(stage).max_workers, where)
    if train.lora is not None:
        adapter_names.check(train.lora, (model or {}).get("model_type"), where)
    if machine is not None:
        offload.check(train, where)
