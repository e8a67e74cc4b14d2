"""Offload to NVMe: is the folder there, on each node?"""

from __future__ import annotations

import socket
import tempfile
from pathlib import Path

from astrosage.errors import StorageError
from astrosage.runs.storage import os_reason
from astrosage.spec.train import TrainSpec


def check(spec: TrainSpec, where: str = "train") -> None:
    """Refuse a folder that is not there or cannot be written; for every worker, before it loads.

    The folder is not made: a disk that is not mounted would go unnoticed and the system's own
    disk would fill.

    Args:
        spec: The stage.
        where: Its place in the run file, for the message.

    Raises:
        StorageError: Naming the field, the folder and this node.
    """
    zero = spec.zero
    if zero.nvme_path is None or "nvme" not in (zero.offload_optimizer, zero.offload_parameters):
        return
    folder, node = Path(zero.nvme_path), socket.gethostname()
    hint = "mount the disk there on every node, or name another folder; `cpu` needs none"
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise StorageError(f"{where}.zero.nvmePath: {folder} {what} on node {node}", hint)
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".astrosage-probe-") as file:
            file.write(b"probe")
            file.flush()
    except OSError as error:
        raise StorageError(
            f"{where}.zero.nvmePath: {folder} cannot be written on node {node}: {os_reason(error)}",
            hint,
        ) from None
