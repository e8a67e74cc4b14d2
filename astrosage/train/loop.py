"""What one training worker does: load, resume, step, validate, checkpoint, export."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from astrosage import lineage
from astrosage.context import StageContext
from astrosage.data.loader import Batch, GlobalOrder, PackedDataset
from astrosage.errors import TrainingError
from astrosage.runs.logs import logging_to
from astrosage.spec.stages import TrainSpec
from astrosage.train import checkpoint, deepspeed_config, engine, export, model, throughput
from astrosage.train.batches import FlatBatch, flatten
from astrosage.train.notices import POLL_PREEMPTION, STOP, Notices
from astrosage.train.schedule import learning_rate

log = logging.getLogger("astrosage.train")


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
    rank = ray.train.get_context().get_world_rank()
    if not torch.cuda.is_available():
        torch.set_num_threads(config["threads"])
    with logging_to(context.directory.storage, f"rank-{rank}.log"):
        try:
            return Trainer(context).run()
        except Exception:
            log.exception("rank %d fails", rank)
            raise


@dataclass
class State:
    """Where training is; all that a checkpoint needs beside the engine's own state."""

    step: int = 0
    tokens: int = 0


class Trainer:
    """One worker's part of a training stage."""

    def __init__(self, context: StageContext) -> None:
        import ray.train

        body = context.stage.train
        assert body is not None
        self.context, self.spec = context, body
        train_context = ray.train.get_context()
        self.rank, self.world_size = train_context.get_world_rank(), train_context.get_world_size()
        self.storage = train_context.get_storage()
        self.device = _device()
        shards = context.shards_path(self.spec.data)
        self.data = PackedDataset(shards, "train")
        self.validation = _validation(shards)
        self.order = GlobalOrder(len(self.data), self.spec.seed)
        self.total = total_steps(self.spec, len(self.data))
        self.micro = deepspeed_config.micro_batch_size(
            self.spec, self.world_size, self.data.sequence_length
        )
        self.accumulation = self.spec.global_batch_size // (self.micro * self.world_size)
        self.state = State()
        self.notices = Notices(context.run, self.rank)
        self.notice, self.saved = 0, -1

    def run(self) -> dict[str, Any]:
        """Train to the end and export."""
        import ray.train

        source = self.context.model_path(self.spec.model)
        loaded = model.load(
            source,
            bf16=self.spec.precision == "bf16",
            activation_checkpointing=self.spec.activation_checkpointing,
        )
        self.config = loaded.model.config
        self.peak = throughput.peak(self.device, bf16=self.spec.precision == "bf16")
        self.engine = engine.initialize(loaded, self.spec, self.micro, self.accumulation)
        reported = [c.checkpoint for c in ray.train.get_all_reported_checkpoints()]
        if self.rank == 0:
            checkpoint.clear_leftovers(self.storage, reported)
        torch.distributed.barrier()
        found = checkpoint.restore(self.engine, reported, self.rank, self.world_size)
        if found:
            self.state = State(step=found["step"], tokens=found["tokens"])
            log.info("resumed at step %d of %d", self.state.step, self.total)
        self.metrics = self.context.metrics(after_step=self.state.step) if self.rank == 0 else None
        self._train()
        if self.metrics:
            self.metrics.close()
        if self.state.step < self.total:
            return {"stopped": self.state.step}
        return self._finish(source)

    def _train(self) -> None:
        """Step until the end, or until a stop is asked for; what is done is in a checkpoint."""
        if self.state.step == 0:
            self._validate()
        while self.state.step < self.total:
            self._step()
            step = self.state.step
            if self._due(self.spec.validate_every_steps) or step == self.total:
                self._validate()
            if self._due(self.spec.checkpoint.every_steps) or step == self.total:
                self._checkpoint()
            if self.notice and self._heed():
                return

    def _heed(self) -> bool:
        """Take a checkpoint if there may not be another chance; tells whether to stop."""
        stop = bool(self.notice & STOP)
        taken = bool(self.notice & POLL_PREEMPTION) and self.notices.preempted()
        if (stop or taken) and self.saved != self.state.step:
            self._checkpoint()
        if stop and self.state.step < self.total:
            log.info("stopping on request at step %d of %d", self.state.step, self.total)
        return stop

    def _due(self, every: int | None) -> bool:
        return every is not None and self.state.step % every == 0

    def _step(self) -> None:
        """One optimizer step over the global batch."""
        began = time.perf_counter()
        rows = self.order.indices(self.state.step, self.spec.global_batch_size)
        whole = self.data.rows(rows)
        learnt, real = int(whole.mask.sum()), int((whole.segments > 0).sum())
        # The engine averages over ranks and accumulation steps; the loss wanted is the mean over
        # all learnt tokens of the global batch, so that it is the same for every world size.
        scale = self.world_size * self.accumulation / max(1, learnt)
        rate = learning_rate(self.spec, self.state.step, self.total)
        engine.set_learning_rate(self.engine, rate)
        summed, flops = 0.0, 0.0
        for index in range(self.accumulation):
            batch = self._micro_batch(whole, index)
            loss = self.engine(batch)
            self.engine.backward(loss * scale)
            summed += float(loss.detach())
            flops += throughput.training_flops(self.config, batch.lengths, len(batch.targets))
            if index == self.accumulation - 1:
                summed, flops, notice = engine.all_sum(summed, flops, self.notices.look())
                self.notice = int(notice)
                self._refuse_bad_loss(summed / max(1, learnt), rows)
            self.engine.step()
        self.state.step += 1
        self.state.tokens += real
        seconds = time.perf_counter() - began
        self._log(
            loss=summed / max(1, learnt),
            learningRate=rate,
            gradientNorm=engine.as_float(self.engine.get_global_grad_norm()),
            stepSeconds=round(seconds, 4),
            tokensPerSecond=round(real / seconds, 1),
            mfu=round(flops / seconds / (self.peak.flops * self.world_size), 4),
            etaSeconds=round((self.total - self.state.step) * seconds, 1),
            epoch=round(self.state.step * self.spec.global_batch_size / len(self.data), 3),
        )

    def _micro_batch(self, whole: Batch, index: int) -> FlatBatch:
        """This rank's part of the global batch: rows are dealt out by micro-batch, then by rank."""
        begin = (index * self.world_size + self.rank) * self.micro
        mine = slice(begin, begin + self.micro)
        flat = flatten(whole.tokens[mine], whole.segments[mine], whole.mask[mine])
        return flat.to(self.device)

    def _refuse_bad_loss(self, loss: float, rows: list[int]) -> None:
        if math.isfinite(loss):
            return
        documents = sorted({d for row in rows for d in self.data.document_ids(row)})
        shown = ", ".join(documents[:8]) + (", …" if len(documents) > 8 else "")
        raise TrainingError(
            f"stage {self.context.stage_name}: loss is {loss} at step {self.state.step + 1}; "
            f"the batch holds {shown}",
            "lower `learningRate` or raise `warmupRatio`, look at those documents, and submit "
            "again; the checkpoints before this step are kept",
        )

    @torch.no_grad()
    def _validate(self) -> None:
        """Loss over the held-out rows, shared out over the ranks."""
        if self.validation is None:
            return
        rows = len(self.validation)
        per_pass = self.micro * self.world_size
        self.engine.eval()
        summed, learnt = 0.0, 0.0
        for begin in range(0, rows, per_pass):
            first = begin + self.rank * self.micro
            mine = list(range(first, min(first + self.micro, rows)))
            # Sharded parameters are gathered by all ranks together, so a rank without rows of its
            # own computes one all the same and leaves it out of the sum.
            packed = self.validation.rows(mine or [0])
            batch = flatten(packed.tokens, packed.segments, packed.mask).to(self.device)
            loss = float(self.engine(batch))
            if mine:
                summed, learnt = summed + loss, learnt + len(batch.targets)
        self.engine.train()
        summed, learnt = engine.all_sum(summed, learnt)
        self._log(validationLoss=summed / max(1.0, learnt))

    def _log(self, **values: Any) -> None:
        if self.metrics is None:
            return
        step, tokens = self.state.step, self.state.tokens
        self.metrics.log(step, self.total, "steps", tokens=tokens, **values)

    def _checkpoint(self) -> None:
        state = {
            "step": self.state.step,
            "tokens": self.state.tokens,
            "worldSize": self.world_size,
        }
        checkpoint.save(self.engine, state, self.rank, self.storage)
        self.saved = self.state.step
        self._log(checkpoint=f"step-{self.state.step:08d}")

    def _finish(self, source: Path) -> dict[str, Any]:
        memory = engine.all_max(lineage.peak_memory_bytes())
        facts = {
            "steps": self.state.step,
            "tokens": self.state.tokens,
            "workers": self.world_size,
            "peakMemoryBytes": int(memory),
            "mfuPeak": self.peak.source,
            "device": throughput.device_name(self.device),
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


def _validation(shards: Path) -> PackedDataset | None:
    dataset = PackedDataset(shards, "validation")
    return dataset if len(dataset) else None
