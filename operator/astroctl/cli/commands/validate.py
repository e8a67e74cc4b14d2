"""``astroctl validate``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from astroctl.cli.command import command as make
from astroctl.cli.options import file_option, output_option, set_option, target_from, target_options
from astroctl.cli.output import emit, warn


@make("validate", "astroctl validate -f job.yaml --set spec.cluster.workers=2")
@file_option
@set_option
@target_options
@output_option
def command(file: str, overrides: tuple[str, ...], output: str, **options: Any) -> None:
    """Check a run file and all that it names.

    Reads every data and question file, looks for the models, compares lengths, batch sizes and
    workers with what there is. Starts nothing.
    """
    from astroctl.runs.choose import runs_on
    from astrosage.spec import graph
    from astrosage.spec.load import load

    runs = runs_on(target_from(options))
    job = runs.place(load(file, overrides), None, Path(file).resolve().parent)
    stages = graph.order(job)
    warnings = runs.check(job, stages)
    warn(warnings)
    data = {
        "run": job.key,
        "stages": [{"name": s.name, "kind": s.kind} for s in stages],
        "warnings": warnings,
    }
    emit(
        output,
        data,
        lambda: (
            f"{file}: run {job.key} is valid; stages in order: "
            + ", ".join(f"{s.name} ({s.kind})" for s in stages)
        ),
    )
