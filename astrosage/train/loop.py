"""What one training worker does: load, resume, step, validate, checkpoint, export."""

from __future__ import annotations

import logging
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from astrosage import lineage
from astrosage.context import StageContext
from astrosage.data.loader import PackedDataset
from astrosage.errors import NotFoundError, TrainingError
from astrosage.models.arithmetic import fast_bf16
from astrosage.runs.logs import logging_to
from astrosage.runs.metrics import MetricsWriter
from astrosage.spec import graph
from astrosage.spec.train import TrainSpec
from astrosage.train import (
    checkpoint,
    deepspeed_config,
    engine,
    export,
    model,
    offload,
    schedule,
    sharded,
    throughput,
)
from astrosage.train.feed import Feed, GlobalBatch
from astrosage.train.notices import POLL_PREEMPTION, STOP, Notices
from astrosage.train.stopping import EarlyStop
from astrosage.train.timing import Stopwatch
from astrosage.train.trackers import Trackers
from astrosage.train.validation import Validation
from astrosage.train.watchdog import HangWatch, LossWatch

log = logging.getLogger("astrosage.train")
_SKIPPED = "skipped.json"


def train_worker(config: dict[str, Any]) -> dict[str, Any]:
    """Entry point of every Ray Train worker.

    Args:
        config: ``context`` (the fields of a StageContext) and ``threads``.

    Returns:
        Facts for the lineage: steps, tokens, peak memory, what MFU was divided by. If training was
        asked to stop, ``stopped`` with the step, and nothing is exported.
    """
    import ray.train

    context = StageContext(**config["context"])
    workers = ray.train.get_context()
    rank, size = workers.get_world_rank(), workers.get_world_size()
    if not torch.cuda.is_available():
        torch.set_num_threads(config["threads"])
    with logging_to(context.directory.storage, f"rank-{rank}.log"):
        try:
            return Trainer(context, rank, size).run()
        except Exception:
            log.exception("rank %d fails", rank)
            raise


@dataclass
class State:
    """Where training is; all that a checkpoint needs beside the engine's own state.

    Attributes:
        step: Optimizer steps done.
        position: Global batches behind us: steps and skipped ones.
        tokens: Tokens learnt from, without padding.
        skipped: Positions that are left out.
        kept_at: When a checkpoint was last kept for good (Unix time), or training began.
        ended: Whether early stopping has ended it.
    """

    step: int = 0
    position: int = 0
    tokens: int = 0
    skipped: list[int] = field(default_factory=list)
    kept_at: float = field(default_factory=time.time)
    ended: bool = False


class Trainer:
    """One worker's part of a training stage.

    Args:
        context: The stage.
        rank: This worker.
        workers: How many there are.
    """

    def __init__(self, context: StageContext, rank: int, workers: int) -> None:
        body = context.stage.train
        assert body is not None
        self.device = _device()
        # One for all ranks: their gradients meet.
        if body.precision == "bf16" and engine.agree_any(not fast_bf16(self.device)):
            log.info(
                "computing in fp32: a processor here multiplies bf16 in a plain loop; the model is "
                "written in bf16 (`precision: fp32` writes it as it was computed)"
            )
            body = body.model_copy(update={"precision": "fp32"})
        self.context, self.spec = context, body
        self.where = f"{graph.path_of(context.job, context.stage)}.train"
        self.rank, self.workers = rank, workers
        shards = context.shards_path(body.data)
        self.data = PackedDataset(shards, "train")
        self.total = total_steps(body, len(self.data))
        schedule.check(body, self.total, self.where)
        self.micro = deepspeed_config.micro_batch_size(body, workers, self.data.sequence_length)
        self.feed = Feed(self.data, body.seed, body.global_batch_size, self.micro, rank, workers)
        self.validation = Validation(
            PackedDataset(shards, "validation"), self.micro, rank, workers, self.device
        )
        self.folder = context.directory.storage.child("checkpoints")
        self.checkpoints = checkpoint.Checkpoints(
            self.folder,
            body.checkpoint,
            checkpoint.Group(rank, workers, engine.agree_any, engine.from_first),
        )
        self.state = State()
        self.losses, self.stopping = LossWatch(body.watchdog), EarlyStop(body.early_stopping)
        self.notices = Notices(context.run, rank)
        self.hangs = HangWatch(body.watchdog.hang_seconds)
        self.stopwatch = Stopwatch(self.device)
        self.notice, self.saved, self.storing = 0, -1, ""
        self.began = time.perf_counter()
        self.validated: tuple[int, float] | None = None
        self.metrics: MetricsWriter | None = None
        self.trackers: Trackers | None = None

    def run(self) -> dict[str, Any]:
        """Train to the end and export."""
        source = self.context.model_path(self.spec.model)
        log.info(
            "rank %d of %d: %d steps over %d sequences, %d micro-batches of %d a step",
            *(self.rank, self.workers, self.total, len(self.data)),
            *(self.feed.accumulation_steps, self.micro),
        )
        self._load(source)
        found = self.checkpoints.restore(self.engine, self.model)
        if found:
            self._take_over(found)
            log.info("resumed at step %d of %d", self.state.step, self.total)
            if found["worldSize"] != self.workers:
                log.info("its %d workers are %d now", found["worldSize"], self.workers)
        self.state.skipped = self._skipped()
        if self.rank == 0:
            self._open_metrics()
        stopped = True
        try:
            with self.hangs:
                stopped = self._train()
            self._settle()
        finally:
            if self.metrics:
                self.metrics.close()
            if self.trackers:
                self.trackers.close(finished=not stopped)
        return {"stopped": self.state.step} if stopped else self._finish(source)

    def _load(self, source: Path) -> None:
        spec = self.spec
        offload.check(spec, self.where)
        config = deepspeed_config.build(
            spec,
            self.workers,
            self.micro,
            self.feed.accumulation_steps,
            cuda=self.device.type == "cuda",
            # Read from the heads of all weight files, so only where it is asked for.
            largest_parameter=sharded.largest_parameter(source)
            if spec.zero.offload_parameters == "nvme"
            else None,
            where=self.where,
        )
        engine.prepare()
        loaded = model.load(
            source,
            bf16=spec.precision == "bf16",
            activation_checkpointing=spec.activation_checkpointing,
            sharding=config if spec.zero.stage == 3 else None,
            lora=spec.lora,
            seed=spec.seed,
        )
        self.engine: Any = engine.initialize(loaded, spec, config)
        self.model = loaded.model
        self.peak = throughput.peak(self.device, bf16=spec.precision == "bf16")

    def _take_over(self, found: dict[str, Any]) -> None:
        """Go on from a checkpoint's state."""
        self.state = State(**found["training"])
        self.losses.load_state_dict(found["losses"])
        self.stopping.load_state_dict(found["stopping"])
        self.saved = self.state.step

    def _open_metrics(self) -> None:
        after = self.state.step
        self.metrics = self.context.metrics(after_step=after)
        self.trackers = Trackers(
            self.spec.tracking,
            self.context.directory,
            self.context.run.name,
            self.context.stage_name,
            self.spec.to_yaml_dict(),
            after_step=after or None,
        )

    def _train(self) -> bool:
        """Step until the end; tells whether a stop was asked for first."""
        if self.state.step == 0:
            self._validate()
            if self.spec.watchdog.bad_loss == "skip" and self.saved != 0:
                self._checkpoint()  # where to go back to
        while self.state.step < self.total and not self.state.ended:
            batch = self._next_batch()
            problem = self._step(batch)
            if problem:
                self._bad_step(batch, problem)
                continue
            step = self.state.step
            if self._due(self.spec.validate_every_steps) or step == self.total:
                self._validate()
            if self._due(self.spec.checkpoint.every_steps) or step == self.total:
                self._checkpoint()
            if self.notice and self._heed():
                return True
        if self.saved != self.state.step:  # ended early
            self._checkpoint()
        return False

    def _heed(self) -> bool:
        """Take a checkpoint if there may not be another chance; tells whether to stop."""
        stop = bool(self.notice & STOP)
        taken = bool(self.notice & POLL_PREEMPTION) and self.notices.preempted()
        if (stop or taken) and self.saved != self.state.step:
            self._checkpoint()
        stopped = stop and self.state.step < self.total and not self.state.ended
        if stopped:
            log.info("stopping on request at step %d of %d", self.state.step, self.total)
        return stopped

    def _due(self, every: int | None) -> bool:
        return every is not None and self.state.step % every == 0

    def _next_batch(self) -> GlobalBatch:
        self._beat("data")
        self.began = time.perf_counter()
        while self.state.position in self.state.skipped:
            log.info("leaving out global batch %d", self.state.position)
            self.state.position += 1
        return self.feed.at(self.state.position)

    def _beat(self, phase: str) -> None:
        self.hangs.beat(f"step {self.state.step + 1}: {phase}")

    def _step(self, batch: GlobalBatch) -> str | None:
        """One optimizer step; returns what is wrong with its loss, if anything is."""
        # The engine averages over ranks and accumulation steps; the loss wanted is the mean over
        # all learnt tokens of the global batch, so that it is the same for every world size.
        scale = self.workers * len(batch.parts) / max(1, batch.learnt)
        rate = schedule.learning_rate(self.spec, self.state.step, self.total)
        engine.set_learning_rate(self.engine, rate)
        summed, flops = torch.zeros((), device=self.device), 0.0
        norm: float | None = None
        for part in batch.parts:
            tokens = part.batch.to(self.device)
            self.stopwatch.lap("data")
            self._beat("forward")
            loss = self.engine(tokens)
            self.stopwatch.lap("forward")
            self._beat("backward")
            self.engine.backward(loss * (scale * part.weight))
            self.stopwatch.lap("backward")
            summed += loss.detach() * part.weight
            flops += part.weight * throughput.training_flops(
                self.model.config, tokens.lengths, len(tokens.targets)
            )
            norm = engine.step(self.engine, last=part is batch.parts[-1])
            self.stopwatch.lap("optimizer")
        total, flops, notice, stored = engine.all_sum(
            float(summed), flops, self.notices.look(), float(self.checkpoints.delivered())
        )
        self.stopwatch.lap("optimizer")
        self.notice, loss_mean = int(notice), total / max(1, batch.learnt)
        problem = self.losses.verdict(loss_mean, norm)
        if problem:
            return problem
        self.state.step += 1
        self.state.position = batch.position + 1
        self.state.tokens += batch.real
        seconds = time.perf_counter() - self.began
        self._log(
            loss=loss_mean,
            learningRate=rate,
            gradientNorm=norm,
            stepSeconds=round(seconds, 4),
            tokensPerSecond=round(batch.real / seconds, 1),
            mfu=round(flops / seconds / (self.peak.flops * self.workers), 4),
            etaSeconds=round((self.total - self.state.step) * seconds, 1),
            epoch=round(self.state.position * self.spec.global_batch_size / len(self.data), 3),
            seconds=self.stopwatch.read(),
            memoryBytes=self._memory(),
        )
        if self.storing and stored == self.workers:
            self._say_stored()
        return None

    def _memory(self) -> int:
        """The most that this worker has used so far, in bytes: of its GPU, or of main memory."""
        if self.device.type == "cuda":
            return int(torch.cuda.max_memory_allocated(self.device))
        return int(lineage.peak_memory_bytes())

    def _bad_step(self, batch: GlobalBatch, problem: str) -> None:
        """Stop, or go back to the last good checkpoint and leave the batch out."""
        documents = sorted({d for row in batch.rows for d in self.data.document_ids(row)})
        shown = ", ".join(documents[:8]) + (", …" if len(documents) > 8 else "")
        self.checkpoints.wait()
        torch.distributed.barrier()
        good = engine.from_first(self.checkpoints.newest())
        message = (
            f"stage {self.context.stage_name}: {problem} at step {self.state.step + 1}; the batch "
            f"holds {shown}"
        )
        kept = f"the last good checkpoint is {good}" if good else "there is no checkpoint yet"
        if self.spec.watchdog.bad_loss == "stop":
            raise TrainingError(
                message,
                f"lower `learningRate` or raise `warmupRatio`, look at those documents, or let "
                f"such batches be left out (`watchdog.badLoss: skip`), and submit again; {kept}",
            )
        skipped = sorted({*self.state.skipped, batch.position})
        if len(skipped) > self.spec.watchdog.max_skips:
            raise TrainingError(
                f"{message}; {len(skipped) - 1} batches were left out before it",
                f"this is not the fault of single batches: lower `learningRate`, or raise "
                f"`watchdog.maxSkips`; {kept}",
            )
        log.warning("%s; going back to %s and leaving it out", message, good)
        self._go_back(skipped)
        self._log(skippedPosition=batch.position, problem=problem)

    def _go_back(self, skipped: list[int]) -> None:
        if self.rank == 0:
            self.folder.write_json(_SKIPPED, {"positions": skipped})
        found = self.checkpoints.restore(self.engine, self.model)
        assert found is not None  # one is taken before the first step
        self._take_over(found)
        self.state.skipped = skipped
        self.storing = ""
        if self.metrics and self.trackers:
            self.metrics.close()
            self.metrics = self.context.metrics(after_step=self.state.step)
            self.trackers.rewind(self.state.step)

    def _skipped(self) -> list[int]:
        """What any attempt has found to be left out."""
        try:
            stored = self.folder.read_json(_SKIPPED)
        except NotFoundError:
            return self.state.skipped
        return sorted({*self.state.skipped, *stored["positions"]})

    def _validate(self) -> None:
        if not self.validation:
            return
        loss, by_source = self.validation.losses(self.engine, lambda: self._beat("validation"))
        self.validated = self.state.step, loss
        self.state.ended = self.stopping.seen(self.state.step, loss)
        if self.state.ended:
            log.info(
                "validation loss has not improved since step %s: ending early",
                self.stopping.best_step,
            )
        self._log(validationLoss=loss, validationLosses=by_source)
        self.stopwatch.lap("validation")

    def _log(self, **values: Any) -> None:
        if self.metrics is None or self.trackers is None:
            return
        step, tokens = self.state.step, self.state.tokens
        self.metrics.log(step, self.total, "steps", tokens=tokens, **values)
        self.trackers.log(step, {"tokens": tokens, **values})

    def _checkpoint(self) -> None:
        self._beat("checkpoint")
        hours, now = self.spec.checkpoint.keep_every_hours, time.time()
        for_good = hours is not None and now - self.state.kept_at >= 3600 * hours
        if for_good:
            self.state.kept_at = now
        judged = self.validated is not None and self.validated[0] == self.state.step
        self.checkpoints.save(
            self.engine,
            self.model,
            {
                "step": self.state.step,
                "savedAt": round(now, 3),
                "forGood": for_good,
                "validationLoss": self.validated[1] if self.validated and judged else None,
                "training": asdict(self.state),
                "losses": self.losses.state_dict(),
                "stopping": self.stopping.state_dict(),
            },
        )
        self.saved, self.storing = self.state.step, checkpoint.name_of(self.state.step)
        self.stopwatch.lap("checkpoint")

    def _settle(self) -> None:
        """Wait until the last checkpoint is stored by all; leave no more than are to be kept."""
        self.checkpoints.wait()
        torch.distributed.barrier()
        if self.rank == 0:
            self.checkpoints.prune()
        if self.storing:
            self._say_stored()

    def _say_stored(self) -> None:
        self._log(checkpoint=self.storing)
        self.storing = ""

    def _finish(self, source: Path) -> dict[str, Any]:
        facts = {
            "steps": self.state.step,
            "tokens": self.state.tokens,
            "workers": self.workers,
            "peakMemoryBytes": int(engine.all_max(lineage.peak_memory_bytes())),
            "mfuPeak": self.peak.source,
            "precision": self.spec.precision,
            "device": throughput.device_name(self.device),
            "skippedBatches": len(self.state.skipped),
            "endedEarly": self.state.ended,
        }
        export.export(
            self.engine,
            self.context,
            source,
            zero_stage=self.spec.zero.stage,
            rank=self.rank,
            training=facts,
        )
        return facts


def total_steps(spec: TrainSpec, sequences: int) -> int:
    """Optimizer steps of a stage: ``max_steps``, or the epochs' worth, at least one."""
    if spec.max_steps is not None:
        return spec.max_steps
    return max(1, round((spec.epochs or 1.0) * sequences / spec.global_batch_size))


def _device() -> torch.device:
    if not torch.cuda.is_available():
        return torch.device("cpu")
    import ray.train.torch

    return ray.train.torch.get_device()  # type: ignore[no-any-return]
