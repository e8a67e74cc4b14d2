"""Who takes part, how each is started, and which of its processes are its workers."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
from conversations import Data

from astrosage.processor import has_bf16

HERE = Path(__file__).resolve().parent
TRL_MODES = {
    # Flattened to one row of 8 sequences, kept apart by a mask over the whole.
    "trl-packed": ["--packing"],
    # One sequence at a time, so that the mask stays small; gradients are accumulated.
    "trl-packed-single": ["--packing", "--single"],
    "trl-padded": [],
    "trl-padding-free": ["--padding-free"],
}
OURS = ("ours", "ours-single")
"""The second takes a sequence at a time, as its name says; so does one of TRL's modes."""
NAMES = (*OURS, *TRL_MODES, "template")
PRECISION = "bf16" if has_bf16() else "fp32"
"""What everybody computes in."""


@dataclass(frozen=True)
class Settings:
    """What all contestants have in common."""

    model: Path
    data: Data
    steps: int
    workers: int
    sequence_length: int
    micro_batch: int
    zero: int
    learning_rate: float
    peers_python: Path

    def flags(self, out: Path) -> list[str]:
        """Options that every script takes."""
        values = {
            "--model": self.model,
            "--out": out,
            "--steps": self.steps,
            "--sequence-length": self.sequence_length,
            "--zero": self.zero,
            "--learning-rate": self.learning_rate,
        }
        return [str(part) for pair in values.items() for part in pair]

    @property
    def unpacked(self) -> tuple[int, int]:
        """Micro-batch and accumulation with which unpacked records take as many steps."""
        share = self.data.records // (self.steps * self.workers)
        sizes = range(max(1, self.micro_batch // 2), self.micro_batch + 1)
        micro = max(sizes, key=lambda size: (size * (share // size), size))
        return micro, max(1, share // micro)


@dataclass(frozen=True)
class Contestant:
    """One of them."""

    name: str
    command: list[str]
    workers: Callable[[psutil.Process], list[psutil.Process]]


def contestant(name: str, settings: Settings, out: Path) -> Contestant:
    """How to run a contestant that leaves ``steps.jsonl`` and ``model`` in ``out``."""
    flags, tokens = settings.flags(out), ["--tokens", str(settings.data.tokens)]
    micro, accumulation = settings.unpacked
    unpacked = ["--micro-batch", str(micro), "--accumulation", str(accumulation)]
    packed = ["--micro-batch", str(settings.micro_batch)]
    workers = ["--workers", str(settings.workers)]
    if name in OURS:
        single = ["--single"] if name == "ours-single" else []
        command = [sys.executable, str(HERE / "ours.py"), *flags, *packed, *workers, *single]
        command += ["--chat", str(settings.data.chat)]
        return Contestant(name, command, lambda _: _ray_workers_of_head(out / "home"))
    flags += ["--precision", PRECISION]
    python = str(settings.peers_python)
    if name == "template":
        command = [python, str(HERE / "ray_template.py"), *flags, *tokens, *unpacked, *workers]
        return Contestant(name, command, _ray_workers)
    mode = list(TRL_MODES[name])
    if "--single" in mode:
        mode.remove("--single")
        packed = ["--micro-batch", "1", "--accumulation", str(settings.micro_batch)]
    command = [python, "-m", "torch.distributed.run", "--nproc-per-node", str(settings.workers)]
    command += [str(HERE / "trl_sft.py"), *flags, *tokens, *mode]
    command += packed if "--packing" in mode else unpacked
    return Contestant(name, command, lambda root: root.children())


def environment() -> dict[str, str]:
    """One thread a worker for everyone, and nothing fetched."""
    return os.environ | {
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        "DS_ACCELERATOR": "cpu",
        "RAY_TRAIN_V2_ENABLED": "1",
        "PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]),
        "GLOO_SOCKET_IFNAME": "lo",
    }


def _ray_workers_of_head(home: Path) -> list[psutil.Process]:
    try:
        pid = json.loads((home / "cluster.json").read_text(encoding="utf-8"))["pid"]
        return _ray_workers(psutil.Process(pid))
    except (OSError, ValueError, psutil.Error):
        return []


def _ray_workers(root: psutil.Process) -> list[psutil.Process]:
    found = []
    for process in root.children(recursive=True):
        try:
            if "TrainWorker" in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found
