"""``astroctl doctor``."""

from __future__ import annotations

from typing import Any

import click

from astroctl.cli.command import command as make
from astroctl.cli.options import cluster_options, namespace_option, output_option
from astroctl.cli.output import emit


@make(
    "doctor",
    "astroctl doctor --storage ./runs\nastroctl doctor --target kubernetes -n team-a",
)
@click.option(
    "--target",
    type=click.Choice(["local", "kubernetes"]),
    default="local",
    envvar="ASTROCTL_TARGET",
    help="What to check.",
)
@click.option(
    "--storage",
    help="The storage to check  [default: ./runs; on Kubernetes the installation's]",
)
@click.option("--write-test", is_flag=True, help="Also write to a claim, through a pod.")
@click.option(
    "--skip",
    multiple=True,
    type=click.Choice(["rights", "nodes", "pools", "storage", "kueue"]),
    help="Kubernetes: leave these checks out; may be repeated.",
)
@namespace_option
@cluster_options
@output_option
@click.pass_context
def command(
    click_context: click.Context,
    /,
    target: str,
    storage: str | None,
    write_test: bool,
    skip: tuple[str, ...],
    namespace: str | None,
    context: str | None,
    kubeconfig: str | None,
    output: str,
) -> None:
    """Check this machine, the installation and the local cluster; or a Kubernetes cluster.

    On Kubernetes: versions, definitions, the operator, your rights, nodes and GPUs, pools, storage
    and queues. The exit code is 1 if a check fails.
    """
    results: list[Any]
    if target == "kubernetes":
        from astroctl.targets.kubernetes import doctor
        from astroctl.targets.kubernetes.target import KubernetesTarget

        cluster = KubernetesTarget(context, kubeconfig, namespace)
        results = doctor.run_checks(cluster, storage=storage, write_test=write_test, skip=skip)
    else:
        from astroctl.cli.checks import run_checks

        results = run_checks(storage or "./runs")

    def text() -> str:
        lines = []
        for r in results:
            lines.append(f"{r.state:<5}{r.name}: {r.found}")
            if r.remedy and r.state != "ok":
                lines.append(f"     -> {r.remedy}")
        return "\n".join(lines)

    emit(output, [r.to_dict() for r in results], text)
    if any(r.state == "fail" for r in results):
        click_context.exit(1)
