"""``astroctl list``."""

from __future__ import annotations

import time
from typing import Any

import click

from astroctl.cli.command import command as make
from astroctl.cli.options import output_option, where_from, where_options
from astroctl.cli.output import ago, emit, table


@make("list", "astroctl list -o json\nastroctl list --target kubernetes -A")
@click.option(
    "-n",
    "--namespace",
    envvar="ASTROCTL_NAMESPACE",
    help="Only this namespace  [default: all; with --target kubernetes the context's]",
)
@click.option("-A", "--all-namespaces", is_flag=True, help="All namespaces of the cluster.")
@click.option("--storage", metavar="URI", help="List this storage, not the registry.")
@where_options
@output_option
def command(
    namespace: str | None, all_namespaces: bool, storage: str | None, output: str, **where: Any
) -> None:
    """Show runs: those submitted from this machine, those in a storage, or a cluster's."""
    from astroctl.runs.find import in_storage
    from astroctl.runs.registry import all_records

    place = where_from(where)
    if place.is_cluster and not storage:
        from astroctl.targets.kubernetes.target import KubernetesTarget

        target = KubernetesTarget(place.context, place.kubeconfig, namespace)
        views = target.views(None if all_namespaces else target.namespace)
        rows = [_row_of(state) for state in views]
    else:
        records = [r for r in (in_storage(storage) if storage else all_records()) if place.has(r)]
        wanted = None if all_namespaces else namespace
        silent: set[tuple[str, str]] = set()
        rows = [_row(r, silent) for r in records if wanted in (None, r.namespace)]
    emit(output, rows, lambda: _table(rows))


def _row(record: Any, silent: set[tuple[str, str]]) -> dict[str, Any]:
    """A run's row; a cluster that does not answer is asked once, and says nothing of its runs."""
    from astroctl.runs.choose import runs_of
    from astrosage.errors import AstroError, NotFoundError

    cluster = (record.context, record.kubeconfig)
    if cluster in silent:
        return _facts(record, "unknown", {})
    try:
        return _row_of(runs_of(record).glance(record))
    except NotFoundError:
        phase = "gone"
    except AstroError:
        phase = "gone"
        if record.target == "kubernetes":
            phase = "unknown"
            silent.add(cluster)
    return _facts(record, phase, {})


def _row_of(state: Any) -> dict[str, Any]:
    return _facts(state.record, state.phase, state.progress)


def _facts(record: Any, phase: str, progress: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": record.name,
        "namespace": record.namespace,
        "phase": phase,
        **{k: progress.get(k) for k in ("stage", "step", "total", "loss")},
        "submitted": record.submitted,
        "target": record.target or None,
        "directory": record.uri,
    }


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
