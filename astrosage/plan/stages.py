"""The plan of a run's train stages: memory, time, money, checkpoints, and what to change.

Nothing is loaded and nothing started: the model's configuration and the run file are enough.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from astrosage.errors import SpecError
from astrosage.plan import (
    advice,
    communication,
    cost,
    fit,
    memory,
    models,
    pace,
    preflight,
    training,
    workload,
)
from astrosage.plan.accelerators import Accelerator
from astrosage.plan.advice import Advice, Place
from astrosage.plan.cost import Price
from astrosage.plan.machine import Machine
from astrosage.plan.memory import Memory
from astrosage.plan.pace import Pace, Rate
from astrosage.plan.setup import Setup
from astrosage.plan.workers import Workers
from astrosage.plan.workload import Work
from astrosage.spec import graph
from astrosage.spec.cluster import Elastic
from astrosage.spec.job import AstroJob
from astrosage.spec.pool import GPUNodePool
from astrosage.spec.stages import PrepareSpec, Stage
from astrosage.train import deepspeed_config
from astrosage.units import format_bytes, parse_bytes

# fp32 master weights and two moments of what is trained.
CHECKPOINT_BYTES = 12
EXPORT_BYTES = {"bf16": 2, "fp32": 4}
# Assumed, of each machine.
WRITE_RATE = 1e9


@dataclass(frozen=True)
class Assumptions:
    """What a plan takes for granted.

    Attributes:
        accelerator: The GPUs; None: the pool's, if it names them.
        memory: Bytes of a worker's device; None: the accelerator's, for a processor what the run
            file asks for or this machine has.
        mfu: Share of the peak that is reached; None: assumed.
        rate: What a worker computed in an earlier run; instead of ``mfu``.
        price_per_gpu_hour: USD.
        network: Bytes/s of each GPU to other machines; None: the accelerator's usual.
        write_rate: Bytes/s at which a machine writes checkpoints.
        pools: GPUNodePools by name.
        tokens: Tokens of a stage's data by stage; the empty name means every stage.
        model: A model whose shape is used instead of the run file's.
        remote: Whether stores and the hub may be asked.
        machine: This machine, where it is the one that trains.
    """

    accelerator: Accelerator | None = None
    memory: float | None = None
    mfu: float | None = None
    rate: Rate | None = None
    price_per_gpu_hour: float | None = None
    network: float | None = None
    write_rate: float = WRITE_RATE
    pools: Mapping[str, GPUNodePool] | None = None
    tokens: Mapping[str, float] = field(default_factory=dict)
    model: str | None = None
    remote: bool = True
    machine: Machine | None = None


@dataclass(frozen=True)
class StagePlan:
    """The plan of one train stage.

    Attributes:
        name: The stage.
        model: The base model it comes from.
        setup: What it is on its fewest workers, where memory is tightest.
        accelerator: Its GPUs; None for processors, or if unknown.
        limit: Bytes that a worker may use; None if unknown.
        limit_source: Where that is from.
        workers: The most workers, which time and money are of.
        by_stage: Peak memory by ZeRO stage.
        largest: Rows of the largest micro-batch that fits by ZeRO stage; None if unknown.
        work: Steps and tokens.
        rate: What a worker is taken to compute; None if nothing is known.
        pace: Speed on the most workers.
        slowest: Speed on the fewest, where the number changes.
        price: USD an hour on the most workers.
        communication: Bytes that a worker sends a step.
        communication_seconds: Time of it when nothing else is done; None without a known network.
        checkpoint: Bytes of one checkpoint.
        checkpoints: How many are kept at once.
        checkpoint_seconds: Time to write one.
        export: Bytes of the finished model.
        advice: What to change.
        notes: What to know.
    """

    name: str
    model: str
    setup: Setup
    accelerator: Accelerator | None
    limit: float | None
    limit_source: str
    workers: int
    by_stage: Mapping[int, Memory]
    largest: Mapping[int, int] | None
    work: Work
    rate: Rate | None
    pace: Pace | None
    slowest: Pace | None
    price: Price
    communication: float
    communication_seconds: float | None
    checkpoint: float
    checkpoints: int
    checkpoint_seconds: float
    export: float
    advice: list[Advice]
    notes: list[str]

    @property
    def peak(self) -> Memory:
        """Memory as the stage is written."""
        return self.by_stage[self.setup.stage]

    @property
    def fits(self) -> bool | None:
        """Whether it fits; None if nobody knows how much there is."""
        return None if self.limit is None else self.peak.total <= self.limit

    @property
    def hours(self) -> float | None:
        """Of training, checkpoints and validation left out; None if unknown."""
        if self.pace is None or self.work.steps is None:
            return None
        return self.work.steps * self.pace.step_seconds / 3600

    @property
    def gpu_hours(self) -> float | None:
        """Hours times GPUs; None if unknown, or for processors."""
        hours = self.hours
        return None if hours is None or not self.setup.cuda else hours * self.workers

    @property
    def usd(self) -> float | None:
        """Money; None if unknown."""
        hours, hourly = self.hours, self.price.hourly
        return None if hours is None or hourly is None else hours * hourly


def plan(job: AstroJob, assumptions: Assumptions) -> list[StagePlan]:
    """The plan of every train stage, in the order of the run.

    Args:
        job: With absolute paths.
        assumptions: What is not in it.

    Raises:
        SpecError, NotFoundError: Where something cannot be, naming its field.
    """
    stages = [s for s in graph.order(job) if s.train is not None]
    if not stages:
        raise SpecError(
            "spec.stages: there is no train stage to plan", "`astroctl validate` checks the rest"
        )
    unknown = set(assumptions.tokens) - {"", *(s.name for s in stages)}
    if unknown:
        raise SpecError(
            f"--tokens: there is no train stage `{min(unknown)}`",
            f"train stages: {', '.join(s.name for s in stages)}",
        )
    return [_Planning(job, stage, assumptions).plan() for stage in stages]


class _Planning:
    """The plan of one stage."""

    def __init__(self, job: AstroJob, stage: Stage, assumptions: Assumptions) -> None:
        assert stage.train is not None
        self.job, self.stage, self.given = job, stage, assumptions
        self.spec, self.cluster = stage.train, job.cluster_of(stage)
        self.field = f"{graph.path_of(job, stage)}.train"
        where = "spec.cluster" if stage.cluster is None else self.field[:-5] + "cluster"
        pool = cost.pool_of(self.cluster, where, assumptions.pools)
        self.on = Workers.of(self.cluster, where, pool, assumptions.accelerator)

    def plan(self) -> StagePlan:
        """All of it."""
        preflight.check_batches(self.job, self.stage)
        # Every model with a shape has the layers of this one.
        training.check(self.job, self.stage, {"model_type": "llama"}, None)
        fewest = self._setup(self.cluster.min_workers)
        most = self._setup(self.cluster.max_workers)
        limit, limit_source = self._limit()
        work = workload.work(fewest, self._rows())
        rate, fabric = self._rate(), self.on.fabric(self.given.network)
        paces = [pace.pace(s, work, rate, fabric) if rate else None for s in (most, fewest)]
        alone = communication.seconds(most, fabric) if fabric and most.workers > 1 else None
        checkpoint = CHECKPOINT_BYTES * float(most.trained)
        machines = math.ceil(most.workers / self.on.per_node)
        keep = self.spec.checkpoint
        return StagePlan(
            name=self.stage.name,
            model=self._base(),
            setup=fewest,
            accelerator=self.on.gpu,
            limit=limit,
            limit_source=limit_source,
            workers=most.workers,
            by_stage={s: memory.peak(fewest.with_stage(s)) for s in range(4)},
            largest=_largest(fewest, limit) if limit is not None else None,
            work=work,
            rate=rate,
            pace=paces[0],
            slowest=paces[1] if most.workers > fewest.workers else None,
            price=cost.price(
                self.cluster,
                most.workers,
                self.on.where,
                self.given.price_per_gpu_hour,
                self.on.pool,
            ),
            communication=communication.per_worker(most),
            communication_seconds=alone,
            checkpoint=checkpoint,
            checkpoints=keep.keep + keep.keep_best,
            checkpoint_seconds=checkpoint / (machines * self.given.write_rate),
            export=EXPORT_BYTES[self.spec.precision] * float(most.shape.parameters),
            advice=advice.advise(fewest, self._place(), limit, fabric),
            notes=list(self._notes(fewest, work, rate)),
        )

    def _base(self) -> str:
        return self.given.model or preflight.base_of(self.job, self.spec.model)

    def _setup(self, workers: int) -> Setup:
        prepare = self.job.stage(self.spec.data)
        assert isinstance(prepare.body, PrepareSpec)
        length, base = prepare.body.pack.sequence_length, self._base()
        field = "--model" if self.given.model else f"{self.field}.model"
        shape = models.shape_of(base, field, remote=self.given.remote)
        if shape.positions is not None and length > shape.positions:
            raise SpecError(
                f"{self._place().length}: {length} is over the {shape.positions} positions of "
                f"model `{base}`",
                f"at most {shape.positions}: --set spec.stages.{prepare.name}"
                f".prepare.pack.sequenceLength={shape.positions}",
            )
        micro = deepspeed_config.micro_batch_size(self.spec, workers, length)
        spec = self.spec.model_copy(update={"precision": "fp32"}) if self._widened else self.spec
        return Setup(shape, spec, workers, length, micro, self.on.cuda, self.field)

    @property
    def _widened(self) -> bool:
        """Whether bf16 is computed in fp32, for want of a processor that has it."""
        machine = self.given.machine
        slow = not self.on.cuda and machine is not None and not machine.bf16
        return slow and self.spec.precision == "bf16"

    def _place(self) -> Place:
        data = graph.path_of(self.job, self.job.stage(self.spec.data))
        workers = f"{self.on.where}.workers"
        if isinstance(self.cluster.workers, Elastic):
            workers += ".min"
        return Place(self.field, workers, f"{data}.prepare.pack.sequenceLength")

    def _limit(self) -> tuple[float | None, str]:
        """Bytes that a worker may use, and where that is from."""
        if self.given.memory is not None:
            return self.given.memory, "--gpu-memory"
        if self.on.cuda:
            if self.on.gpu is None:
                return None, "give --accelerator"
            part = min(1.0, self.cluster.resources_per_worker.gpu)  # of a shared GPU
            return part * self.on.gpu.memory, self.on.gpu.name
        asked = self.cluster.resources_per_worker.memory
        if asked is not None:
            return float(parse_bytes(asked)), f"{self.on.where}.resourcesPerWorker.memory"
        if self.given.machine is None:
            return None, f"give {self.on.where}.resourcesPerWorker.memory"
        return self.given.machine.memory / self.cluster.min_workers, "this machine, by its workers"

    def _rows(self) -> workload.Rows:
        tokens = self.given.tokens.get(self.stage.name, self.given.tokens.get(""))
        return workload.rows_of(self.job, self.stage, tokens, remote=self.given.remote)

    def _rate(self) -> Rate | None:
        if self.given.rate is not None:
            return self.given.rate
        if self.on.gpu is None:
            return None
        return pace.assumed(self.on.gpu.tflops * 1e12, self.given.mfu)

    def _notes(self, setup: Setup, work: Work, rate: Rate | None) -> list[str]:
        """What a reader should know before trusting the figures."""
        notes = []
        if isinstance(self.cluster.workers, Elastic):
            notes.append(
                f"elastic: memory is that of {setup.workers} workers, time and money of "
                f"{self.cluster.max_workers}"
            )
        resources = self.cluster.resources_per_worker
        if resources.gpu > 1:
            notes.append(
                f"{self.on.where}.resourcesPerWorker.gpu: a worker uses one GPU; the others idle"
            )
        if self._widened:
            notes.append("computed in fp32: this machine's processor has no fast bf16")
        if rate is None and self.on.cuda:
            notes.append("no time: give --accelerator")
        elif rate is None:
            notes.append("no time: a processor's speed is in no table; give --measured RUN")
        if work.rows.estimated and work.steps is not None and self.spec.max_steps is None:
            notes.append("steps are an estimate; rows are taken to be full, of one document each")
        if self.spec.zero.offload_optimizer != "none":
            notes.append("offload: the time of updates on the host is not in the plan")
        host, asked = memory.host(setup), resources.memory
        if asked is not None and host > parse_bytes(asked):
            notes.append(
                f"{self.on.where}.resourcesPerWorker.memory: {asked}, but offloaded states take "
                f"{format_bytes(host)} a worker"
            )
        return notes


def _largest(setup: Setup, limit: float) -> dict[int, int]:
    return {s: fit.largest_usable(setup.with_stage(s), limit) for s in range(4)}
