"""Resumable checkpoints: sharded files of every rank, stored through Ray Train.

A rank writes its files to a folder of its own and hashes them in the background while training
goes on; then they are moved (same disk) or uploaded to ``checkpoints/step-…/``. Ray Train records
a checkpoint only when every rank has delivered, so a half-written one is never found.

The files are DeepSpeed's, in PyTorch's own format: load only checkpoints that you made.
"""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from astrosage.errors import StorageError, TrainingError
from astrosage.runs import manifest
from astrosage.runs.storage import os_reason
from astrosage.train.engine import all_sum
from astrosage.units import format_bytes

TAG = "engine"
_STATE = "state.json"
log = logging.getLogger("astrosage.train")


def save(engine: Any, state: dict[str, Any], rank: int, storage: Any) -> None:
    """Write a checkpoint and hand it to Ray Train; training goes on while it is stored.

    Every rank must call it at the same step.

    Args:
        engine: The DeepSpeed engine.
        state: Plain data to find again: step, tokens, world size.
        rank: This worker.
        storage: Ray Train's storage context (``ray.train.get_context().get_storage()``).
    """
    import ray.train

    folder = _incoming(storage, rank)
    try:
        _write(engine, folder, state, rank)
    except (OSError, RuntimeError) as error:  # PyTorch's writer knows no OSError
        shutil.rmtree(folder, ignore_errors=True)  # gives back the space it took
        raise _explained(error, folder) from error
    ray.train.report(
        {"step": state["step"]},
        checkpoint=ray.train.Checkpoint.from_directory(str(folder)),
        checkpoint_dir_name=f"step-{state['step']:08d}",
        checkpoint_upload_mode=ray.train.CheckpointUploadMode.ASYNC,
        checkpoint_upload_fn=_deliver(storage, rank),
        delete_local_checkpoint_after_upload=False,
    )


def _write(engine: Any, folder: Path, state: dict[str, Any], rank: int) -> None:
    # `latest` is not wanted: the tag is fixed.
    engine.save_checkpoint(
        str(folder), tag=TAG, client_state={"astrosage": state}, save_latest=False
    )
    for helper in folder.glob("*.py"):  # DeepSpeed adds copies of its conversion scripts
        helper.unlink()
    if rank == 0:
        (folder / _STATE).write_text(json.dumps(state))


def _explained(error: Exception, folder: Path) -> Exception:
    """What a failed write means for people; other errors as they are."""
    if isinstance(error, RuntimeError) and "inline_container" not in str(error):
        return error  # not from PyTorch's file writer
    free = format_bytes(shutil.disk_usage(folder.parent).free)
    reason = os_reason(error) if isinstance(error, OSError) else str(error).splitlines()[0]
    return StorageError(
        f"a checkpoint cannot be written to {folder.parent}: {reason} ({free} free there)",
        "free space there, then `astroctl resume`; the checkpoints before this one are kept",
    )


def _incoming(storage: Any, rank: int) -> Path:
    """A fresh folder, on the storage's own disk where that is a local one."""
    parent = Path(storage.experiment_fs_path) if _is_local(storage) else Path(tempfile.gettempdir())
    return Path(tempfile.mkdtemp(prefix=f".incoming-rank-{rank}-", dir=parent))


def _is_local(storage: Any) -> bool:
    return bool(storage.storage_filesystem.type_name == "local")


def _deliver(storage: Any, rank: int) -> Callable[[Any, str], Any]:
    def deliver(checkpoint: Any, name: str) -> Any:
        import ray.train

        folder = Path(checkpoint.path)
        manifest.write(folder, key=name)
        (folder / manifest.NAME).rename(folder / f"manifest-rank-{rank}.json")
        target = storage.build_checkpoint_path_from_name(name)
        if _is_local(storage):
            for file in _files(folder):
                place = Path(target) / file.relative_to(folder)
                place.parent.mkdir(parents=True, exist_ok=True)
                file.replace(place)
        else:
            import pyarrow.fs

            pyarrow.fs.copy_files(
                str(folder), target, destination_filesystem=storage.storage_filesystem
            )
        shutil.rmtree(folder, ignore_errors=True)
        return ray.train.Checkpoint(target, filesystem=storage.storage_filesystem)

    return deliver


def _files(folder: Path) -> list[Path]:
    """Manifests last: until they are there, nothing is."""
    files = [p for p in folder.rglob("*") if p.is_file()]
    return sorted(files, key=lambda p: (p.name.startswith("manifest-"), p))


def restore(
    engine: Any, reported: Sequence[Any], rank: int, world_size: int
) -> dict[str, Any] | None:
    """Load the newest sound checkpoint; every rank must call it.

    Args:
        engine: The DeepSpeed engine; loaded in place.
        reported: Checkpoints that Ray Train knows, oldest first.
        rank: This worker; it checks the content of its own files.
        world_size: Workers now.

    Returns:
        The state saved with it; None where there is none.

    Raises:
        TrainingError: If every checkpoint is damaged, or was made by another number of workers.
    """
    for checkpoint in reversed(reported):
        with checkpoint.as_directory() as folder:
            problem = damage(Path(folder), rank)
            if all_sum(problem is not None)[0] > 0:
                reason = problem or "found by another rank"
                log.warning("%s is damaged (%s); trying the one before", checkpoint.path, reason)
                continue
            state: dict[str, Any] = json.loads((Path(folder) / _STATE).read_text())
            if state["worldSize"] != world_size:
                raise TrainingError(
                    f"checkpoint {checkpoint.path} was made by {state['worldSize']} workers, now "
                    f"there are {world_size}",
                    f"set `spec.cluster.workers` to {state['worldSize']}",
                )
            engine.load_checkpoint(folder, tag=TAG)
            return state
    if reported:
        raise TrainingError(
            f"all {len(reported)} checkpoints are damaged",
            "restore one from a backup, or delete the stage's folder to train from the start",
        )
    return None


def damage(folder: Path, rank: int) -> str | None:
    """What is wrong with a checkpoint, or None.

    Presence and size of every rank's files, content of those of ``rank``: together the ranks read
    a checkpoint once.
    """
    try:
        world_size = int(json.loads((folder / _STATE).read_text())["worldSize"])
    except (OSError, ValueError, KeyError):
        return f"{_STATE} is missing or broken"
    for writer in range(world_size):
        try:
            listed = json.loads((folder / f"manifest-rank-{writer}.json").read_text())["files"]
        except (OSError, ValueError, KeyError):
            return f"manifest of rank {writer} is missing or broken"
        for entry in listed:
            problem = manifest.problem(folder / entry["path"], entry, full=writer == rank)
            if problem:
                return f"{entry['path']} {problem}"
    return None


def clear_leftovers(storage: Any, reported: Sequence[Any]) -> None:
    """Delete what an interrupted run left half-written; for rank 0, before training."""
    if not _is_local(storage):
        return
    known = {Path(c.path).name for c in reported}
    for folder in Path(storage.experiment_fs_path).iterdir():
        if (
            folder.is_dir()
            and folder.name not in known
            and (folder.name.startswith((".incoming-", "step-")))
        ):
            shutil.rmtree(folder, ignore_errors=True)
