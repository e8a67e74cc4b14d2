"""``astroctl list``."""

from __future__ import annotations

import time
from typing import Any

import click

from astroctl.cli.command import command as make
from astroctl.cli.options import output_option
from astroctl.cli.output import ago, emit, table


@make("list", "astroctl list -o json")
@click.option("-n", "--namespace", help="Only this namespace.")
@click.option("--storage", metavar="URI", help="List this storage, not the registry.")
@output_option
def command(namespace: str | None, storage: str | None, output: str) -> None:
    """Show runs: those submitted from this machine, or those in a storage."""
    from astroctl.runs.find import in_storage
    from astroctl.runs.registry import all_records

    records = in_storage(storage) if storage else all_records()
    rows = [_row(r) for r in records if namespace in (None, r.namespace)]
    emit(output, rows, lambda: _table(rows))


def _row(record: Any) -> dict[str, Any]:
    from astroctl.runs.state import view
    from astrosage.errors import AstroError

    row = {
        "name": record.name,
        "namespace": record.namespace,
        "phase": "gone",
        "stage": None,
        "step": None,
        "total": None,
        "loss": None,
        "submitted": record.submitted,
        "target": record.target or None,
        "directory": record.uri,
    }
    try:
        state = view(record)
    except AstroError:
        return row
    shown = {k: state.progress.get(k) for k in ("stage", "step", "total", "loss")}
    return row | shown | {"phase": state.phase}


def _table(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return "no runs; `astroctl submit train -f job.yaml` makes one"
    cells = [
        [
            r["name"],
            r["namespace"],
            r["phase"],
            r["stage"],
            f"{r['step']}/{r['total']}" if r["total"] else None,
            f"{r['loss']:.3f}" if r["loss"] is not None else None,
            ago(time.time() - r["submitted"]) if r["submitted"] else None,
            r["directory"],
        ]
        for r in rows
    ]
    headers = ["NAME", "NAMESPACE", "PHASE", "STAGE", "STEP", "LOSS", "SUBMITTED", "DIRECTORY"]
    return table(headers, cells)
