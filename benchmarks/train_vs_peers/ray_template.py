"""Ray's way to fine-tune with DeepSpeed, as its documentation publishes it, on the same data.

    python ray_template.py --model … --tokens … --out … --steps 10

The method is that of "Fine-tune an LLM with Ray Train and DeepSpeed": TorchTrainer, ZeRO-3,
every record padded to the maximum length, a plain loop over a prepared DataLoader. In its favour,
and to make the losses comparable, three things differ: only assistant tokens are learnt (there,
padding is learnt too), AdamW is fused, and records need not be tokenised during the run.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any


def train(config: dict[str, Any]) -> None:
    """The loop of one worker."""
    import deepspeed
    import deepspeed.ops
    import ray.train
    import ray.train.torch
    import torch
    from step_log import StepLog
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(1)
    deepspeed.ops.__compatible_ops__ = {}  # keeps DeepSpeed from compiling C++ at run time
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(config["model"])
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config["learning_rate"], betas=(0.9, 0.95), fused=True
    )
    engine, _, _, _ = deepspeed.initialize(
        model=model, optimizer=optimizer, config=config["deepspeed"]
    )
    loader = ray.train.torch.prepare_data_loader(
        torch.utils.data.DataLoader(
            padded(config["tokens"], config["length"]),
            batch_size=config["micro_batch"],
            shuffle=True,
        )
    )
    device = ray.train.torch.get_device()
    rank = ray.train.get_context().get_world_rank()
    out = Path(config["out"])
    log = StepLog(out / "steps.jsonl" if rank == 0 else None)
    forward = log.timed("forward", engine)
    backward, step = log.timed("backward", engine.backward), log.timed("step", engine.step)
    engine.train()
    batches = iter(loader)
    for _ in range(config["steps"]):
        log.begin()
        losses, tokens = 0.0, 0
        for _ in range(config["accumulation"]):
            batch = next(batches)
            mask = batch["attention_mask"].to(device)
            loss = forward(
                input_ids=batch["input_ids"].to(device),
                attention_mask=mask,
                labels=batch["labels"].to(device),
                use_cache=False,
            ).loss
            losses += loss.item() / config["accumulation"]
            backward(loss)
            step()
            tokens += int(mask.sum())
        counted = torch.tensor(tokens)
        torch.distributed.all_reduce(counted)
        log.end(tokens=int(counted), loss=losses)
    engine.save_16bit_model(str(out / "model"), "pytorch_model.bin")
    ray.train.report({"steps": config["steps"]})


def padded(file: str, length: int) -> list[dict[str, Any]]:
    """Records padded to the maximum length, as ``padding="max_length"`` makes them."""
    import torch

    rows = []
    for line in Path(file).read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        ids = torch.tensor(record["input_ids"][:length])
        learnt = torch.tensor(record["assistant_masks"][:length])
        row = {
            "input_ids": torch.zeros(length, dtype=torch.int64),
            "attention_mask": torch.zeros(length, dtype=torch.int64),
            "labels": torch.full((length,), -100),
        }
        row["input_ids"][: len(ids)] = ids
        row["attention_mask"][: len(ids)] = 1
        row["labels"][: len(ids)] = torch.where(learnt > 0, ids, -100)
        rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--tokens", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--sequence-length", dest="length", type=int, default=512)
    parser.add_argument("--micro-batch", type=int, default=8)
    parser.add_argument("--accumulation", type=int, default=1)
    parser.add_argument("--learning-rate", type=float, default=5e-5)
    parser.add_argument("--zero", type=int, default=3)
    parser.add_argument("--precision", choices=["bf16", "fp32"], default="bf16")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()

    import ray
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    ray.init(
        "local", num_cpus=options.workers, include_dashboard=False, object_store_memory=200 * 2**20
    )
    config = vars(options) | {
        "deepspeed": {
            "train_micro_batch_size_per_gpu": options.micro_batch,
            "gradient_accumulation_steps": options.accumulation,
            "bf16": {"enabled": options.precision == "bf16"},
            "data_types": {"grad_accum_dtype": options.precision},
            "zero_optimization": {
                "stage": options.zero,
                "overlap_comm": True,
                "contiguous_gradients": True,
                "stage3_gather_16bit_weights_on_model_save": True,
            },
            "gradient_clipping": 1.0,
            "zero_allow_untested_optimizer": True,
            "zero_force_ds_cpu_optimizer": False,
            "steps_per_print": 2**31 - 1,
        }
    }
    with tempfile.TemporaryDirectory() as storage:
        TorchTrainer(
            train,
            train_loop_config=config,
            scaling_config=ScalingConfig(
                num_workers=options.workers, use_gpu=False, resources_per_worker={"CPU": 1}
            ),
            torch_config=TorchConfig(backend="gloo"),
            run_config=RunConfig(name="template", storage_path=storage),
        ).fit()


if __name__ == "__main__":
    main()
