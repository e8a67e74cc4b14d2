"""``astroctl pools``."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import click

from astroctl.cli.command import Command, Decorator, Group, all_of
from astroctl.cli.options import cluster_options, output_option


class _Pools(Group):
    """The group; the simulator is imported when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of use."""
        return [*self.commands, "simulate"]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the simulator if it is meant."""
        if cmd_name == "simulate":
            from astroctl.cli.commands.pools_simulate import command as simulate

            found: click.Command = simulate
            return found
        return super().get_command(ctx, cmd_name)


@click.group("pools", cls=_Pools, example="astroctl pools plan")
def command() -> None:
    """Show, plan and scale the pools of GPU nodes of a Kubernetes cluster."""


where: Decorator = all_of(cluster_options, output_option)


def _connect(options: dict[str, Any]) -> Any:
    from astroctl.kube.client import Kube

    return Kube.connect(options["context"], options["kubeconfig"])


@command.command("list", cls=Command, example="astroctl pools list -o json")
@where
def list_pools(output: str, **options: Any) -> None:
    """Show all pools as the operator sees them."""
    from astroctl.cli.output import emit
    from astroctl.cli.pools_view import pool_row, pool_table
    from astroctl.kube.resources import POOL

    rows = [pool_row(obj) for obj in _connect(options).list(POOL)]
    emit(output, rows, lambda: pool_table(rows))


@command.command("describe", cls=Command, example="astroctl pools describe h100")
@click.argument("name")
@where
def describe(name: str, output: str, **options: Any) -> None:
    """Show one pool: what it is, how it stands, its nodes and what happened."""
    from astroctl.cli.output import emit
    from astroctl.cli.pools_view import described, described_text

    data = described(_connect(options), name)
    emit(output, data, lambda: described_text(data))


@command.command("plan", cls=Command, example="astroctl pools plan")
@where
def plan(output: str, **options: Any) -> None:
    """Print what the policy would do now, and why. Changes nothing."""
    from astroctl.cli.output import emit
    from astroctl.cli.pools_view import plan_data, plan_text
    from astroctl.pools.cluster.look import Looker

    data = plan_data(Looker(_connect(options)).look(time.time()))
    emit(output, data, lambda: plan_text(data))


@command.command("scale", cls=Command, example="astroctl pools scale h100 4")
@click.argument("name")
@click.argument("nodes", type=click.IntRange(0))
@click.option(
    "--force",
    is_flag=True,
    help="Remove nodes that have work; where another autoscaler owns the number, set its limits.",
)
@where
def scale(name: str, nodes: int, force: bool, output: str, **options: Any) -> None:
    """Set a pool to NODES nodes, now.

    The operator goes on from there: what nobody needs it removes after the pool's idle time. To
    keep nodes, set the pool's minNodes. Refused where another autoscaler owns the number of nodes.
    """
    from astroctl.cli.output import emit
    from astroctl.pools.manual import scale_by_hand

    data = scale_by_hand(_connect(options), name, nodes, force=force)
    emit(output, data, lambda: str(data["message"]))


@command.command("autoscale", cls=Command, example="astroctl pools autoscale --once")
@click.option("--once", is_flag=True, help="One round only, as for a CronJob.")
@click.option(
    "--interval", type=click.FloatRange(1.0), default=10.0, help="Seconds between rounds."
)
@where
def autoscale(once: bool, interval: float, output: str, **options: Any) -> None:
    """Keep all pools at the size that jobs need, where the operator does not.

    The same loop as the operator's. What it remembers is in the pools' status, so that `--once`
    from time to time does as well.
    """
    from astroctl.cli.output import emit
    from astroctl.cli.pools_view import outcome_row, outcome_text
    from astroctl.controller.pools import PoolController
    from astroctl.render.settings import Settings
    from astrosage.errors import ClusterError

    controller = PoolController(_connect(options), Settings())
    while True:
        try:
            outcomes = controller.tick(time.time())
        except ClusterError as error:
            if once or not error.retryable:
                raise
            click.echo(f"warning: {error.message}", err=True)
            outcomes = []
        rows = [outcome_row(o) for o in outcomes]
        told = rows if once else [r for r in rows if r["done"] or r["error"]]
        if told or once:
            emit(output, told, partial(outcome_text, told))
        if once:
            failed = next((o.error for o in outcomes if o.error is not None), None)
            if failed is not None:
                raise failed
            return
        time.sleep(interval)
