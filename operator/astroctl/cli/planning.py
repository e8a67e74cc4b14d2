"""From the options of ``astroctl plan`` to what a plan takes for granted."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from astroctl.pools.documents import read_pools
from astroctl.runs.find import find as find_run
from astrosage.errors import SpecError
from astrosage.plan import accelerators, measured, workload
from astrosage.plan.accelerators import Accelerator
from astrosage.plan.machine import Machine
from astrosage.plan.pace import Rate
from astrosage.plan.stages import Assumptions
from astrosage.runs.directory import RunDirectory
from astrosage.units import parse_bytes

_SIZE = re.compile(r"^[0-9]+(\.[0-9]+)?(Ki|Mi|Gi|Ti|K|M|G|T)?$")
_RATE = re.compile(r"^([0-9]+(?:\.[0-9]+)?) ?([KMGT]?)(bps|bit/s|B/s)$", re.IGNORECASE)
_RATE_FACTORS = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}


def assumptions(
    *,
    accelerator: str | None,
    gpu_memory: str | None,
    mfu: float | None,
    measured: str | None,
    price_per_gpu_hour: float | None,
    network: str | None,
    write_rate: str,
    pools_file: str | None,
    tokens: Sequence[str],
    model: str | None,
    offline: bool,
) -> Assumptions:
    """The options as numbers.

    Raises:
        SpecError, NotFoundError: Naming the option that is wrong.
    """
    gpu = accelerators.find(accelerator) if accelerator else None
    pools = {p.metadata.name: p for p in read_pools(pools_file)} if pools_file else None
    if measured and mfu is not None:
        raise SpecError("--mfu and --measured exclude each other", "leave one out")
    if gpu is None and measured and pools:
        named = {p.spec.accelerator for p in pools.values() if p.spec.accelerator}
        gpu = accelerators.find(named.pop(), "--pools: accelerator") if len(named) == 1 else None
    return Assumptions(
        accelerator=gpu if accelerator else None,
        memory=float(_size(gpu_memory)) if gpu_memory else None,
        mfu=mfu,
        rate=_measured(measured, gpu) if measured else None,
        price_per_gpu_hour=price_per_gpu_hour,
        network=parse_rate(network, "--network") if network else None,
        write_rate=parse_rate(write_rate, "--write-rate"),
        pools=pools,
        tokens=dict(_tokens(item) for item in tokens),
        model=model,
        remote=not offline,
        machine=Machine.here(),
    )


def parse_rate(text: str, field: str) -> float:
    """Bytes/s of a rate such as ``400Gbps`` or ``1GB/s``.

    Raises:
        SpecError: If it is none, or nothing.
    """
    found = _RATE.match(text.strip())
    rate = 0.0
    if found:
        number, prefix, unit = found.groups()
        bits = unit[0] == "b" or unit.lower() == "bps" or unit.lower() == "bit/s"
        rate = float(number) * _RATE_FACTORS[prefix.upper()] / (8 if bits else 1)
    if not rate:
        raise SpecError(f"{field}: `{text}` is no rate", "such as 400Gbps or 1GB/s; above 0")
    return rate


def _size(text: str) -> int:
    if not _SIZE.match(text) or not parse_bytes(text):
        raise SpecError(f"--gpu-memory: `{text}` is no size", "such as 80Gi; above 0")
    return parse_bytes(text)


def _tokens(item: str) -> tuple[str, float]:
    stage, given, count = item.rpartition("=")
    return (stage if given else ""), workload.parse_count(count, f"--tokens {item}")


def _measured(text: str, gpu: Accelerator | None) -> Rate:
    """The rate of a run that is named or whose directory is given, with or without a stage."""
    name, stage = text, None
    if not _is_directory(text):
        before, colon, after = text.rpartition(":")
        if colon and not after.startswith("//"):
            name, stage = before, after
    uri = name if _is_directory(name) else find_run(name).uri
    return measured.rate(RunDirectory(uri), stage, gpu)


def _is_directory(text: str) -> bool:
    """Whether a run directory is given, and not a run's name."""
    return re.search(r"://[^:]*$", text) is not None or (Path(text) / "job.yaml").is_file()
