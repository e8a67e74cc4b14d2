"""Planned against measured memory: real steps of real engines, each case in processes of its own.

    python benchmarks/plan_memory.py                # all cases, a few minutes
    python benchmarks/plan_memory.py --case zero3-two

A case builds a Llama-shaped model with random weights, wraps it as training does (document
attention, chunked loss, DeepSpeed with AdamW), and takes three optimizer steps over full rows. What
is measured is the highest resident memory of the second and third step, less what the process had
when everything was imported and nothing loaded; with two workers, the larger of both. What is
planned is astrosage.plan.memory for a processor, less the same (glibc's allocator and its settings
are those of every process here: what it holds back is part of both). With two workers the bytes
given to each collective operation are counted too, and compared with astrosage.plan.communication.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import socket
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from astrosage.plan import allocator, communication, memory
from astrosage.plan.setup import Setup
from astrosage.plan.shapes import ModelShape
from astrosage.processor import has_bf16
from astrosage.spec.train import TrainSpec

STEPS = 3
TIMEOUT_SECONDS = 500

SMALL = ModelShape(8, 512, 1536, 8, 4, 64, 16_384, positions=4096)
DEEP = ModelShape(16, 512, 1536, 8, 4, 64, 16_384, tied=True, positions=4096)
SMOLLM2 = ModelShape(30, 576, 1536, 9, 3, 64, 49_152, tied=True, positions=8192)


@dataclasses.dataclass(frozen=True)
class Case:
    """What is run: a model, a stage, workers, length and micro-batch."""

    shape: ModelShape
    spec: dict[str, Any]
    workers: int = 1
    length: int = 1024
    micro: int = 2
    accumulation: int = 1

    def setup(self) -> Setup:
        rows = self.workers * self.micro * self.accumulation
        # As a training on this machine would be computed.
        precision = "bf16" if has_bf16() else "fp32"
        given = {"globalBatchSize": rows, "precision": precision, **self.spec}
        spec = TrainSpec.model_validate({"objective": "cpt", "data": "corpus", **given})
        return Setup(self.shape, spec, self.workers, self.length, self.micro, cuda=False)


def zero(stage: int, **more: Any) -> dict[str, Any]:
    return {"zero": {"stage": stage}, **more}


CASES = {
    "zero0": Case(SMALL, zero(0)),
    "zero1": Case(SMALL, zero(1)),
    "zero2": Case(SMALL, zero(2)),
    "zero3": Case(SMALL, zero(3)),
    "zero0-two": Case(SMALL, zero(0), workers=2),
    "zero1-two": Case(SMALL, zero(1), workers=2),
    "zero2-two": Case(SMALL, zero(2), workers=2),
    "zero3-two": Case(SMALL, zero(3), workers=2),
    "long": Case(SMALL, zero(3), length=4096, micro=1),
    "accumulated": Case(SMALL, zero(2), accumulation=3),
    "accumulated-zero1": Case(SMALL, zero(1), accumulation=3),
    "accumulated-zero3-two": Case(SMALL, zero(3), workers=2, accumulation=3),
    "checkpointed": Case(DEEP, zero(3, activationCheckpointing=True), length=1024, micro=4),
    "checkpointed-two": Case(
        DEEP, zero(3, activationCheckpointing=True), workers=2, length=1024, micro=2
    ),
    "deep": Case(DEEP, zero(2), length=512, micro=4),
    "fp32": Case(SMALL, zero(3, precision="fp32")),
    "adapters": Case(SMALL, zero(2, lora={"rank": 8})),
    "smollm2": Case(SMOLLM2, zero(3), length=512, micro=4),
    "smollm2-two": Case(SMOLLM2, zero(3), workers=2, length=512, micro=4),
    "smollm2-checkpointed": Case(
        SMOLLM2, zero(2, activationCheckpointing=True), length=512, micro=4
    ),
    "smollm2-checkpointed-zero3": Case(
        SMOLLM2, zero(3, activationCheckpointing=True), length=512, micro=4
    ),
}


def run(name: str) -> dict[str, Any]:
    """One case: what was planned, what was measured, and how far apart they are."""
    case = CASES[name]
    found = measure(name, case.workers)
    planned = memory.peak(case.setup())
    growth = round(planned.total - allocator.CPU_LIBRARIES)
    measured = max(f["peak"] for f in found)
    result = {
        "case": name,
        "planned": growth,
        "measured": measured,
        "error": round(growth / measured - 1, 3),
        "moment": planned.moment,
        "libraries": max(f["libraries"] for f in found),
    }
    if case.workers > 1:
        sent = communication.handed_over(case.setup())
        result["communicationPlanned"] = round(sent)
        result["communicationMeasured"] = found[0]["communicated"]
    return result


def measure(name: str, workers: int) -> list[dict[str, Any]]:
    """Run the case's workers; what each of them saw."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ranks = [
        subprocess.Popen(
            [sys.executable, __file__, "--case", name, "--rank", str(rank), "--port", str(port)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"},
        )
        for rank in range(workers)
    ]
    try:
        outputs = [process.communicate(timeout=TIMEOUT_SECONDS) for process in ranks]
    finally:
        for process in ranks:
            process.kill()
    for process, (_, errors) in zip(ranks, outputs, strict=True):
        if process.returncode:
            raise RuntimeError(f"case {name} failed:\n{errors[-4000:]}")
    return [json.loads(out.strip().splitlines()[-1]) for out, _ in outputs]


def worker(name: str, rank: int, port: int) -> None:
    """One worker of a case; prints what it saw."""
    warnings.filterwarnings("ignore")
    import torch
    import torch.distributed as dist

    from astrosage.train import engine
    from astrosage.train.model import TrainingModel

    case = CASES[name]
    os.environ |= {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(case.workers),
    }
    torch.manual_seed(0)
    dist.init_process_group("gloo", rank=rank, world_size=case.workers)
    with counted(dist) as sent:  # from the start: DeepSpeed keeps hold of the functions it finds
        engine.prepare()
        warm_up()
        before = resident("VmRSS")
        setup = case.setup()
        model = TrainingModel(build(case.shape, setup)).train()
        trainer = engine.initialize(model, setup.spec, setup.deepspeed)
        batch = full_rows(case)
        for step in range(STEPS):
            if step == 1:
                reset_peak()
            sent.clear()
            for index in range(case.accumulation):
                trainer.backward(trainer(batch) / len(batch.targets))
                engine.step(trainer, last=index == case.accumulation - 1)
    report = {
        "peak": resident("VmHWM") - before,
        "libraries": before,
        "communicated": sum(sent),
    }
    print(json.dumps(report))
    sys.stdout.flush()
    dist.barrier()
    os._exit(0)  # nothing is left to be tidied, and tidying takes seconds


def build(shape: ModelShape, setup: Setup) -> Any:
    """The model, sharded from the start under ZeRO-3 as training has it."""
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig

    config = LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_value_heads,
        head_dim=shape.head_dim,
        tie_word_embeddings=shape.tied,
        max_position_embeddings=shape.positions,
    )
    dtype = torch.bfloat16 if setup.spec.precision == "bf16" else torch.float32
    if setup.stage == 3:
        from astrosage.train import sharded

        with sharded.building(setup.deepspeed):
            model = AutoModelForCausalLM.from_config(config, dtype=dtype)
        model.tie_weights()
        for parameter in model.parameters():
            parameter.ds_tensor.normal_(std=0.02)
    else:
        model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    if setup.spec.lora is not None:
        from astrosage.train import adapters

        adapters.inject(model, setup.spec.lora, 0)
    if setup.spec.activation_checkpointing:
        model.activation_checkpointing_enable({"use_reentrant": False})
    return model


def warm_up() -> None:
    """Load what every process has and no model explains: libraries and their first buffers."""
    import peft  # noqa: F401
    import torch

    from astrosage.train.model import TrainingModel

    tiny = ModelShape(1, 64, 64, 2, 2, 32, 512, positions=64)
    case = Case(tiny, zero(0), length=64, micro=1)
    model = TrainingModel(build(tiny, case.setup())).train()
    model(full_rows(case)).backward()
    torch.optim.AdamW(model.parameters(), fused=True).step()


def full_rows(case: Case) -> Any:
    """A micro-batch of rows with one document each."""
    import numpy as np

    from astrosage.train.batches import flatten

    shape = (case.micro, case.length)
    tokens = np.random.default_rng(0).integers(0, case.shape.vocabulary, shape, dtype=np.int32)
    mask = np.ones(shape, np.uint8)
    mask[:, 0] = 0
    return flatten(tokens, np.ones(shape, np.int32), mask)


@contextmanager
def counted(dist: Any) -> Iterator[list[int]]:
    """Bytes that are given to collective operations: the whole tensor of each."""
    import torch

    sent: list[int] = []
    names = ("all_reduce", "all_gather_into_tensor", "reduce_scatter_tensor", "reduce", "broadcast")
    originals = {name: getattr(dist, name) for name in names}

    def watching(name: str) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            given = [x for x in (*arguments, *options.values()) if isinstance(x, torch.Tensor)]
            size = max(x.numel() * x.element_size() for x in given)
            sent.append(size * (2 if name == "all_reduce" else 1))
            return originals[name](*arguments, **options)

        return call

    for name in names:
        setattr(dist, name, watching(name))
    try:
        yield sent
    finally:
        for name, original in originals.items():
            setattr(dist, name, original)


def resident(field: str) -> int:
    """Bytes of this process's memory: ``VmRSS`` now, ``VmHWM`` at most since the last reset."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {field}")


def reset_peak() -> None:
    """Forget the highest resident memory so far (Linux: proc(5), clear_refs)."""
    Path("/proc/self/clear_refs").write_text("5")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", choices=CASES)
    parser.add_argument("--rank", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.rank is not None:
        worker(options.case, options.rank, options.port)
    worst = 0.0
    for name in [options.case] if options.case else CASES:
        result = run(name)
        worst = max(worst, abs(result["error"]))
        print(json.dumps(result), flush=True)
    print(json.dumps({"cases": len(CASES), "largestError": worst}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
