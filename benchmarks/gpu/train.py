"""Training speed on one GPU: tokens/s, MFU and peak memory, ours and TRL's.

    python benchmarks/gpu/train.py --size 1b --rows 2 --seconds 60

A Llama shape with random weights learns from real text in packed sequences of 8,192 tokens, in
bf16 with fp32 master weights. Needs torch, transformers and numpy; TRL is measured where it can be
imported. Prints JSON.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # from a checkout, uninstalled

import shapes
import text
import torch

WARM_UP_STEPS = 4
_ADAM = SimpleNamespace(
    learning_rate=1e-4, betas=(0.9, 0.95), epsilon=1e-8, weight_decay=0.0, gradient_clipping=1.0
)


def main() -> int:
    options = arguments()
    if options.only == "trl":
        import trl_peer

        print(json.dumps(trl_peer.measure(options)))
        return 0
    found = {"ours": measure(options)}
    if options.only is None and importlib.util.find_spec("trl"):
        found["trl"] = in_a_process_of_its_own("trl")
    print(json.dumps(found, indent=2))
    return 0


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--size", choices=shapes.NAMES, default="1b")
    parser.add_argument("--sequence-length", type=int, default=8192)
    parser.add_argument("--rows", type=int, default=2, help="sequences a micro-batch")
    parser.add_argument("--accumulation", type=int, default=1, help="micro-batches a step")
    parser.add_argument("--document-tokens", type=int, default=2048, help="median of a document")
    parser.add_argument("--seconds", type=float, default=60.0, help="to measure, after warm-up")
    parser.add_argument("--compile", action="store_true", help="torch.compile each decoder layer")
    parser.add_argument("--activation-checkpointing", action="store_true")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--only", choices=("ours", "trl"), help="default: both")
    return parser.parse_args(given)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Train for the asked time and say how fast it went."""
    from transformers import AutoModelForCausalLM

    from astrosage.models.arithmetic import compute_type, fast_bf16
    from astrosage.train import throughput
    from astrosage.train.model import TrainingModel
    from astrosage.train.plain import PlainEngine

    device = torch.device(options.device)
    config = shapes.config(options.size, options.sequence_length)
    torch.manual_seed(0)
    with device:
        model = AutoModelForCausalLM.from_config(config, dtype=compute_type(device))
    if options.activation_checkpointing:
        model.activation_checkpointing_enable({"use_reentrant": False})
    model.train()
    training = TrainingModel(model)
    if options.compile:
        for layer in model.model.layers:
            layer.compile()
    engine = PlainEngine(training, _ADAM)  # type: ignore[arg-type]
    batches = micro_batches(options, config.vocab_size, device)
    parts = Parts(device)
    done = timed(lambda: step(engine, batches, options.accumulation, config, parts), options, parts)
    peak = throughput.peak(device, bf16=fast_bf16(device))
    return {
        "size": options.size,
        "device": throughput.device_name(device),
        "tokensPerSecond": round(done.tokens / done.seconds, 1),
        "mfu": round(done.flops / done.seconds / peak.flops, 4),
        "mfuPeak": peak.source,
        "peakMemoryBytes": peak_memory(device),
        "steps": done.steps,
        "loss": round(done.loss, 4),
        "shareOfTime": parts.shares(),
    }


def micro_batches(options: argparse.Namespace, vocabulary: int, device: torch.device) -> Any:
    """Flat batches on the device, made while the one before is computed."""
    from astrosage.train.batches import flatten

    source = text.documents(
        text.articles(vocabulary), options.document_tokens, options.sequence_length
    )
    while True:
        yield flatten(*text.rows(source, options.rows, options.sequence_length)).to(device)


def step(
    engine: Any, batches: Any, accumulation: int, config: Any, parts: Parts
) -> tuple[int, float, torch.Tensor]:
    """One optimizer step; tokens, arithmetic and mean loss of it."""
    from astrosage.train.throughput import training_flops

    tokens, flops, loss = 0, 0.0, torch.zeros(())
    for _ in range(accumulation):
        batch = next(batches)
        with parts.part("forward"):
            summed = engine(batch)
        with parts.part("backward"):
            engine.backward(summed / (len(batch.targets) * accumulation))
        tokens += sum(batch.lengths)
        flops += training_flops(config, batch.lengths, len(batch.targets))
        loss = summed.detach() / len(batch.targets)
    with parts.part("optimizer"):
        engine.step()
    return tokens, flops, loss


def timed(
    one_step: Callable[[], tuple[int, float, torch.Tensor]],
    options: argparse.Namespace,
    parts: Parts,
) -> Any:
    """Steps until the time is over, the first ones not counted."""
    for _ in range(WARM_UP_STEPS):
        one_step()
    parts.clear()
    began = time.perf_counter()
    tokens, flops, steps, loss = 0, 0.0, 0, torch.zeros(())
    while time.perf_counter() - began < options.seconds or not steps:
        more, arithmetic, loss = one_step()
        tokens, flops, steps = tokens + more, flops + arithmetic, steps + 1
    # A GPU is still at work when the last call returns; reading the loss waits for it.
    last = float(loss)
    seconds = time.perf_counter() - began
    return SimpleNamespace(tokens=tokens, flops=flops, steps=steps, loss=last, seconds=seconds)


class Parts:
    """Time in parts of the step, by events on the GPU so that nothing waits to be measured."""

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._spans: list[tuple[str, Any, Any]] = []

    def clear(self) -> None:
        """Forget what was measured."""
        self._spans = []

    def part(self, name: str) -> Any:
        """A context that is one part."""
        return _Span(self, name)

    def shares(self) -> dict[str, float]:
        """Each part's share of all of them."""
        if self._cuda:
            torch.cuda.synchronize()
        spent: dict[str, float] = {}
        for name, begin, end in self._spans:
            seconds = begin.elapsed_time(end) / 1000 if self._cuda else end - begin
            spent[name] = spent.get(name, 0.0) + seconds
        whole = sum(spent.values()) or 1.0
        return {name: round(seconds / whole, 4) for name, seconds in spent.items()}

    def now(self) -> Any:
        """A point in time."""
        if not self._cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def add(self, name: str, begin: Any, end: Any) -> None:
        """One span of a part."""
        self._spans.append((name, begin, end))


class _Span:
    def __init__(self, parts: Parts, name: str) -> None:
        self._parts, self._name = parts, name

    def __enter__(self) -> None:
        self._begin = self._parts.now()

    def __exit__(self, *_: object) -> None:
        self._parts.add(self._name, self._begin, self._parts.now())


def peak_memory(device: torch.device) -> int:
    """Most bytes held: by PyTorch's allocator on a GPU, by the process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def in_a_process_of_its_own(only: str) -> dict[str, Any]:
    """So that what one left in memory does not count for the other."""
    command = [sys.executable, __file__, *sys.argv[1:], "--only", only]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        return {"failed": run.stderr.strip().splitlines()[-1:]}
    found: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    sys.exit(main())
