"""What a prepare stage may be told of duplicates."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from astrosage.spec.base import SpecModel

FilePath = Annotated[str, Field(min_length=1, max_length=4096)]


class Near(SpecModel):
    """Records that share most of their word n-grams with an earlier one (MinHash)."""

    enabled: bool = False
    """Leave near-duplicates out: of each cluster the record that comes first stays."""
    ngram: Annotated[int, Field(ge=1, le=32)] = 5
    """Words in an n-gram; case and punctuation do not count."""
    threshold: Annotated[float, Field(ge=0.5, le=1.0)] = 0.8
    """Jaccard similarity of the n-grams from which records count as the same."""
    permutations: Annotated[int, Field(ge=16, le=1024)] = 128
    """Numbers in a signature, 4 bytes of disk each a record."""


class Deduplicate(SpecModel):
    """Which records are left out because others say the same."""

    exact: bool = True
    """Leave out records that are equal after white space and case are folded."""
    near: Near = Near()
    """Near-duplicates."""
    against: Annotated[list[FilePath], Field(max_length=64)] = []
    """Also leave out what earlier data holds: prepare stages of this file, or the
    `shards/signatures.npz` of other runs; both keep signatures where `near` is enabled."""
