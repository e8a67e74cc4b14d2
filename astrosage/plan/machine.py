"""What this machine has: cores, memory, GPUs, as far as this process may use them."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from astrosage.processor import has_bf16

_CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Machine:
    """Resources of one machine.

    Attributes:
        cpus: Cores that this process may run on.
        gpus: NVIDIA GPUs.
        memory: Bytes of memory.
        bf16: Whether its processor computes with bf16; else trainings on it are in fp32.
    """

    cpus: int
    gpus: int
    memory: int
    bf16: bool = True

    @classmethod
    def here(cls) -> Machine:
        """This machine, within the limits of the container that it may be."""
        return cls(_cpus(), _gpus(), _memory(), has_bf16())


def _cpus() -> int:
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quota = _read(_CGROUP / "cpu.max").split()
    if len(quota) == 2 and quota[0].isdigit():
        count = min(count or 1, max(1, int(quota[0]) // int(quota[1])))
    return count or 1


def _gpus() -> int:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([d for d in visible.split(",") if d.strip() not in ("", "-1")])
    return sum(1 for p in Path("/dev").glob("nvidia*") if re.fullmatch(r"nvidia\d+", p.name))


def _memory() -> int:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = _read(_CGROUP / "memory.max").strip()
    return min(total, int(limit)) if limit.isdigit() else total


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
