"""TRL's SFTTrainer with DeepSpeed on the benchmark's data; run by torchrun in TRL's environment.

    torchrun --nproc-per-node 2 trl_sft.py --model … --tokens … --out … --steps 10 --packing

Modes: ``--packing`` (best-fit decreasing, padding-free, documents kept apart by position ids),
``--padding-free`` without packing, or neither (padded to the longest of a micro-batch). The
optimizer is PyTorch's fused AdamW, the precision bf16 with fp32 master weights in DeepSpeed, or
fp32 throughout.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import deepspeed
import torch
import transformers.training_args
from accelerate import PartialState
from datasets import load_dataset
from step_log import StepLog
from transformers import AutoTokenizer, TrainerCallback
from trl import SFTConfig, SFTTrainer


def main() -> None:
    options = arguments()
    torch.set_num_threads(1)
    keep_from_compiling()
    open_the_way_to_cpus()
    config = SFTConfig(
        output_dir=str(options.out / "trainer"),
        max_steps=options.steps,
        per_device_train_batch_size=options.micro_batch,
        gradient_accumulation_steps=options.accumulation,
        learning_rate=options.learning_rate,
        lr_scheduler_type="constant",
        adam_beta1=0.9,
        adam_beta2=0.95,
        max_grad_norm=1.0,
        optim="adamw_torch_fused",
        bf16=options.precision == "bf16",
        gradient_checkpointing=False,
        max_length=options.sequence_length,
        packing=options.packing,
        padding_free=options.padding_free,
        model_init_kwargs={
            "dtype": {"bf16": "bfloat16", "fp32": "float32"}[options.precision],
            "attn_implementation": options.attention,
        },
        deepspeed=deepspeed_config(options),
        dataloader_num_workers=0,
        dataloader_pin_memory=False,
        accelerator_config={"use_configured_state": True},
        save_strategy="no",
        report_to="none",
        logging_steps=1,
        disable_tqdm=True,
        seed=0,
    )
    data = load_dataset("json", data_files=str(options.tokens), split="train")
    trainer = SFTTrainer(
        model=str(options.model),
        args=config,
        train_dataset=data,
        processing_class=AutoTokenizer.from_pretrained(options.model),
    )
    log = StepLog(options.out / "steps.jsonl" if trainer.is_world_process_zero() else None)
    watch(trainer, log)
    trainer.train()
    trainer.save_model(str(options.out / "model"))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--tokens", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--sequence-length", type=int, default=512)
    parser.add_argument("--micro-batch", type=int, default=8)
    parser.add_argument("--accumulation", type=int, default=1)
    parser.add_argument("--learning-rate", type=float, default=5e-5)
    parser.add_argument("--zero", type=int, default=3)
    parser.add_argument("--packing", action="store_true")
    parser.add_argument("--padding-free", action="store_true")
    parser.add_argument("--precision", choices=["bf16", "fp32"], default="bf16")
    parser.add_argument("--attention", default="sdpa")
    return parser.parse_args()


def keep_from_compiling() -> None:
    """DeepSpeed would build C++ operators at run time; PyTorch's own take their place."""
    import deepspeed.ops as ops

    ops.__compatible_ops__ = {}


def open_the_way_to_cpus() -> None:
    """What TRL's libraries leave out for DeepSpeed where there is no GPU: a process group, and the
    knowledge that bf16 works.
    """
    if torch.cuda.is_available():
        return
    os.environ["ACCELERATE_USE_DEEPSPEED"] = "true"
    PartialState(backend="gloo")
    transformers.training_args.is_torch_bf16_gpu_available = lambda: True


def deepspeed_config(options: argparse.Namespace) -> dict[str, Any]:
    return {
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": "auto",
        "gradient_clipping": "auto",
        "bf16": {"enabled": options.precision == "bf16"},
        "zero_optimization": {
            "stage": options.zero,
            "overlap_comm": False,
            "contiguous_gradients": True,
            "stage3_gather_16bit_weights_on_model_save": True,
        },
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
    }


def watch(trainer: SFTTrainer, log: StepLog) -> None:
    """Note the time of every step and of what is in it, and the tokens that are no padding."""
    engine = deepspeed.DeepSpeedEngine
    engine.backward = log.timed("backward", engine.backward)
    engine.step = log.timed("step", engine.step)
    compute_loss = log.timed("forward", trainer.compute_loss)
    tokens = torch.zeros((), dtype=torch.int64)

    def counted(model: Any, inputs: dict[str, Any], **kwargs: Any) -> Any:
        mask = inputs.get("attention_mask")
        tokens.add_(inputs["input_ids"].numel() if mask is None else mask.sum())
        return compute_loss(model, inputs, **kwargs)

    class Steps(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            tokens.zero_()
            log.begin()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            torch.distributed.all_reduce(tokens)
            log.end(tokens=int(tokens))

    trainer.compute_loss = counted
    trainer.add_callback(Steps())


if __name__ == "__main__":
    main()
