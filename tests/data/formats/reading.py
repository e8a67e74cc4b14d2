"""A pass over a source, for the tests of its reader."""

from __future__ import annotations

from typing import Any

from astrosage.data.records import Format, Record
from astrosage.data.sources import read_records
from astrosage.data.tally import Tally
from astrosage.spec.sources import Source

FIELD = "spec.stages[0].prepare.sources[0]"


def read(
    path: object,
    kind: str = "auto",
    format: Format = "text",  # noqa: A002
    tally: Tally | None = None,
    glance: bool = False,
    **options: Any,
) -> list[Record]:
    """All records; ``options`` as the run file has them."""
    source = Source.model_validate({"path": str(path), "kind": kind, **options})
    return list(read_records(source, format, FIELD, tally, glance=glance))
