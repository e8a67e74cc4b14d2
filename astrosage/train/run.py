"""The train stage: Ray Train workers around a DeepSpeed engine, restarted when they die."""

from __future__ import annotations

import dataclasses
import errno
import logging
import os
from typing import Any

from astrosage.context import StageContext
from astrosage.errors import AstroError, CapacityError, Interrupted, StorageError, TrainingError
from astrosage.runs.storage import os_hint, os_reason
from astrosage.spec import graph
from astrosage.spec.job import AstroJob
from astrosage.spec.stages import TrainSpec
from astrosage.train import deepspeed_config
from astrosage.train.checkpoint import Checkpoints
from astrosage.train.loop import train_worker
from astrosage.train.tracking import check as tracking
from astrosage.units import parse_bytes

log = logging.getLogger("astrosage.train")
_PERMANENT_ERRNO = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


def run(context: StageContext) -> dict[str, Any]:
    """Train, from the last checkpoint if there is one, and export the model.

    A worker that dies is restarted with its group, up to ``retry.maxFailures`` times without a new
    checkpoint in between; an error that will not pass by itself (NaN loss, a full disk) ends the
    stage at once.

    Returns:
        Facts for the lineage.

    Raises:
        AstroError: What a worker found wrong, or a TrainingError when retries are used up.
        Interrupted: If a stop was asked for; a checkpoint has been taken.
    """
    from ray.exceptions import RayActorError
    from ray.train import TrainingFailedError

    job = context.job
    where = f"{graph.path_of(job, context.stage)}.train"
    tracking.check(_spec(context).tracking, f"{where}.tracking")
    deepspeed_config.check_hierarchy(_spec(context), context.cluster.max_workers, where)
    # Ray Train's controller takes one report each time it looks; by default that is every 2 s.
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.5")
    # Model downloads and conversions happen once, here, not in every worker at the same time.
    context.model_path(_spec(context).model)
    store = Checkpoints(context.directory.storage.child("checkpoints"), _spec(context).checkpoint)
    failures, reached = 0, store.newest()
    while True:
        try:
            result = _trainer(context, job).fit()
            facts: dict[str, Any] = result.return_value
            if "stopped" in facts:
                raise Interrupted(
                    f"stage {context.stage_name}: stopped on request after step "
                    f"{facts['stopped']}, with a checkpoint",
                    "`astroctl resume` goes on from there",
                )
            return facts
        except (TrainingFailedError, RayActorError) as error:  # the latter: Ray Train itself died
            _raise_if_permanent(error)
            newest = store.newest()
            # A long training meets many failures; one that gets on between them is not stuck.
            failures, reached = (1 if newest != reached else failures + 1), newest
            if failures > job.spec.retry.max_failures:
                raise TrainingError(
                    f"stage {context.stage_name}: workers failed {failures} times since "
                    f"{reached or 'the start'}, the last time: {_last_words(error)}",
                    "the traceback is in the stage's log (`astroctl logs`); `astroctl resume` goes "
                    "on from the last checkpoint",
                ) from error
            _free_leftovers()
            log.warning(
                "workers failed (%d of %d allowed), going on from the last checkpoint: %s",
                failures,
                job.spec.retry.max_failures,
                _last_words(error),
            )


def _free_leftovers() -> None:
    """Remove what dead workers still hold: reserved resources that nobody would give back.

    Ray Train's own cleaner may die with them, when the machine runs out of memory; the next workers
    would then wait for those resources for ever.
    """
    import ray
    from ray._raylet import PlacementGroupID
    from ray.util.placement_group import PlacementGroup, remove_placement_group
    from ray.util.state import list_placement_groups

    mine = ("creator_job_id", "=", ray.get_runtime_context().get_job_id())
    try:
        for group in list_placement_groups(filters=[mine]):
            if group.state != "REMOVED":
                log.warning("giving back resources of dead workers (%s)", group.placement_group_id)
                found = PlacementGroupID.from_hex(group.placement_group_id)
                remove_placement_group(PlacementGroup(found))
    except Exception as error:  # the state API is a service of its own; training may do without
        log.warning("resources of dead workers could not be looked for: %s", error)


def _spec(context: StageContext) -> TrainSpec:
    body = context.stage.train
    assert body is not None
    return body


def _trainer(context: StageContext, job: AstroJob) -> Any:
    import ray.train
    from ray.train.torch import TorchConfig, TorchTrainer

    cluster = context.cluster
    each = cluster.resources_per_worker
    resources: dict[str, float] = {"CPU": each.cpu}
    if each.gpu:
        resources["GPU"] = each.gpu
    if each.memory:
        resources["memory"] = parse_bytes(each.memory)
    return TorchTrainer(
        train_worker,
        train_loop_config={
            "context": dataclasses.asdict(context),
            "threads": max(1, int(each.cpu)),
        },
        scaling_config=ray.train.ScalingConfig(
            # Ray Train restarts the workers when their number changes; they go on from the last
            # checkpoint, whatever their number was then.
            num_workers=(cluster.min_workers, cluster.max_workers)
            if cluster.min_workers < cluster.max_workers
            else cluster.max_workers,
            use_gpu=each.gpu > 0,
            resources_per_worker=resources,
        ),
        torch_config=TorchConfig(backend="nccl" if each.gpu else "gloo"),
        run_config=ray.train.RunConfig(
            # Ray Train keeps little here: checkpoints are our own, since its are tied to what one
            # worker group reported, and ours are found by what is there.
            name="checkpoints",
            storage_path=context.directory.storage.uri,
            # Restarts are decided here, where permanent errors can be told from passing ones.
            failure_config=ray.train.FailureConfig(max_failures=0),
        ),
    )


def _raise_if_permanent(error: Any) -> None:
    """Raise the worker's own error if trying again cannot help."""
    causes = [_unwrap(e) for e in getattr(error, "worker_failures", {}).values()]
    causes.append(_unwrap(getattr(error, "controller_failure", None)))
    # Several ranks fail together when one does; what says most goes first.
    for cause in causes:
        if isinstance(cause, AstroError) and not cause.retryable:
            raise cause from error
    for cause in causes:
        if isinstance(cause, OSError) and cause.errno in _PERMANENT_ERRNO:
            path = cause.filename or "the run's storage"
            raise StorageError(
                f"a checkpoint cannot be written to {path}: {os_reason(cause)}",
                os_hint(cause, str(path)),
            ) from error
    for cause in causes:
        if type(cause).__name__ in ("WorkerGroupStartupTimeoutError",):
            raise CapacityError(
                f"the workers could not be started: {cause}",
                "ask for fewer workers or smaller `resourcesPerWorker`, or free the cluster",
            ) from error


def _unwrap(error: Any) -> Any:
    """The exception that a worker raised, out of Ray Train's wrapping."""
    return getattr(error, "_base_exc", error)


def _last_words(error: Any) -> str:
    failures = getattr(error, "worker_failures", {})
    for rank, cause in failures.items():
        text = str(_unwrap(cause)).strip().splitlines()
        return f"rank {rank}: {type(_unwrap(cause)).__name__}: {text[0] if text else ''}"
    return str(error).strip().splitlines()[-1]
