"""What GPUs can do, by name: peak arithmetic, memory, and how fast they reach one another."""

from __future__ import annotations

import re
from dataclasses import dataclass

from astrosage.errors import SpecError
from astrosage.spec.base import did_you_mean

GIB = 2**30


@dataclass(frozen=True)
class Accelerator:
    """One kind of GPU, as a process sees it.

    Attributes:
        name: As vendors write it.
        tflops: Dense bf16 peak in TFLOP/s, from the vendor's data sheet (sparse figures are twice
            these).
        memory: Bytes, as the driver reports them, rounded down to whole GiB.
        link: Bytes/s in one direction to another GPU of the node (NVLink, Infinity Fabric, or
            PCIe where there is no such link).
        network: Bytes/s in one direction to other nodes, for each GPU: what its usual machines
            have, an assumption that ``--network`` replaces.
    """

    name: str
    tflops: float
    memory: int
    link: float
    network: float


def _gpu(name: str, tflops: float, gib: int, link_gb: float, network_gbit: float) -> Accelerator:
    return Accelerator(name, tflops, gib * GIB, link_gb * 1e9, network_gbit * 1e9 / 8)


# A name that is part of another comes after it: device names are matched from the top. An MI250X
# is two devices, each with half of the data sheet's figures.
ACCELERATORS = {
    gpu.name: gpu
    for gpu in (
        _gpu("A100", 312.0, 79, 300, 200),
        _gpu("H100 NVL", 835.0, 93, 300, 200),
        _gpu("H100 PCIe", 756.0, 79, 64, 200),
        _gpu("H100", 989.4, 79, 450, 400),
        _gpu("H200", 989.4, 140, 450, 400),
        _gpu("B200", 2250.0, 178, 900, 400),
        _gpu("L40S", 362.0, 44, 32, 100),
        _gpu("L4", 121.0, 22, 32, 50),
        _gpu("A10G", 70.0, 22, 32, 50),
        _gpu("MI250X", 191.5, 63, 50, 100),
        _gpu("MI300X", 1307.4, 191, 448, 400),
    )
}

GPU_PEAK_TFLOPS = {name: gpu.tflops for name, gpu in ACCELERATORS.items()}
"""Dense bf16 peaks in TFLOP/s by name, in the order in which names are to be matched."""


def find(name: str, field: str = "--accelerator") -> Accelerator:
    """The GPU of that name; case, hyphens and a vendor's prefix do not matter.

    Args:
        name: Such as ``H100``, ``h100-pcie`` or ``NVIDIA H100 80GB HBM3``.
        field: Where it was named, for the message.

    Raises:
        SpecError: If there is no such GPU in the table, naming the nearest.
    """
    words = set(re.split(r"[\s/_-]+", name.lower()))
    for key, gpu in ACCELERATORS.items():
        if set(key.lower().split()) <= words:
            return gpu
    raise SpecError(f"{field}: `{name}` is not known", did_you_mean(name, ACCELERATORS))
