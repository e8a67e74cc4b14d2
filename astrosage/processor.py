"""What the processor of this machine can do. Needs no torch."""

from __future__ import annotations

import platform
from functools import lru_cache
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
# What oneDNN, which multiplies torch's matrices, asks for before it takes bf16.
_X86 = frozenset({"avx512bw", "avx512vl", "avx512dq"})


@lru_cache(maxsize=1)
def has_bf16() -> bool:
    """Whether matrices of bf16 are multiplied at a useful speed here.

    With AVX-512 (in hardware or by widening to fp32) or Arm's bf16 they are. Elsewhere torch falls
    back to a plain loop, 60 times slower than fp32 on a processor with AVX2 only: there, models are
    to be computed in fp32.
    """
    return bf16_in(_flags(), platform.machine())


def bf16_in(flags: frozenset[str], machine: str) -> bool:
    """Whether a processor with such flags has bf16.

    Args:
        flags: As the kernel names them; empty where it does not tell.
        machine: Such as ``x86_64`` or ``aarch64``.
    """
    if machine.lower() in ("x86_64", "amd64"):
        return flags >= _X86
    return "bf16" in flags


def _flags() -> frozenset[str]:
    """The first processor's flags; empty where there is no such file."""
    try:
        text = _CPUINFO.read_text(encoding="ascii", errors="replace")
    except OSError:
        return frozenset()
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip().lower() in ("flags", "features"):
            return frozenset(value.split())
    return frozenset()
