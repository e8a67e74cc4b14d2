"""What the processor can do."""

from __future__ import annotations

import sys

import pytest
import torch

from astrosage.processor import bf16_in, has_bf16

AVX512 = frozenset({"sse2", "avx2", "avx512f", "avx512bw", "avx512vl", "avx512dq"})


@pytest.mark.parametrize(
    ("flags", "machine", "expected"),
    [
        (AVX512, "x86_64", True),
        (AVX512 - {"avx512bw"}, "x86_64", False),
        (frozenset({"sse2", "avx2"}), "AMD64", False),
        (frozenset({"asimd", "bf16"}), "aarch64", True),
        (frozenset({"asimd"}), "aarch64", False),
        (frozenset(), "arm64", False),
    ],
)
def test_flags_decide(flags: frozenset[str], machine: str, expected: bool) -> None:
    assert bf16_in(flags, machine) is expected


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel tells the flags on Linux only")
def test_torch_takes_the_same_view_of_this_processor() -> None:
    assert has_bf16() == torch.ops.mkldnn._is_mkldnn_bf16_supported()
