"""Everything about a train stage that its memory and speed depend on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from astrosage.plan.shapes import ModelShape
from astrosage.spec.train import TrainSpec
from astrosage.train import deepspeed_config
from astrosage.train.adapter_names import ALL_LINEAR

# DeepSpeed's own defaults, in elements, for what our configuration leaves to it.
_ZERO_DEFAULTS = {
    "reduce_bucket_size": 500_000_000,
    "stage3_prefetch_bucket_size": 50_000_000,
    "stage3_max_live_parameters": 1_000_000_000,
    "stage3_max_reuse_distance": 1_000_000_000,
    "sub_group_size": 1_000_000_000,
}


@dataclass(frozen=True)
class Setup:
    """One train stage on a number of workers.

    Attributes:
        shape: The model.
        spec: The stage.
        workers: Workers, one process and device each.
        sequence_length: Tokens of a row.
        micro_batch: Rows a worker computes at once.
        cuda: Whether the device is a GPU, else the processor.
        where: The stage's place in the run file, for messages.
    """

    shape: ModelShape
    spec: TrainSpec
    workers: int
    sequence_length: int
    micro_batch: int
    cuda: bool = True
    where: str = "train"

    @property
    def tokens(self) -> int:
        """Tokens of a micro-batch: full rows, the most there can be."""
        return self.micro_batch * self.sequence_length

    @property
    def accumulation(self) -> int:
        """Micro-batches an optimizer step."""
        return -(-self.share_of_rows // self.micro_batch)

    @property
    def share_of_rows(self) -> int:
        """Rows of the global batch that a worker computes, at most."""
        return -(-self.spec.global_batch_size // self.workers)

    @property
    def stage(self) -> int:
        """ZeRO stage."""
        return self.spec.zero.stage

    @property
    def bytes_each(self) -> int:
        """Bytes of a parameter as it is computed with."""
        return 2 if self.spec.precision == "bf16" else 4

    @property
    def adapted(self) -> list[str]:
        """Linear layers of each decoder layer that have an adapter."""
        return list(_adapted(self.shape, self.spec))

    @property
    def trained(self) -> int:
        """Parameters that are trained: all, or the adapters'."""
        return adapter_parameters(self.shape, self.spec) or self.shape.parameters

    @property
    def parameters(self) -> int:
        """All parameters, adapters with them."""
        return self.shape.parameters + adapter_parameters(self.shape, self.spec)

    @property
    def share(self) -> float:
        """A worker's part of the optimizer states."""
        return self.trained / self.workers if self.stage else float(self.trained)

    @cached_property
    def deepspeed(self) -> dict[str, Any]:
        """DeepSpeed's configuration, as training makes it.

        Raises:
            SpecError: If the stage asks DeepSpeed for what cannot be.
        """
        return deepspeed_config.build(
            self.spec,
            self.workers,
            self.micro_batch,
            self.accumulation,
            cuda=self.cuda,
            where=self.where,
        )

    def with_stage(self, stage: int) -> Setup:
        """The same under another ZeRO stage; what that stage does not know is left out."""
        if stage == self.stage:
            return self
        old = self.spec.zero
        offload = old.offload_optimizer if stage else "none"
        zero = old.model_copy(
            update={
                "stage": stage,
                "offload_optimizer": "cpu" if offload == "nvme" and stage < 3 else offload,
                "offload_parameters": old.offload_parameters if stage == 3 else "none",
                "hierarchical_partition": old.hierarchical_partition if stage == 3 else None,
            }
        )
        return replace(self, spec=self.spec.model_copy(update={"zero": zero}))

    def zero_option(self, name: str) -> int:
        """A size, in elements, from the ZeRO section of that configuration."""
        value = self.deepspeed["zero_optimization"].get(name, _ZERO_DEFAULTS[name])
        return int(float(value))

    @property
    def near(self) -> int | None:
        """Workers that share a second copy of the parameters, where there is one."""
        size = self.deepspeed["zero_optimization"].get("zero_hpz_partition_size")
        return None if size is None else int(size)

    @property
    def gradient_bytes(self) -> int:
        """Bytes of a gradient as it is kept and added up."""
        types = self.deepspeed.get("data_types", {})
        return 4 if types.get("grad_accum_dtype") == "fp32" else self.bytes_each

    @property
    def communication_bytes(self) -> int:
        """Bytes of a gradient as it is sent."""
        sent = self.deepspeed.get("communication_data_type")
        return 4 if sent == "fp32" else self.bytes_each


def adapter_parameters(shape: ModelShape, spec: TrainSpec) -> int:
    """Parameters of the adapters; 0 without LoRA.

    A matrix ``[m, n]`` gets two of rank r: r * (m + n) elements (Hu et al. 2021).
    """
    if spec.lora is None:
        return 0
    return shape.layers * spec.lora.rank * sum(_adapted(shape, spec).values())


def _adapted(shape: ModelShape, spec: TrainSpec) -> dict[str, int]:
    """Linear layers that get an adapter, and the sum of their two widths."""
    if spec.lora is None:
        return {}
    feed_forward = shape.hidden + shape.intermediate
    widths = {
        "q_proj": shape.hidden + shape.query_width,
        "k_proj": shape.hidden + shape.key_value_width,
        "v_proj": shape.hidden + shape.key_value_width,
        "o_proj": shape.query_width + shape.hidden,
        "gate_proj": feed_forward,
        "up_proj": feed_forward,
        "down_proj": feed_forward,
    }
    targets = {t.rpartition(".")[2] for t in spec.lora.targets}
    return widths if ALL_LINEAR in targets else {n: w for n, w in widths.items() if n in targets}
