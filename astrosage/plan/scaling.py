"""``docs/scaling.md``, computed: what 8B and 70B models need on 8 to 1,024 GPUs.

python -m astrosage.plan.scaling --write
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from textwrap import fill

from astrosage.plan import communication, fit, memory, pace, workload
from astrosage.plan.accelerators import ACCELERATORS
from astrosage.plan.communication import EFFICIENCY, HOP_SECONDS, Fabric
from astrosage.plan.models import BUILT_IN
from astrosage.plan.pace import KERNEL_SHARE, OVERLAP
from astrosage.plan.setup import Setup
from astrosage.plan.workload import Rows, Work
from astrosage.spec.train import TrainSpec
from astrosage.units import format_bytes, format_seconds

PAGE = Path(__file__).resolve().parents[2] / "docs" / "scaling.md"
GPUS = (8, 16, 32, 64, 128, 256, 512, 1024)
MODELS = ("llama-3.1-8b", "llama-3.1-70b")
LENGTH = 8192
ROWS = 1024
TOKENS = 10e9
NODE = 8
# Some memory is left free: figures for GPUs are not measured.
_ROOM = 0.95
_GPU = ACCELERATORS["H100"]
_SLOW = 100e9 / 8
_LIMIT = _ROOM * _GPU.memory
_FABRIC = Fabric(NODE, _GPU.link, _GPU.network)


def page() -> str:
    """The page's text."""
    parts = [_filled(_HEAD), _filled(_FORMULAS)]
    for model in MODELS:
        parts += [f"## {_title(model)}\n", *_model(model)]
    return "\n".join([*parts, _slow_network(), _CHECKED])


def _filled(text: str) -> str:
    """Paragraphs in lines of equal length, since figures in them are of any."""
    paragraphs = text.strip().split("\n\n")
    return "\n\n".join(p if p.startswith("#") else fill(p, 100) for p in paragraphs) + "\n"


def setup_for(model: str, gpus: int, *, checkpointing: bool = True, near: bool = True) -> Setup:
    """The stage that the page is about, with the largest micro-batch that fits."""
    zero: dict[str, object] = {"stage": 3}
    if near:
        zero["hierarchicalPartition"] = NODE
    spec = TrainSpec.model_validate(
        {
            "objective": "cpt",
            "data": "corpus",
            "globalBatchSize": ROWS,
            "activationCheckpointing": checkpointing,
            "zero": zero,
        }
    )
    setup = Setup(BUILT_IN[model], spec, gpus, LENGTH, 1)
    return replace(setup, micro_batch=max(1, fit.largest_usable(setup, _LIMIT)))


def work_for(setup: Setup) -> Work:
    """Its steps: full rows of one document each."""
    rows = Rows(TOKENS / LENGTH, 1.0, 1.0, float(LENGTH), "", estimated=True)
    return workload.work(setup, rows)


def _model(model: str) -> Iterator[str]:
    setups = [setup_for(model, gpus) for gpus in GPUS]
    yield f"{BUILT_IN[model].parameters:,} parameters. Memory of each GPU at its worst moment:\n"
    yield _table(
        [
            "GPUs",
            "rows at once",
            *memory.PARTS,
            "peak",
            "fits",
        ],
        [_memory_row(s) for s in setups],
    )
    yield "\nCommunication and time of an optimizer step, and of 10 billion tokens:\n"
    yield _table(
        [
            "GPUs",
            "sent by each GPU",
            "communication",
            "arithmetic",
            "step",
            "MFU",
            "tokens/s",
            "10 B tokens",
        ],
        [_time_row(s, _FABRIC) for s in setups if fit.fits(s, _GPU.memory)],
    )
    yield ""


def _memory_row(setup: Setup) -> list[str]:
    peak = memory.peak(setup)
    parts = [format_bytes(getattr(peak, name)) for name in memory.PARTS]
    fits = "yes" if peak.total <= _GPU.memory else "no"
    return [str(setup.workers), str(setup.micro_batch), *parts, format_bytes(peak.total), fits]


def _time_row(setup: Setup, fabric: Fabric) -> list[str]:
    work = work_for(setup)
    found = pace.pace(setup, work, pace.assumed(_GPU.tflops * 1e12, None), fabric)
    assert work.steps is not None
    assert found.mfu is not None
    return [
        str(setup.workers),
        format_bytes(communication.per_worker(setup)),
        f"{found.talking:.2f} s",
        f"{found.computing:.2f} s",
        f"{found.step_seconds:.2f} s",
        f"{found.mfu:.1%}",
        f"{found.tokens_per_second:,.0f}",
        format_seconds(TOKENS / found.tokens_per_second),
    ]


def _slow_network() -> str:
    rows = []
    for model in MODELS:
        for near in (True, False):
            setup = setup_for(model, 128, near=near)
            for network in (_GPU.network, _SLOW):
                fabric = Fabric(NODE, _GPU.link, network)
                rate = pace.assumed(_GPU.tflops * 1e12, None)
                found = pace.pace(setup, work_for(setup), rate, fabric)
                assert found.mfu is not None
                rows.append(
                    [
                        _title(model),
                        f"{network * 8 / 1e9:.0f} Gbit/s",
                        "in each node" if near else "none",
                        str(setup.micro_batch),
                        f"{found.talking:.2f} s",
                        f"{found.computing:.2f} s",
                        f"{found.mfu:.1%}",
                    ]
                )
    headers = [
        "model",
        "network of each GPU",
        "second partition",
        "rows at once",
        "communication",
        "arithmetic",
        "MFU",
    ]
    return f"## Another network\n\n128 GPUs, everything else as above:\n\n{_table(headers, rows)}\n"


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _title(model: str) -> str:
    return model.replace("llama", "Llama").replace("-8b", " 8B").replace("-70b", " 70B")


_HEAD = f"""\
# Scaling on paper

What full training of Llama-3.1 8B and 70B needs on 8 to 1,024 GPUs, by the formulas that
`astroctl plan` uses. Nothing here was measured on GPUs; what was checked, and how, stands at the
end. This page is written by `python -m astrosage.plan.scaling --write`.

Assumed throughout: {_GPU.name} GPUs ({_GPU.memory // 2**30} GiB that can be used,
{_GPU.tflops:g} TFLOP/s dense bf16), {NODE} in a node, NVLink at {_GPU.link / 1e9:.0f} GB/s in each
direction, a network of {_GPU.network * 8 / 1e9:.0f} Gbit/s for each GPU; sequences of {LENGTH:,}
tokens, packed full, {ROWS:,} of them a step ({ROWS * LENGTH / 1e6:.1f} million tokens), so that
1,024 GPUs have one each; bf16 with fp32 master weights, activation checkpointing, ZeRO-3 with a
second partition inside each node (`zero: {{stage: 3, hierarchicalPartition: {NODE}}}`); of the
micro-batches that divide a GPU's share the largest that leaves {1 - _ROOM:.0%} of memory free.
"""

_FORMULAS = f"""\
## Formulas

P parameters, N workers, h workers of a second partition, b rows of T tokens in a micro-batch, m
micro-batches a step, L layers of width d, feed-forward width F, query width H·D, key width K·D, V
tokens in the vocabulary. Two bytes an element in bf16, four in fp32.

**Memory.** Parameters 2P/N, and 2P/h for the second partition (ZeRO++). Gradients 4P/N (2P/N where
a step is one micro-batch). Master weights and Adam's moments 12P/N. Activations with checkpointing
2·L·b·T·d, plus one layer computed again, 2·b·T·(4d + 2HD + 2KD + 3F), and what flows through it,
2·b·T·(3F + 2d). Loss: a chunk of logits, and the output layer's gradient twice, 2·2·V·d (in fp32
where more than 8 chunks are summed). Buffers: a reduce bucket, gathered parameters (at most 10⁹
elements and those fetched ahead), in the update fp32 gradients. Overhead, assumed: 2 GiB for CUDA
and NCCL, and 4 % of what comes and goes for fragmentation. The peak is the highest of four moments
of a step (`astrosage/plan/memory.py`).

**Communication.** A collective over N workers moves (N-1)/N of its tensor through each. ZeRO-3
gathers the parameters for the forward pass from all workers, 2P; for the backward pass inside the
second partition, 2P less the 10⁹ elements that are still there; and reduces gradients over all, 4P
(sums are fp32 with more than two workers): m·(2P + 4P) over the network and m·(2P - 2·10⁹) inside a
node. Its time: between nodes, each node needs every
byte once and passes it on inside, so a tensor of S bytes over n nodes takes S·(n-1)/n divided by
the node's network cards together; inside, S·(g-1)/g over the link of one GPU; the slower of both
counts, at {EFFICIENCY:.0%} of the line rate (assumed), plus {HOP_SECONDS * 1e6:.0f} µs (assumed)
for each of N-1 hops of the ring, twice for each layer and micro-batch.

**Time.** Operations of a step are 3·(2·P_linear·tokens + 2·d·V·tokens + 4·L·H·D·ΣT²), the MFU's
definition (docs/training.md); checkpointing adds a third of the layers' part, which MFU does not
count. Arithmetic runs at {KERNEL_SHARE:.0%} of the peak (assumed; published end-to-end figures for
dense models of 7B to 70B on H100 lie between 33 and 47 %). Communication hides behind it except
for what takes longer, and {1 - OVERLAP:.0%} of it always (assumed). Validation, checkpoints and
restarts are left out.
"""

_CHECKED = """\
## What was checked by running

- Memory: the same formulas, with a processor's overheads in place of CUDA's, against the highest
  resident memory of real steps of the real engine, one and two workers, ZeRO 0 to 3, with and
  without activation checkpointing and accumulation (`benchmarks/plan_memory.py`, and cases of it in
  `tests/plan/test_memory_measured.py`): within 15 %.
- Communication: the bytes that two workers gave to their collectives in a step, against the formula
  for each ZeRO stage (same benchmark).
- Parameters and operations: against transformers' own models and `astrosage/train/throughput.py`.
- Not checked, for want of GPUs: CUDA's overheads, the second partition, overlap, the share of the
  peak, and every time on this page. The second partition and a network are where a first run on a
  cluster should look; `astroctl plan --measured RUN` then plans with what it reached.
"""


def main() -> int:
    """Write the page, or print it."""
    parser = argparse.ArgumentParser(description="docs/scaling.md")
    parser.add_argument("--write", action="store_true", help="write it, not print it")
    if parser.parse_args().write:
        PAGE.write_text(page(), encoding="utf-8")
    else:
        sys.stdout.write(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
