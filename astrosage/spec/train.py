"""What a train stage may be told: how to learn, how to fit in memory, how to survive."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from astrosage.spec.base import SpecModel
from astrosage.spec.cluster import PositiveInt
from astrosage.spec.kubernetes import rule, rules

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
LearningRate = Annotated[float, Field(gt=0.0, le=1.0)]
ScheduleName = Literal["cosine", "linear", "constant", "wsd"]
OffloadTarget = Literal["none", "cpu", "nvme"]
Tracker = Literal["tensorboard", "mlflow", "wandb"]


class Zero(SpecModel):
    """DeepSpeed ZeRO (Rajbhandari et al. 2020)."""

    model_config = rules(
        rule(
            "self.offloadParameters == 'none' || self.stage == 3", "offloadParameters needs stage 3"
        ),
        rule(
            "self.offloadOptimizer == 'none' || self.stage > 0",
            "offloadOptimizer needs stage 1, 2 or 3",
        ),
        rule("self.offloadOptimizer != 'nvme' || self.stage == 3", "nvme needs stage 3"),
        rule(
            "(self.offloadOptimizer != 'nvme' && self.offloadParameters != 'nvme') || "
            "has(self.nvmePath)",
            "nvme needs nvmePath",
        ),
        rule("!has(self.hierarchicalPartition) || self.stage == 3", "needs stage 3"),
    )

    stage: Literal[0, 1, 2, 3] = 3
    """What is sharded: 0 nothing, 1 optimizer states, 2 and gradients, 3 and parameters."""
    offload_optimizer: OffloadTarget = "none"
    """Where optimizer states live: `cpu` and `nvme` (stage 3 only) spare GPU memory."""
    offload_parameters: OffloadTarget = "none"
    """Where parameters live between uses (stage 3 only)."""
    nvme_path: str | None = Field(default=None, min_length=1)
    """A folder on each node's local NVMe disk, for `nvme`."""
    hierarchical_partition: Annotated[int, Field(ge=2)] | None = None
    """Keep a second copy of the parameters sharded over this many neighbouring workers, usually
    those of a node, so that the backward pass gathers inside it (ZeRO++, Wang et al. 2023; stage 3
    only)."""

    @model_validator(mode="after")
    def _options_that_fit_the_stage(self) -> Zero:
        if self.offload_parameters != "none" and self.stage != 3:
            raise PydanticCustomError(
                "zero_offload",
                "offloadParameters needs stage 3, found stage {stage}",
                {"stage": self.stage},
            )
        if self.offload_optimizer != "none" and self.stage == 0:
            raise PydanticCustomError("zero_offload", "offloadOptimizer needs stage 1, 2 or 3")
        if self.offload_optimizer == "nvme" and self.stage != 3:
            raise PydanticCustomError(
                "zero_offload",
                "offloadOptimizer: nvme needs stage 3, found stage {stage}; `cpu` works there",
                {"stage": self.stage},
            )
        if "nvme" in (self.offload_optimizer, self.offload_parameters) and not self.nvme_path:
            raise PydanticCustomError("zero_nvme", "offload to nvme needs `nvmePath`, a folder")
        if self.hierarchical_partition is not None and self.stage != 3:
            raise PydanticCustomError(
                "zero_hierarchy",
                "hierarchicalPartition needs stage 3, found stage {stage}",
                {"stage": self.stage},
            )
        return self


class CheckpointSpec(SpecModel):
    """When resumable checkpoints are taken and which are kept."""

    every_steps: PositiveInt = 50
    """Optimizer steps between checkpoints; one is always taken at the end."""
    keep: PositiveInt = 2
    """Newest checkpoints kept."""
    keep_best: Annotated[int, Field(ge=0)] = 0
    """Checkpoints with the lowest validation loss that are kept as well."""
    keep_every_hours: Positive | None = None
    """Keep one checkpoint for good each time so many hours have passed."""


class Lora(SpecModel):
    """Train low-rank adapters instead of the whole model (Hu et al. 2021); the exported model has
    them merged in."""

    rank: PositiveInt = 16
    """Rank of the update of each matrix."""
    alpha: Positive = 32.0
    """The update is scaled by alpha / rank."""
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Dropout before the adapter."""
    targets: list[Annotated[str, Field(min_length=1)]] = Field(default=["all-linear"], min_length=1)
    """Names of the linear layers, for example `q_proj`; `all-linear` is all but the output
    layer."""


class Phase(SpecModel):
    """A part of the training with a schedule of its own; what is not given is the stage's."""

    share: Positive
    """Its part of the steps, relative to the other phases."""
    learning_rate: LearningRate | None = None
    """Peak learning rate."""
    schedule: ScheduleName | None = None
    """Decay after warm-up."""
    warmup_ratio: Fraction | None = None
    """Share of the phase's steps that warm up."""
    decay_ratio: Fraction | None = None
    """Share of the phase's steps that decay at its end (`wsd`)."""
    min_learning_rate_ratio: Fraction | None = None
    """Where decay ends, as a share of the phase's peak."""


class EarlyStopping(SpecModel):
    """End training when the validation loss no longer falls."""

    patience: PositiveInt = 3
    """Validations in a row without improvement."""
    min_delta: Annotated[float, Field(ge=0.0)] = 0.0
    """A smaller fall is no improvement."""


class Watchdog(SpecModel):
    """What is done when the loss goes bad or a step hangs."""

    bad_loss: Literal["stop", "skip"] = "stop"
    """A loss or gradient norm that is not finite, or a loss that explodes: `stop` ends the run;
    `skip` goes back to the last good checkpoint and leaves that batch out."""
    explosion_ratio: Annotated[float, Field(gt=1.0)] | None = 4.0
    """A loss above this many times the median of the last 32 steps explodes; null: only what is
    not finite is bad."""
    max_skips: PositiveInt = 8
    """Batches that `skip` may leave out before the run is stopped after all."""
    hang_seconds: Annotated[float, Field(ge=1.0)] | None = 1800.0
    """A step that takes longer has the stack of every rank logged, and its workers are restarted;
    null switches this off."""


OPERATIONAL = (
    "zero",
    "activation_checkpointing",
    "micro_batch_size",
    "checkpoint",
    "watchdog",
    "tracking",
)
"""Fields that say how a training is carried out and not what is learnt; they may change between its
attempts."""


class TrainSpec(SpecModel):
    """Continued pre-training (cpt) or supervised fine-tuning (sft)."""

    model_config = rules(
        rule("!(has(self.epochs) && has(self.maxSteps))", "give epochs or maxSteps, not both"),
        rule(
            "self.schedule != 'wsd' || self.warmupRatio + self.decayRatio <= 1.0",
            "warmupRatio + decayRatio must be at most 1",
        ),
    )

    objective: Literal["cpt", "sft"]
    """`cpt` learns from every token, `sft` from assistant tokens only."""
    model: str | None = None
    """A stage, alias, path or hub id; default: the run's `spec.model`."""
    data: str
    """A prepare stage of this run."""
    epochs: Positive | None = None
    """Passes over the data; default 1. Give this or `maxSteps`, not both."""
    max_steps: PositiveInt | None = None
    """Optimizer steps."""
    learning_rate: LearningRate = 2.0e-5
    """Peak learning rate."""
    schedule: ScheduleName = "cosine"
    """Decay after warm-up; `wsd` (warm-up, stable, decay) holds the peak and decays linearly at the
    end."""
    warmup_ratio: Fraction = 0.03
    """Share of the steps that warm up linearly."""
    decay_ratio: Fraction = 0.1
    """Share of the steps that decay at the end (`wsd` only)."""
    min_learning_rate_ratio: Fraction = 0.1
    """Where decay ends, as a share of the peak."""
    phases: list[Phase] = Field(default=[], max_length=16)
    """Parts that each begin the schedule anew; optimizer states go on. Default: one."""
    global_batch_size: PositiveInt = 8
    """Sequences an optimizer step, over all workers."""
    micro_batch_size: PositiveInt | None = None
    """Sequences a worker computes at once; default: as many as 4,096 tokens hold and divide."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.0
    """Decoupled (AdamW); not applied to norms and biases."""
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (
        0.9,
        0.95,
    )
    """Adam's decay rates."""
    epsilon: Positive = 1e-8
    """Adam's epsilon."""
    gradient_clipping: Annotated[float, Field(ge=0.0)] = 1.0
    """Global gradient norm; 0 switches clipping off."""
    precision: Literal["bf16", "fp32"] = "bf16"
    """Compute type, and that of the model that is written; master weights and optimizer states are
    fp32."""
    lora: Lora | None = None
    """Train adapters only; default: all weights."""
    zero: Zero = Zero()
    """Sharding."""
    deepspeed: dict[str, Any] = {}
    """More of DeepSpeed's own options, by their own names; what this file says elsewhere cannot be
    said here."""
    activation_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third more compute."""
    checkpoint: CheckpointSpec = CheckpointSpec()
    """Checkpoints."""
    validate_every_steps: PositiveInt | None = None
    """Steps between validation losses; default: at the start and the end."""
    early_stopping: EarlyStopping | None = None
    """End early; default: never."""
    watchdog: Watchdog = Watchdog()
    """Bad losses and hanging steps."""
    tracking: list[Tracker] = ["tensorboard"]
    """Where the metrics go besides metrics.jsonl and Ray's Prometheus endpoint; `mlflow` and
    `wandb` need the extra of that name and their own environment variables."""
    seed: int = 0
    """Seeds data order."""

    @model_validator(mode="after")
    def _one_length(self) -> TrainSpec:
        if self.epochs is not None and self.max_steps is not None:
            raise PydanticCustomError(
                "exclusive", "give `epochs` or `maxSteps`, not both; remove one"
            )
        return self

    @model_validator(mode="after")
    def _schedule_that_fits(self) -> TrainSpec:
        for i, phase in enumerate(self.phases or [Phase(share=1)]):
            name = phase.schedule or self.schedule
            warmup = self.warmup_ratio if phase.warmup_ratio is None else phase.warmup_ratio
            decay = self.decay_ratio if phase.decay_ratio is None else phase.decay_ratio
            if name == "wsd" and warmup + decay > 1.0:
                where = f"phases[{i}]: " if self.phases else ""
                raise PydanticCustomError(
                    "schedule",
                    "{where}warmupRatio {warmup} + decayRatio {decay} exceed 1: the decay would "
                    "begin before the warm-up ends",
                    {"where": where, "warmup": warmup, "decay": decay},
                )
        return self
