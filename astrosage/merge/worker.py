"""One process's part of a merge: counts and writes with several threads."""

from __future__ import annotations

import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

import torch

from astrosage.context import StageContext
from astrosage.merge import magnitude
from astrosage.merge.merger import Merger, Thresholds, Whole
from astrosage.merge.tensors import ModelTensors, pieces
from astrosage.models.layout import Shard
from astrosage.runs import manifest
from astrosage.spec.graph import path_of

_T = TypeVar("_T")
_R = TypeVar("_R")


class Worker:
    """Opens the models and merges what it is told to, in this process.

    Memory holds a few pieces for each thread, however large the tensors.

    Args:
        context: The stage.
        threads: How many pieces are worked on at once.

    Raises:
        DataError, NotFoundError, SpecError: If the models do not fit each other or the options.
    """

    def __init__(self, context: StageContext, threads: int) -> None:
        spec = context.stage.merge
        assert spec is not None
        self._storage = context.directory.storage
        self._ahead = 4 * threads
        with ExitStack() as stack:

            def opened(reference: str) -> ModelTensors:
                return stack.enter_context(ModelTensors(context.model_path(reference), reference))

            base = opened(spec.base) if spec.base is not None else None
            donors = [opened(d.model) for d in spec.models]
            field = f"{path_of(context.job, context.stage)}.merge"
            self.merger = Merger(spec, donors, base, field)
            # A piece is too small to be worth several threads, and each has its own.
            self._pool = stack.enter_context(
                ThreadPoolExecutor(
                    threads, "merge", initializer=torch.set_num_threads, initargs=(1,)
                )
            )
            self._open = stack.pop_all()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        """Close the models."""
        self._open.close()

    def count(self, donor: int, names: Sequence[str], upper: int | None) -> magnitude.Counts:
        """A donor's differences in some tensors; see :func:`magnitude.count`."""
        todo = [(name, piece) for name in names for piece in pieces(self.merger.shapes[name])]
        return magnitude.total(
            self._each(lambda item: self.merger.count(donor, *item, upper), todo)
        )

    def write_all(
        self,
        shards: Sequence[Shard],
        thresholds: Thresholds,
        folder: Path | None,
        done: Callable[[int], None],
    ) -> Iterator[dict[str, Any]]:
        """See :meth:`write`, for one shard after another."""
        return (self.write(shard, thresholds, folder, done) for shard in shards)

    def write(
        self,
        shard: Shard,
        thresholds: Thresholds,
        folder: Path | None,
        done: Callable[[int], None] = lambda tensors: None,
    ) -> dict[str, Any]:
        """Merge a shard's tensors and write its file.

        Args:
            shard: What it consists of.
            thresholds: The whole model's, where the method needs them.
            folder: A folder that all workers see; None puts the file into the stage's storage.
            done: Told of each tensor that is written, with 1.

        Returns:
            The file's entry in the manifest.
        """
        if folder is not None:
            self._fill(shard, thresholds, folder / shard.name, done)
            return manifest.entry(folder / shard.name, shard.name)
        with tempfile.TemporaryDirectory(prefix="astrosage-") as temporary:
            file = Path(temporary) / shard.name
            self._fill(shard, thresholds, file, done)
            entry = manifest.entry(file, shard.name)
            self._storage.child("model").place(file, shard.name)
        return entry

    def _fill(
        self, shard: Shard, thresholds: Thresholds, path: Path, done: Callable[[int], None]
    ) -> None:
        names = list(shard.shapes)
        look = self.merger.whole
        wholes = dict(
            zip(names, self._each(lambda name: look(name, thresholds), names), strict=True)
        )
        offsets = shard.offsets()
        todo = [(name, piece) for name in names for piece in pieces(shard.shapes[name])]
        with path.open("wb") as file:
            file.write(shard.header())
            file.flush()

            def merge(item: tuple[str, tuple[int, int]]) -> str:
                name, piece = item
                self._write_piece(file.fileno(), offsets[name], name, piece, wholes[name])
                return name

            for _ in groupby(self._each(merge, todo)):
                done(1)

    def _write_piece(
        self, file: int, offset: int, name: str, piece: tuple[int, int], whole: Whole
    ) -> None:
        merged = self.merger.piece(name, piece, whole)
        view = merged.view(torch.uint8).numpy().data
        at = offset + piece[0] * merged.element_size()
        while view:
            written = os.pwrite(file, view, at)
            view, at = view[written:], at + written

    def _each(self, work: Callable[[_T], _R], items: Iterable[_T]) -> Iterator[_R]:
        """Do the work in threads; results in order, few of them waiting at any time."""
        waiting: deque[Future[_R]] = deque()
        try:
            for item in items:
                waiting.append(self._pool.submit(work, item))
                if len(waiting) > self._ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
