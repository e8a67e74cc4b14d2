"""``astroctl plan``."""

from __future__ import annotations

from typing import Any

import click

from astroctl.cli.command import command as make
from astroctl.cli.options import file_option, output_option, set_option
from astroctl.cli.output import emit

EXAMPLE = """
astroctl plan -f job.yaml --accelerator H100 --tokens 10B --price-per-gpu-hour 2.5
astroctl plan -f job.yaml --pools pools.yaml --set spec.stages.cpt.train.zero.stage=2
"""


@make("plan", EXAMPLE)
@file_option
@set_option
@click.option("--accelerator", metavar="GPU", help="The GPUs, such as H100  [default: the pool's]")
@click.option("--gpu-memory", metavar="SIZE", help="Memory of one, such as 80Gi.")
@click.option(
    "--mfu",
    type=click.FloatRange(0, 1, min_open=True),
    help="Share of the peak to reckon with  [default: derived from arithmetic at 45 % of it]",
)
@click.option("--measured", metavar="RUN[:STAGE]", help="Take the speed from this run's metrics.")
@click.option("--price-per-gpu-hour", type=click.FloatRange(0), metavar="USD", help="Of one GPU.")
@click.option(
    "--network",
    metavar="RATE",
    help="Of each GPU to other machines, such as 400Gbps  [default: the GPU's usual]",
)
@click.option(
    "--write-rate",
    metavar="RATE",
    default="1GB/s",
    help="At which a machine writes checkpoints.",
)
@click.option(
    "--pools", "pools_file", type=click.Path(dir_okay=False), help="GPUNodePools as YAML documents."
)
@click.option(
    "--tokens",
    multiple=True,
    metavar="[STAGE=]COUNT",
    help="Tokens of the data, such as 10B; may be repeated  [default: prepared shards, or a guess "
    "from the sources' size]",
)
@click.option("--model", metavar="MODEL", help="Plan with this model's shape, not the run file's.")
@click.option("--offline", is_flag=True, help="Ask neither stores nor the hub.")
@output_option
def command(
    file: str,
    overrides: tuple[str, ...],
    output: str,
    **options: Any,
) -> None:
    """Plan the training of a run file: memory, time, money, and what to change. Starts nothing.

    Needs neither weights nor GPUs, only the model's configuration. Memory is that of each worker at
    the worst moment of a step, by ZeRO stage; the run file's own stage is marked. Figures that
    are assumed or estimated say so.
    """
    from astroctl.cli import plan_view, planning
    from astrosage.plan.document import document
    from astrosage.plan.stages import plan
    from astrosage.spec.load import load

    plans = plan(load(file, overrides), planning.assumptions(**options))
    emit(output, document(plans), lambda: plan_view.text(plans))
