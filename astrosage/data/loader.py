"""Batches out of packed shards, in an order that the seed and the step decide alone."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrosage.data.shards import ARRAYS, DOCUMENTS, shard_path
from astrosage.errors import StorageError
from astrosage.runs import manifest


@dataclass(frozen=True)
class Batch:
    """Rows for the model.

    Attributes:
        tokens: ``[B, T]`` int32 token ids.
        segments: ``[B, T]`` 0 padding, 1..k the document's place in its row.
        mask: ``[B, T]`` uint8, 1 where the token is learnt as a target; never on the first token of
            a segment, since nothing comes before it.
    """

    tokens: NDArray[np.int32]
    segments: NDArray[Any]
    mask: NDArray[np.uint8]


class PackedDataset:
    """One split of a prepare stage's shards, mapped into memory.

    Args:
        folder: The ``shards`` folder.
        split: ``train`` or ``validation``.

    Attributes:
        sources: ``(name, rows)`` of each source, in the order of the rows, where the rows are of
            one source each; else one entry, the split's name with all rows.

    Raises:
        StorageError: If the folder is unfinished, a file is missing or has another size, or the
            arrays do not have the shape that the manifest states.
    """

    def __init__(self, folder: Path, split: str) -> None:
        self.folder, self.split = folder, split
        self.manifest = manifest.verify(folder)
        try:
            stated = self.manifest["splits"][split]
            self.sequence_length = int(self.manifest["sequenceLength"])
        except KeyError as error:
            raise StorageError(
                f"{folder / manifest.NAME} has no {error}: it does not describe token shards",
                "name the shards folder of a prepare stage",
            ) from None
        self._shards = [
            tuple(np.load(shard_path(folder, split, i, name), mmap_mode="r") for name in ARRAYS)
            for i in range(stated["shards"])
        ]
        self._ends = list(accumulate(len(arrays[0]) for arrays in self._shards))
        self._check(stated["sequences"])
        self.sources = self._sources(stated.get("sources"))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def rows(self, indices: Sequence[int]) -> Batch:
        """The rows of those indices, copied out of the map.

        Raises:
            IndexError: If an index is out of range.
        """
        found = [self._locate(i) for i in indices]
        tokens, segments, mask = (
            np.stack([self._shards[shard][k][row] for shard, row in found])
            if found
            else np.zeros((0, self.sequence_length), dtype=kind)
            for k, kind in enumerate((np.int32, np.uint16, np.uint8))
        )
        return Batch(tokens, segments, mask)

    def document_ids(self, row: int) -> list[str]:
        """Which documents a row holds, in their order in the row."""
        self._locate(row)
        return self._document_ids[row]

    @cached_property
    def _document_ids(self) -> list[list[str]]:
        with (self.folder / DOCUMENTS).open(encoding="utf-8") as file:
            lines = (json.loads(line) for line in file)
            return [[d["id"] for d in x["documents"]] for x in lines if x["split"] == self.split]

    def _locate(self, index: int) -> tuple[int, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"row {index} of {len(self)} in {self.folder} ({self.split})")
        shard = bisect_right(self._ends, index)
        return shard, index - (self._ends[shard - 1] if shard else 0)

    def _sources(self, stated: list[dict[str, Any]] | None) -> list[tuple[str, range]]:
        if not stated:
            return [(self.split, range(len(self)))] if len(self) else []
        sources = [(str(s["name"]), range(s["first"], s["first"] + s["count"])) for s in stated]
        if [row for _, rows in sources for row in rows] != list(range(len(self))):
            raise self._damaged(f"the sources of its {len(self)} {self.split} rows do not fit them")
        return sources

    def _check(self, sequences: int) -> None:
        if len(self) != sequences:
            raise self._damaged(
                f"{len(self)} {self.split} sequences, the manifest says {sequences}"
            )
        for arrays in self._shards:
            shapes = {array.shape for array in arrays}
            if shapes != {(len(arrays[0]), self.sequence_length)}:
                raise self._damaged(
                    f"shards of shape {sorted(shapes)}, the manifest says sequence length "
                    f"{self.sequence_length}"
                )

    def _damaged(self, found: str) -> StorageError:
        return StorageError(
            f"{self.folder}: {found}",
            f"delete {self.folder} and `astroctl resume`: the stage is run again",
        )


class GlobalOrder:
    """Which sequences each step learns from: one permutation an epoch, end to end.

    It knows nothing of workers, so a run may go on with another number of them in the same order.

    Args:
        sequences: Sequences in the data set; at least 1.
        seed: Decides the permutations.
    """

    def __init__(self, sequences: int, seed: int) -> None:
        if sequences < 1:
            raise ValueError(f"an order needs at least 1 sequence, found {sequences}")
        self.sequences, self.seed = sequences, seed

    def indices(self, step: int, global_batch_size: int) -> list[int]:
        """Sequences of step ``step`` (from 0), the same on every worker."""
        first = step * global_batch_size
        result: list[int] = []
        for position in range(first, first + global_batch_size):
            epoch, place = divmod(position, self.sequences)
            result.append(int(_permutation(self.sequences, self.seed, epoch)[place]))
        return result


@lru_cache(maxsize=4)
def _permutation(sequences: int, seed: int, epoch: int) -> NDArray[np.int64]:
    # Raw PCG64 words, sorted: unlike Generator.permutation, numpy promises that they never change.
    words = np.random.PCG64(np.random.SeedSequence([seed % 2**64, epoch])).random_raw(sequences)
    return np.argsort(words, kind="stable")
