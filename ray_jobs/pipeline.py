"""The driver of a run: stages in order, each skipped if it is finished already.

Started as a Ray job: ``python -m ray_jobs.pipeline <run directory> --stages a,b,c``. It reads the
job from the run directory and leaves everything that it does there.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import logging
import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import Any, NoReturn

from astrosage import lineage
from astrosage.context import StageContext
from astrosage.errors import (
    AstroError,
    ConflictError,
    Interrupted,
    NotFoundError,
    StorageError,
    to_dict,
)
from astrosage.report.build import build_report
from astrosage.runs import fork, manifest
from astrosage.runs.directory import ARTEFACTS, RunDirectory
from astrosage.runs.generated import with_places
from astrosage.runs.logs import logging_to
from astrosage.spec import graph
from astrosage.spec.changes import differences, listed
from astrosage.spec.job import AstroJob
from astrosage.spec.stages import Stage
from ray_jobs.adopt import adopt
from ray_jobs.monitor import Monitor

log = logging.getLogger("astrosage.pipeline")
# How long a stop waits for a checkpoint; without it, a driver ends at once.
_GRACE = "ASTROSAGE_STOP_GRACE_SECONDS"
# Each is imported where it runs only, since it brings torch with it.
_PACKAGES = {
    "prepare": "data",
    "generate": "generate",
    "train": "train",
    "merge": "merge",
    "bench": "bench",
}


def main(arguments: list[str] | None = None) -> int:
    """Run the stages; the exit code is the error's family."""
    options = _parse(arguments)
    run = RunDirectory(options.run)
    try:
        adopt(run)
        job = run.job()
        names = options.stages.split(",")
        stages = [s for s in graph.order(job) if s.name in names]
        return Pipeline(run, job, stages, options.attempt).execute()
    except AstroError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return error.exit_code


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m ray_jobs.pipeline", description=__doc__)
    parser.add_argument("run", help="the run directory")
    parser.add_argument("--stages", required=True, help="names, separated by commas")
    parser.add_argument("--attempt", type=int, default=1, help="which submission this is")
    return parser.parse_args(arguments)


class Pipeline:
    """One submission of a run."""

    def __init__(self, run: RunDirectory, job: AstroJob, stages: list[Stage], attempt: int) -> None:
        self._run, self._job, self._stages = run, job, stages
        self._monitor = Monitor(run, job, stages, attempt)
        self._running: Stage | None = None

    def execute(self) -> int:
        """Run all stages; returns the exit code and leaves the outcome in progress.json."""
        self._monitor.start()
        try:
            self._run.clear_stop()
            _connect()
            self._monitor.mirror(_log_folder())
            # After Ray, which sets a handler of its own.
            signal.signal(signal.SIGTERM, self._stop)
            for stage in self._stages:
                self._run_stage(stage)
        except Interrupted as error:
            self._run.clear_stop()
            print(error.message, file=sys.stderr, flush=True)
            self._monitor.close("stopped", to_dict(error))
            return error.exit_code
        except Exception as error:
            facts = to_dict(error)
            print(f"error: {facts['message']}\nhint: {facts['hint']}", file=sys.stderr, flush=True)
            self._monitor.close("failed", facts)
            return int(str(facts["exitCode"]))
        self._monitor.close("succeeded")
        return 0

    def _stop(self, number: int, frame: FrameType | None) -> None:
        """End; a training first takes a checkpoint, if there is time for one."""
        seconds = float(os.environ.get(_GRACE) or 0)
        if not seconds or self._running is None or self._running.kind != "train":
            self._end_now()
        try:
            self._run.request_stop()
        except StorageError:
            self._end_now()
        log.info("stopping on request: waiting up to %.0f s for a checkpoint", seconds)
        timer = threading.Timer(seconds, self._end_now)
        timer.daemon = True
        timer.start()

    def _end_now(self) -> NoReturn:
        """End the process at once, saying so; the cluster ends what belongs to it.

        The signal comes while Ray's native code waits, through which no exception may pass.
        """
        error = Interrupted("stopped on request", "`astroctl resume` goes on from where it was")
        print(error.message, file=sys.stderr, flush=True)
        self._monitor.close("stopped", to_dict(error))
        os._exit(error.exit_code)

    def _run_stage(self, stage: Stage) -> None:
        directory = self._run.stage(stage.name)
        with logging_to(directory.storage, "driver.log"):
            self._monitor.begin(stage)
            self._running = stage
            try:
                self._skip_or_run(stage)
            except Interrupted:
                self._monitor.end(stage, "stopped")
                raise
            except Exception:
                log.exception("stage %s failed", stage.name)
                self._monitor.end(stage, "failed")
                raise

    def _skip_or_run(self, stage: Stage) -> None:
        self._require_inputs(stage)
        inputs = lineage.inputs_of(self._job, stage, self._run)
        key = lineage.stage_key(stage, inputs)
        made = self._run.finished(stage)
        if made is not None and made.get("key") == key:
            log.info("stage %s is finished already", stage.name)
            self._monitor.end(stage, "skipped")
            return
        self._forget_other(stage, key)
        if self._take_over(stage, key):
            return
        directory = self._run.stage(stage.name)
        directory.storage.write_json(
            "spec.json", {"key": key, "kind": stage.kind, "spec": stage.body.to_yaml_dict()}
        )
        log.info("stage %s (%s) starts", stage.name, stage.kind)
        self._import_ahead(stage)
        began = time.time()
        job = with_places(self._job, self._run)
        context = StageContext(job.to_yaml_dict(), stage.name, self._run.uri, key)
        facts = _run_body(stage.kind, context)
        self._record(stage, key, inputs, began, facts)
        log.info("stage %s is finished after %.1f s", stage.name, time.time() - began)

    def _import_ahead(self, stage: Stage) -> None:
        """Import what a later training needs while this stage runs elsewhere.

        Not in a daemon thread: the interpreter would end under the import, and hang.
        """
        later = self._stages[self._stages.index(stage) + 1 :]
        if any(s.kind == "train" for s in later):
            threading.Thread(target=importlib.import_module, args=("ray.train.torch",)).start()

    def _take_over(self, stage: Stage, key: str) -> bool:
        """Take the stage from the run that this one is a fork of, if it is the same there."""
        source = fork.source_of(self._run, self._job)
        if source is None:
            return False
        entry = fork.take_over(source, self._run, stage, key)
        if entry is None:
            log.info("stage %s is not finished in %s with this key", stage.name, source.uri)
            return False
        lineage.record(self._run, entry)
        self._monitor.end(stage, "skipped")
        log.info("stage %s is taken over from %s", stage.name, source.uri)
        if stage.kind == "bench":
            self._report(stage)
        return True

    def _require_inputs(self, stage: Stage) -> None:
        for name in graph.dependencies(self._job, stage):
            if self._run.finished(self._job.stage(name)) is None:
                raise NotFoundError(
                    f"stage {stage.name} needs stage {name}, which is not finished",
                    f"submit without --only, or run it first: `--only {name}`",
                )

    def _forget_other(self, stage: Stage, key: str) -> None:
        """Drop what an attempt with other inputs left; a training's checkpoints are not dropped.

        Raises:
            ConflictError: If there are checkpoints of another training.
        """
        storage = self._run.stage(stage.name).storage
        if not storage.exists("spec.json"):
            return
        before = storage.read_json("spec.json")
        if before.get("key") == key:
            return
        if any(name.startswith("step-") for name in storage.names("checkpoints")):
            raise _other_training(stage, before, storage.path("checkpoints"))
        log.info("spec or inputs of stage %s changed: it starts over", stage.name)
        for name in ("checkpoints", "metrics.jsonl", "tensorboard", *set(ARTEFACTS.values())):
            storage.remove(name)

    def _record(
        self, stage: Stage, key: str, inputs: list[dict[str, Any]], began: float, facts: Any
    ) -> None:
        made = self._run.finished(stage)
        assert made is not None, "a stage that ends well has written its manifest"
        seconds = round(time.time() - began, 2)
        facts = facts or {}
        lineage.record(
            self._run,
            {
                "stage": stage.name,
                "kind": stage.kind,
                "key": key,
                "inputs": inputs,
                "digest": manifest.content_digest(made),
                "startedAt": round(began, 3),
                "finishedAt": round(time.time(), 3),
                "seconds": seconds,
                "hardware": lineage.hardware(),
                "versions": lineage.versions(),
                "seed": getattr(stage.body, "seed", None),
                **facts,
            },
        )
        self._monitor.end(stage, "finished", peakMemoryBytes=facts.get("peakMemoryBytes"))
        if stage.kind == "bench":
            # Once more, now that the stage's own time and inputs are known.
            self._report(stage)

    def _report(self, stage: Stage) -> None:
        report = build_report(self._run)
        self._run.stage(stage.name).storage.write_bytes("bench/report.html", report.encode())


def _other_training(stage: Stage, before: dict[str, Any], checkpoints: str) -> ConflictError:
    """What to say where a stage's checkpoints are of a training with another spec or inputs."""
    field = f"spec.stages[{stage.name}].{stage.kind}"
    found = differences(before.get("spec"), stage.body.to_yaml_dict(), field)
    changed = [change for change in found if not change.is_around]
    what = f"another spec:{listed(changed)}" if changed else "other inputs (data or model)"
    return ConflictError(
        f"stage {stage.name} has checkpoints of a training with {what}",
        "set it back and resume; or `astroctl submit --fork NEW`, which makes a new run that takes "
        f"over the stages that are the same; or delete {checkpoints} to train from the start",
    )


def _connect() -> None:
    import ray

    # The submission id names the job; a driver started by hand gets a cluster of its own.
    ray.init(
        address=os.environ.get("RAY_ADDRESS"),
        log_to_driver=True,
        logging_level=logging.WARNING,
        namespace="astrosage",
    )


def _log_folder() -> str | None:
    """Ray's own log folder on this node, whose files the dashboard hands out."""
    import ray

    node = getattr(ray._private.worker, "_global_node", None)
    return str(node.get_logs_dir_path()) if node is not None else None


def _run_body(kind: str, context: StageContext) -> Any:
    """Training and scoring spread themselves over the cluster; the rest is one task on it."""
    if kind in ("train", "bench"):
        return importlib.import_module(f"astrosage.{_PACKAGES[kind]}.run").run(context)
    return _as_task(kind, context)


def _as_task(kind: str, context: StageContext) -> Any:
    import ray

    task = ray.remote(num_cpus=1, max_retries=1)(_in_task)
    try:
        return ray.get(task.remote(kind, dataclasses.asdict(context)))
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error  # what happened, with Ray's account of where behind it


def _in_task(kind: str, fields: dict[str, Any]) -> dict[str, Any]:
    """Run a stage inside a Ray task; its log is the stage's own."""
    context = StageContext(**fields)
    with logging_to(context.directory.storage, "task.log"):
        module = importlib.import_module(f"astrosage.{_PACKAGES[kind]}.run")
        facts = module.run(context) or {}
    return {"peakMemoryBytes": lineage.peak_memory_bytes(), **facts}


if __name__ == "__main__":
    sys.exit(main())
