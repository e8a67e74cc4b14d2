"""Near-duplicates: records whose word n-grams are nearly those of an earlier one.

Records are taken in the order of the sources. One is left out when an earlier record that was kept
has a Jaccard similarity of at least the threshold with it. So of each cluster the first stays, and
nothing is left out for being like something that is not there. (The transitive clusters of a
union-find would drift: a chain of small changes would let its first record remove a last one that
has little in common with it.)

Candidates come from MinHash bands and are verified by the true similarity of their n-grams, which
wait on disk; those of earlier runs, of which only signatures are kept, by the estimated one.

Signatures, n-grams and the index of the bands lie in files; memory holds two bytes a band, so about
40 a kept record (21 bands at 128 permutations), 70 while parts of the index are merged.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrosage.data.appended import Appended, Table, named
from astrosage.data.keyindex import KeyIndex
from astrosage.data.minhash import Bands, MinHash, jaccard, similarity
from astrosage.data.pickled import Pickled
from astrosage.data.records import Record
from astrosage.data.shingles import shingles
from astrosage.spec.deduplicate import Near

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
class Fingerprint(Pickled):
    """What a record is compared by.

    Attributes:
        shingles: ``[n]`` its n-grams, ascending.
        signature: ``[K]`` their MinHash.
        keys: ``[b]`` one for each band of it.
        note: What the report says of the record, if it has to.
    """

    shingles: NDArray[np.uint32]
    signature: NDArray[np.uint32]
    keys: NDArray[np.uint64]
    note: bytes


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
        keys = self.bands.keys(signature[None])[0]
        return Fingerprint(found, signature, keys, _packed(record))


class NearDuplicates:
    """Remembers records by what they have in common with others.

    Records are numbered in the order in which they are kept; those of earlier runs come first.

    Args:
        options: n-grams, threshold, permutations.
        folder: Where files lie, so that an interrupted run can go on; None: temporary files.
    """

    def __init__(self, options: Near, folder: Path | None = None) -> None:
        self._options = options
        self._prints = Fingerprinter(options)
        self.bands = self._prints.bands
        self._earlier = 0
        self._index = KeyIndex(folder)
        self._signatures = Table(options.permutations, np.uint32, named(folder, "signatures"))
        self._grams = Appended(named(folder, "ngrams"))
        # Of each record but earlier runs': where its n-grams begin, and how many there are.
        self._places = Table(2, np.uint64, named(folder, "places"))
        # Of each that is left out: for which, and where what is known of it lies.
        self._left_out = Table(2, np.uint64, named(folder, "left-out"))

    def add_earlier(self, signatures: NDArray[np.uint32]) -> None:
        """Take up the ``[n, K]`` signatures of an earlier run; before any record."""
        self._index.add_many(self.bands.keys(signatures), self._earlier)
        self._signatures.add(signatures)
        self._earlier += len(signatures)

    def find(self, record: Record) -> str | None:
        """``near`` or ``earlier`` if a kept or an earlier run's record is like this one.

        Else None, and the record is remembered. One without words is never like another.
        """
        return self.judge(self._prints.of(record))

    def judge(self, found: Fingerprint | None) -> str | None:
        """The same, of a record whose fingerprint is known."""
        if found is None:
            return None
        keys = found.keys.tolist()
        match = self._match(found, self._index.find(keys))
        if match is None:
            self._index.add(keys, len(self._signatures))
            self._signatures.add(found.signature)
            place = self._grams.add(found.shingles.tobytes() + found.note)
            self._places.add(np.array([place, len(found.shingles)], np.uint64))
            return None
        if match < self._earlier:
            return "earlier"
        place = self._grams.add(found.note)
        self._left_out.add(np.array([match - self._earlier, place], np.uint64))
        return "near"

    def clusters(self) -> dict[str, Any]:
        """How many clusters there are, their sizes, and the largest ones."""
        sizes = np.zeros(len(self._places), np.uint32)
        for block in self._left_out.blocks():
            np.add.at(sizes, block[:, 0].astype(np.int64), 1)
        kept = np.flatnonzero(sizes)
        largest = kept[np.argsort(-sizes[kept].astype(np.int64), kind="stable")[:_LARGEST]]
        counts = np.unique_counts(sizes[kept] + 1)
        examples = self._examples(largest)
        return {
            "count": len(kept),
            "records": len(kept) + int(sizes.sum()),
            "sizes": np.stack(counts, axis=1).tolist(),
            "largest": [
                Cluster(int(sizes[i]) + 1, self._stated(i), self._note(examples[i])).to_dict()
                for i in largest.tolist()
            ],
        }

    def signatures(self) -> Iterator[NDArray[np.uint32]]:
        """Those of the records kept here, in their order, ``[some, K]`` at a time."""
        return self._signatures.blocks(self._earlier)

    def __len__(self) -> int:
        """How many records are kept here."""
        return len(self._places)

    def state(self) -> dict[str, int]:
        """What :meth:`restore` takes."""
        self._signatures.stored()
        return {
            "kept": self._places.stored(),
            "left out": self._left_out.stored(),
            "end": self._grams.stored(),
        }

    def restore(self, state: dict[str, int]) -> None:
        """Go on where an interrupted run was; after :meth:`add_earlier`.

        Raises:
            DataError: If its files were changed.
        """
        self._signatures.restore(self._earlier + state["kept"])
        self._places.restore(state["kept"])
        self._left_out.restore(state["left out"])
        self._grams.restore(state["end"])
        first = self._earlier
        for rows in self.signatures():
            self._index.add_many(self.bands.keys(rows), first)
            first += len(rows)

    def _match(self, found: Fingerprint, candidates: list[int]) -> int | None:
        """The first candidate that is like the record."""
        if not candidates:
            return None
        threshold = self._options.threshold
        spread = math.sqrt(threshold * (1 - threshold) / self._options.permutations)
        estimated = similarity(found.signature, self._signatures.take(candidates))
        for candidate, value in zip(candidates, estimated.tolist(), strict=True):
            if candidate < self._earlier:
                if value >= threshold - _EARLIER_SLACK * spread:
                    return candidate
            elif value >= threshold - _SLACK * spread and (
                jaccard(found.shingles, self._shingles(candidate - self._earlier)) >= threshold
            ):
                return candidate
        return None

    def _examples(self, kept: NDArray[np.int64]) -> dict[int, int]:
        """Where what is known of the first lies that was left out for each."""
        found: dict[int, int] = {}
        for block in self._left_out.blocks():
            for i in np.flatnonzero(np.isin(block[:, 0], kept.astype(np.uint64))).tolist():
                found.setdefault(int(block[i, 0]), int(block[i, 1]))
        return found

    def _shingles(self, kept: int) -> NDArray[np.uint32]:
        ((place, count),) = self._places.take([kept]).tolist()
        return np.frombuffer(self._grams.read(4 * count, place), np.uint32)

    def _stated(self, kept: int) -> dict[str, str]:
        ((place, count),) = self._places.take([kept]).tolist()
        return self._note(place + 4 * count)

    def _note(self, place: int) -> dict[str, str]:
        length = int.from_bytes(self._grams.read(4, place), "little")
        found: dict[str, str] = json.loads(self._grams.read(length, place + 4))
        return found


def _packed(record: Record) -> bytes:
    """What the report says of a record."""
    text = " ".join("\n".join(record.texts)[: 2 * _EXCERPT].split())[:_EXCERPT]
    data = json.dumps({"id": record.id, "source": record.source, "text": text}).encode()
    return len(data).to_bytes(4, "little") + data
