"""Near-duplicates: records whose word n-grams are nearly those of an earlier one.

Records are taken in the order of the sources. One is left out when an earlier record that was kept
has a Jaccard similarity of at least the threshold with it. So of each cluster the first stays, and
nothing is left out for being like something that is not there. (The transitive clusters of a
union-find would drift: a chain of small changes would let its first record remove a last one that
has little in common with it.)

Candidates come from MinHash bands and are verified by the true similarity of their n-grams, which
wait on disk; those of earlier runs, of which only signatures are kept, by the estimated one.

Memory: at 128 permutations 512 bytes a kept record for its signature and 12 a band (21 of them),
about 800 in all; twice the bands' while they are merged.
"""

from __future__ import annotations

import json
import math
import os
import weakref
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrosage.data.lsh import BandIndex
from astrosage.data.minhash import Bands, MinHash, jaccard, similarity
from astrosage.data.records import Record
from astrosage.data.shingles import shingles
from astrosage.data.waiting import held_open
from astrosage.spec.deduplicate import Near

_CHUNK = 4096  # signatures in an array
_SLACK = 4.0  # standard deviations that an estimate may lie below the threshold to be verified
_EARLIER_SLACK = 1.5  # and to be believed where it cannot be
_EXCERPT = 240
_LARGEST = 10


@dataclass(frozen=True)
class Cluster:
    """A kept record and how many were left out for it.

    Attributes:
        size: All records of it, the kept one too.
        kept: Its id, source and beginning.
        example: The same of the first that was left out.
    """

    size: int
    kept: dict[str, str]
    example: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """As the report has it."""
        return {"size": self.size, "kept": self.kept, "example": self.example}


@dataclass(frozen=True, slots=True, eq=False)
class Fingerprint:
    """What a record is compared by.

    Attributes:
        shingles: ``[n]`` its n-grams, ascending.
        signature: ``[K]`` their MinHash.
        keys: ``[b]`` one for each band of it.
    """

    shingles: NDArray[np.uint32]
    signature: NDArray[np.uint32]
    keys: NDArray[np.uint64]


class Fingerprinter:
    """Takes fingerprints, each of its record alone.

    Args:
        options: n-grams, threshold, permutations.
    """

    def __init__(self, options: Near) -> None:
        self._ngram = options.ngram
        self._minhash = MinHash(options.permutations)
        self.bands = Bands.for_threshold(options.threshold, options.permutations)

    def of(self, record: Record) -> Fingerprint | None:
        """A record's; None where it has no words."""
        found = shingles("\n".join(record.texts), self._ngram)
        if not len(found):
            return None
        signature = self._minhash.signature(found)
        return Fingerprint(found, signature, self.bands.keys(signature[None])[0])


class NearDuplicates:
    """Remembers records by what they have in common with others.

    Args:
        options: n-grams, threshold, permutations.
        file: Where n-grams wait, so that an interrupted run can go on; None: a temporary file.
    """

    def __init__(self, options: Near, file: Path | None = None) -> None:
        self._options = options
        self._prints = Fingerprinter(options)
        self.bands = self._prints.bands
        self._index = BandIndex()
        self._signatures = _Rows(options.permutations)
        self._earlier = self._told = 0
        self._spill = _Spill(file)
        self._clusters: dict[
            int, list[int]
        ] = {}  # kept record -> [left out, the first one's place]

    def add_earlier(self, signatures: NDArray[np.uint32]) -> None:
        """Take up the ``[n, K]`` signatures of an earlier run; before any record."""
        for i in range(0, len(signatures), _CHUNK):
            part = signatures[i : i + _CHUNK]
            self._index.add_many(self.bands.keys(part), self._earlier)
            self._signatures.extend(part)
            self._earlier += len(part)

    def find(self, record: Record) -> str | None:
        """``near`` or ``earlier`` if a kept or an earlier run's record is like this one.

        Else None, and the record is remembered. One without words is never like another.
        """
        return self.judge(record, self._prints.of(record))

    def judge(self, record: Record, found: Fingerprint | None) -> str | None:
        """The same, of a record whose fingerprint is known."""
        if found is None:
            return None
        match = self._match(found.signature, found.shingles, self._index.find(found.keys))
        if match is None:
            self._index.add(found.keys, len(self._signatures))
            self._signatures.append(found.signature)
            self._spill.add(found.shingles, _stated(record))
            return None
        if match < self._earlier:
            return "earlier"
        cluster = self._clusters.setdefault(match, [0, -1])
        if not cluster[0]:
            cluster[1] = self._spill.note(_stated(record))
        cluster[0] += 1
        return "near"

    def clusters(self) -> dict[str, Any]:
        """How many clusters there are, their sizes, and the largest ones."""
        sizes = {kept: 1 + cluster[0] for kept, cluster in self._clusters.items()}
        largest = sorted(sizes, key=lambda kept: (-sizes[kept], kept))[:_LARGEST]
        histogram: dict[int, int] = {}
        for size in sizes.values():
            histogram[size] = histogram.get(size, 0) + 1
        return {
            "count": len(sizes),
            "records": sum(sizes.values()),
            "sizes": [[size, histogram[size]] for size in sorted(histogram)],
            "largest": [self._cluster(kept).to_dict() for kept in largest],
        }

    def signatures(self) -> NDArray[np.uint32]:
        """``[n, K]`` of the records kept here, in their order."""
        return self._signatures.whole()[self._earlier :]

    def growth(self) -> dict[str, Any]:
        """What was remembered since this was last asked; :meth:`grow` takes it."""
        first, self._told = max(self._told, self._earlier), len(self._signatures)
        return {
            "signatures": self._signatures.since(first),
            "spill": self._spill.since(first - self._earlier),
            "clusters": self._clusters,
        }

    def grow(self, growth: dict[str, Any]) -> None:
        """Take up what an interrupted run had remembered, part after part."""
        rows = growth["signatures"]
        self._index.add_many(self.bands.keys(rows), len(self._signatures))
        self._signatures.extend(rows)
        self._spill.grow(*growth["spill"])
        self._clusters = growth["clusters"]
        self._told = len(self._signatures)

    def _match(
        self,
        signature: NDArray[np.uint32],
        found: NDArray[np.uint32],
        candidates: NDArray[np.int64],
    ) -> int | None:
        """The first candidate that is like the record."""
        if not len(candidates):
            return None
        threshold = self._options.threshold
        spread = math.sqrt(threshold * (1 - threshold) / self._options.permutations)
        estimated = similarity(signature, self._signatures.take(candidates))
        for candidate, value in zip(candidates.tolist(), estimated.tolist(), strict=True):
            if candidate < self._earlier:
                if value >= threshold - _EARLIER_SLACK * spread:
                    return int(candidate)
            elif value >= threshold - _SLACK * spread and (
                jaccard(found, self._spill.shingles(candidate - self._earlier)) >= threshold
            ):
                return int(candidate)
        return None

    def _cluster(self, kept: int) -> Cluster:
        left_out, place = self._clusters[kept]
        return Cluster(
            1 + left_out, self._spill.stated(kept - self._earlier), self._spill.read_note(place)
        )


class _Rows:
    """A growing ``[n, K]`` array that is never copied as a whole."""

    def __init__(self, width: int) -> None:
        self._chunks: list[NDArray[np.uint32]] = []
        self._width, self._count = width, 0

    def __len__(self) -> int:
        return self._count

    def append(self, row: NDArray[np.uint32]) -> None:
        if self._count % _CHUNK == 0:
            self._chunks.append(np.empty((_CHUNK, self._width), np.uint32))
        self._chunks[-1][self._count % _CHUNK] = row
        self._count += 1

    def extend(self, rows: NDArray[np.uint32]) -> None:
        for row in rows:
            self.append(row)

    def take(self, indices: NDArray[np.int64]) -> NDArray[np.uint32]:
        return np.stack([self._chunks[i // _CHUNK][i % _CHUNK] for i in indices.tolist()])

    def since(self, first: int) -> NDArray[np.uint32]:
        if first == self._count:
            return np.empty((0, self._width), np.uint32)
        return self.take(np.arange(first, self._count))

    def whole(self) -> NDArray[np.uint32]:
        if not self._chunks:
            return np.empty((0, self._width), np.uint32)
        return np.concatenate(self._chunks)[: self._count]


class _Spill:
    """On disk until the stage ends: each kept record's n-grams and how it begins."""

    def __init__(self, file: Path | None) -> None:
        self._file = held_open(file)
        weakref.finalize(self, self._file.close)
        self._places = array("Q")
        self._counts = array("Q")
        self._end = 0

    def add(self, found: NDArray[np.uint32], stated: dict[str, str]) -> None:
        self._places.append(self._end)
        self._counts.append(len(found))
        self._write(found.tobytes() + _packed(stated))

    def since(self, first: int) -> tuple[bytes, bytes, int]:
        """Places and counts of records from ``first`` on, and where the file ends."""
        return self._places[first:].tobytes(), self._counts[first:].tobytes(), self._end

    def grow(self, places: bytes, counts: bytes, end: int) -> None:
        """Take up what :meth:`since` gave; what the file has beyond that is written over."""
        self._places.frombytes(places)
        self._counts.frombytes(counts)
        self._end = end
        self._file.seek(end)

    def shingles(self, record: int) -> NDArray[np.uint32]:
        data = self._read(4 * self._counts[record], self._places[record])
        return np.frombuffer(data, np.uint32)

    def stated(self, record: int) -> dict[str, str]:
        return self.read_note(self._places[record] + 4 * self._counts[record])

    def note(self, stated: dict[str, str]) -> int:
        """Write what is known of a record that is left out; its place."""
        place = self._end
        self._write(_packed(stated))
        return place

    def read_note(self, place: int) -> dict[str, str]:
        length = int.from_bytes(self._read(4, place), "little")
        found: dict[str, str] = json.loads(self._read(length, place + 4))
        return found

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:  # without a buffer, a write may take a part
            view = view[self._file.write(view) :]
        self._end += len(data)

    def _read(self, count: int, place: int) -> bytes:
        return os.pread(self._file.fileno(), count, place)


def _packed(stated: dict[str, str]) -> bytes:
    data = json.dumps(stated).encode()
    return len(data).to_bytes(4, "little") + data


def _stated(record: Record) -> dict[str, str]:
    text = " ".join("\n".join(record.texts)[: 2 * _EXCERPT].split())
    return {"id": record.id, "source": record.source, "text": text[:_EXCERPT]}
