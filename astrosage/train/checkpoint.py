"""Resumable checkpoints: one safetensors file a rank, readable by any number of workers.

``checkpoints/step-00000040/`` holds ``rank-00000.safetensors`` with that rank's slices
(:mod:`astrosage.train.states`), ``manifest-rank-00000.json`` with its hash and what it covers, and
``state.json`` with where training was. A rank writes its file while training waits, then hashes and
moves or uploads it in the background; its manifest comes last. A checkpoint counts when every
rank's manifest is there, so that a half-written one is never taken for whole.
"""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from astrosage.errors import AstroError, StorageError, TrainingError
from astrosage.runs import manifest
from astrosage.runs.storage import Storage, os_reason
from astrosage.spec.train import CheckpointSpec
from astrosage.train import retention, states
from astrosage.train.states import Slice
from astrosage.units import format_bytes

STATE = "state.json"
FORMAT_VERSION = 1
log = logging.getLogger("astrosage.train")


def name_of(step: int) -> str:
    """The folder of the checkpoint taken after ``step`` optimizer steps."""
    return f"step-{step:08d}"


def step_of(name: str) -> int | None:
    """The step in a checkpoint's name; None for other names."""
    digits = name.removeprefix("step-")
    return int(digits) if name.startswith("step-") and digits.isdigit() else None


@dataclass(frozen=True)
class Group:
    """The workers of a training, and how they agree.

    Attributes:
        rank: This worker.
        size: How many there are.
        any_of: Whether something is true for any of them; collective.
        first: The value that rank 0 has; collective.
    """

    rank: int = 0
    size: int = 1
    any_of: Callable[[bool], bool] = bool
    first: Callable[[Any], Any] = lambda value: value


class Checkpoints:
    """The checkpoints of one training stage.

    Args:
        storage: The stage's ``checkpoints`` folder.
        spec: How many are kept.
        group: The workers.
    """

    def __init__(self, storage: Storage, spec: CheckpointSpec, group: Group | None = None) -> None:
        self._storage, self._spec = storage, spec
        self._group = group or Group()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._pending: Future[None] | None = None

    def save(self, engine: Any, model: torch.nn.Module, state: dict[str, Any]) -> None:
        """Write a checkpoint; storing it goes on in the background.

        Every rank must call it at the same step. It waits for the checkpoint before.

        Args:
            engine: What trains.
            model: The Hugging Face model inside it.
            state: Plain data to find again; ``step`` names the checkpoint.

        Raises:
            StorageError: If this one cannot be written, or the one before could not be stored.
        """
        self.wait()
        name, rank = name_of(state["step"]), self._group.rank
        folder = self._storage.local
        folder = Path(tempfile.gettempdir()) if folder is None else folder / name
        file = folder / f".{name}-rank-{rank:05d}.tmp"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            covered = write_slices(file, lambda: states.slices(engine, model))
        except OSError as error:
            file.unlink(missing_ok=True)  # gives back the space it took
            raise _explained(error, folder) from error
        whole = {
            "formatVersion": FORMAT_VERSION,
            "worldSize": self._group.size,
            "shapes": states.shapes(model),
            **state,
        }
        self._pending = self._thread.submit(self._deliver, file, name, covered, whole)

    def delivered(self) -> bool:
        """Whether this rank's part of the newest checkpoint is stored.

        Raises:
            StorageError: If it could not be.
        """
        if self._pending is None or not self._pending.done():
            return self._pending is None
        self.wait()
        return True

    def wait(self) -> None:
        """Until this rank's part of the newest checkpoint is stored; errors as they come."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def _deliver(
        self, file: Path, name: str, covered: dict[str, list[int]], state: dict[str, Any]
    ) -> None:
        rank = self._group.rank
        size, sha256 = file.stat().st_size, manifest.sha256_file(file)
        shard = f"rank-{rank:05d}.safetensors"
        content = {
            "formatVersion": FORMAT_VERSION,
            "files": [{"path": shard, "size": size, "sha256": sha256}],
            "slices": covered,
        }
        try:
            self._storage.place(file, f"{name}/{shard}")
            if rank == 0:
                self._storage.write_json(f"{name}/{STATE}", state)
            self._storage.write_json(f"{name}/manifest-rank-{rank:05d}.json", content)
        finally:
            file.unlink(missing_ok=True)
        if rank == 0:
            self.prune()

    def prune(self) -> None:
        """Delete what the policy does not keep; for one rank to call.

        After each checkpoint this rank's part may be stored before those of others. That one is
        not whole yet then, and an older one is kept in its place until the next call.
        """
        whole = [state for name in self.names() if (state := self._whole(name)) is not None]
        found = [
            retention.Facts(s["step"], s.get("validationLoss"), bool(s.get("forGood")))
            for s in whole
        ]
        kept = retention.kept(found, self._spec)
        for facts in found:
            if facts.step not in kept:
                self._storage.remove(name_of(facts.step))

    def is_whole(self, name: str) -> bool:
        """Whether every rank's manifest is there."""
        return self._whole(name) is not None

    def _whole(self, name: str) -> dict[str, Any] | None:
        """The state of a checkpoint of which every rank's manifest is there, else None."""
        try:
            state: dict[str, Any] = self._storage.read_json(f"{name}/{STATE}")
            workers = int(state["worldSize"])
        except (AstroError, KeyError, ValueError):
            return None
        wanted = {f"manifest-rank-{r:05d}.json" for r in range(workers)}
        return state if wanted <= set(self._storage.names(name)) else None

    def names(self) -> list[str]:
        """Folders of checkpoints, oldest first, whole or not."""
        found = [(step_of(name), name) for name in self._storage.names()]
        return [name for step, name in sorted((s, n) for s, n in found if s is not None)]

    def newest(self) -> str | None:
        """The newest checkpoint that is whole by its manifests."""
        return next((n for n in reversed(self.names()) if self.is_whole(n)), None)

    def restore(self, engine: Any, model: torch.nn.Module) -> dict[str, Any] | None:
        """Load the newest sound checkpoint; every rank must call it.

        Checkpoints found damaged are told of and removed, as is what a killed run left half
        written.

        Returns:
            The state saved with it; None where there is none.

        Raises:
            TrainingError: If every checkpoint is damaged, or it belongs to another model.
        """
        wanted = [
            Slice(s.name, s.shape, s.start, {states.MASTER: s.values[states.MASTER]})
            for s in states.slices(engine, model, whole=True)
        ]
        candidates: list[str] = self._group.first(self.names())
        damaged = []
        for name in reversed(candidates):
            reading = Reading(self._storage, name)
            problem = reading.problem(wanted)
            if self._group.any_of(problem is not None):
                reason = problem or "found by another rank"
                log.warning("checkpoint %s is damaged (%s); trying the one before", name, reason)
                damaged.append((name, reason))
                continue
            reading.load(states.slices(engine, model, whole=True))
            states.set_step(engine, reading.state["step"])
            states.publish(engine)
            self._clear(name, candidates)
            return reading.state
        if damaged:
            raise TrainingError(
                f"{self._storage.uri}: all {len(damaged)} checkpoints are damaged; the newest, "
                f"{damaged[0][0]}: {damaged[0][1]}",
                "restore one from a backup, or delete that folder to train from the start",
            )
        return None

    def _clear(self, used: str, candidates: Iterable[str]) -> None:
        """Newer ones than that used are damaged, or of a future that will be lived again."""
        if self._group.rank != 0:
            return
        for name in candidates:
            if name > used:
                log.warning("removing checkpoint %s, going on from %s", name, used)
                self._storage.remove(name)
        if self._storage.local is not None:
            for file in self._storage.local.glob("step-*/.*.tmp"):
                file.unlink(missing_ok=True)


class Reading:
    """A checkpoint that is looked at and read.

    Args:
        storage: The stage's ``checkpoints`` folder.
        name: Of the checkpoint.
    """

    def __init__(self, storage: Storage, name: str) -> None:
        self._storage, self.name = storage, name
        self.state: dict[str, Any] = {}
        # Parameter to (start, numel, file) of each part, in order.
        self._parts: dict[str, list[tuple[int, int, str]]] = {}
        self._folder = Path()

    def problem(self, wanted: list[Slice]) -> str | None:
        """What is wrong with it, or None: presence and size of every file, content of those that
        hold the wanted slices.

        Raises:
            TrainingError: If it is sound, but of another model.
        """
        try:
            self.state = self._storage.read_json(f"{self.name}/{STATE}")
            workers = int(self.state["worldSize"])
            version = self.state["formatVersion"]
            sizes = self._storage.sizes(self.name)
            entries = [self._manifest(rank, sizes) for rank in range(workers)]
        except (AstroError, KeyError, TypeError, ValueError) as error:
            return str(getattr(error, "message", None) or f"{STATE}: {error}")
        if version != FORMAT_VERSION:
            return f"{STATE} has format version {version}, this version reads {FORMAT_VERSION}"
        self._refuse_other_model(wanted)
        needed = {file for slice_ in wanted for *_, file in self._parts_of(slice_)}
        gap = next((s.name for s in wanted if self._covered(s) != s.numel), None)
        if gap:
            return f"parts of {gap} are missing"
        self._folder = self._storage.localize(
            self.name,
            Path(tempfile.gettempdir()) / "astrosage" / "checkpoints",
            wanted=lambda f: f in needed,
        )
        for entry in entries:
            if entry["path"] in needed:
                found = manifest.problem(self._folder / entry["path"], entry, full=True)
                if found:
                    return f"{entry['path']} {found}"
        return None

    def _manifest(self, rank: int, sizes: dict[str, int]) -> dict[str, Any]:
        """The entry of a rank's file; ValueError saying what is wrong."""
        name = f"manifest-rank-{rank:05d}.json"
        if name not in sizes:
            raise ValueError(f"{name} is missing: rank {rank} had not finished it")
        listed = self._storage.read_json(f"{self.name}/{name}")
        entry: dict[str, Any] = listed["files"][0]
        size = sizes.get(entry["path"])
        if size != entry["size"]:
            was = "is missing" if size is None else f"has {size} of {entry['size']} bytes"
            raise ValueError(f"{entry['path']} {was}")
        for parameter, (start, numel) in listed["slices"].items():
            self._parts.setdefault(parameter, []).append((start, numel, entry["path"]))
        return entry

    def _refuse_other_model(self, wanted: list[Slice]) -> None:
        shapes = self.state["shapes"]
        for slice_ in wanted:
            found = shapes.get(slice_.name)
            if found is None or tuple(found) != slice_.shape:
                was = f"is {tuple(found)} there" if found else "is not in it"
                raise TrainingError(
                    f"checkpoint {self._storage.path(self.name)} is of another model: "
                    f"{slice_.name} {was}, and {slice_.shape} in the model",
                    "restore the model or the adapters that the run began with, or submit the job "
                    "under a new name (`--fork`)",
                )

    def _parts_of(self, slice_: Slice) -> Iterator[tuple[int, int, str]]:
        """``(first, end, file)`` of the stored parts that overlap a slice."""
        for start, numel, file in self._parts.get(slice_.name, []):
            first = max(start, slice_.start)
            end = min(start + numel, slice_.start + slice_.numel)
            if first < end:
                yield first, end, file

    def _covered(self, slice_: Slice) -> int:
        return sum(end - first for first, end, _ in self._parts_of(slice_))

    def load(self, slices: Iterable[Slice]) -> None:
        """Read what belongs into slices, wherever it is stored."""
        from safetensors import safe_open

        files: dict[str, Any] = {}
        with torch.no_grad():
            for slice_ in slices:
                offsets = {file: start for start, _, file in self._parts.get(slice_.name, [])}
                for first, end, file in self._parts_of(slice_):
                    if file not in files:
                        files[file] = safe_open(self._folder / file, framework="pt")
                    for key, values in slice_.values.items():
                        stored = files[file].get_slice(f"{slice_.name}:{key}")
                        part = stored[first - offsets[file] : end - offsets[file]]
                        values[first - slice_.start : end - slice_.start].copy_(part)


def write_slices(file: Path, slices: Callable[[], Iterator[Slice]]) -> dict[str, list[int]]:
    """Write slices as one safetensors file, tensor by tensor.

    The library's own writer copies everything first; for a rank's part of a large model there is
    no room for that.

    Args:
        file: To be written.
        slices: Gives them; called twice.

    Returns:
        ``[start, numel]`` of each parameter in it.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    covered, position = {}, 0
    for slice_ in slices():
        if not slice_.numel:
            continue
        covered[slice_.name] = [slice_.start, slice_.numel]
        for key in slice_.values:
            end = position + 4 * slice_.numel
            header[f"{slice_.name}:{key}"] = {
                "dtype": "F32",
                "shape": [slice_.numel],
                "data_offsets": [position, end],
            }
            position = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with file.open("wb", buffering=0) as opened:
        opened.write(len(text).to_bytes(8, "little") + text)
        for slice_ in slices():
            for values in slice_.values.values():
                _write_all(opened, values.cpu().numpy().data.cast("B"))
    return covered


def _write_all(opened: Any, data: memoryview) -> None:
    """One call may write only a part (Linux: at most 2 GiB)."""
    while data:
        data = data[opened.write(data) :]


def _explained(error: OSError, folder: Path) -> StorageError:
    try:
        free = format_bytes(shutil.disk_usage(folder.parent).free)
    except OSError:
        free = "unknown"
    return StorageError(
        f"a checkpoint cannot be written to {folder}: {os_reason(error)} ({free} free there)",
        "free space there, then `astroctl resume`; the checkpoints before this one are kept",
    )
