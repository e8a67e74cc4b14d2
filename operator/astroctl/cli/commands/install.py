"""``astroctl install``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from astroctl.cli.command import command as make
from astroctl.cli.options import cluster_options
from astroctl.cli.output import say

if TYPE_CHECKING:
    from astroctl.kube.client import Object
    from astroctl.targets.kubernetes.target import KubernetesTarget


@make(
    "install",
    "astroctl install --dry-run\n"
    "astroctl install --values values.yaml --set settings.storage=s3://bucket/runs --kueue",
)
@click.option("--dry-run", is_flag=True, help="Print the commands; run nothing.")
@click.option(
    "--system-namespace",
    envvar="ASTROCTL_SYSTEM_NAMESPACE",
    default="astrosage-system",
    help="Where the operator goes.",
)
@click.option(
    "--values",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False),
    help="Values of the chart; may be repeated.",
)
@click.option("--set", "overrides", multiple=True, metavar="A.B=C", help="One value of the chart.")
@click.option("--chart", metavar="CHART", help="Our chart  [default: the one that came along]")
@click.option("--kuberay/--no-kuberay", default=True, help="Install or upgrade KubeRay too.")
@click.option("--kuberay-chart", metavar="CHART", help="KubeRay's chart, such as a mirror's.")
@click.option("--kueue", is_flag=True, help="Install Kueue too.")
@click.option("--kueue-chart", metavar="CHART", help="Kueue's chart, such as a mirror's.")
@click.option("--timeout", default="10m", help="How long helm waits for each part.")
@click.option("--helm", metavar="PROGRAM", help="The helm program  [default: helm on the path]")
@cluster_options
def command(
    dry_run: bool,
    system_namespace: str,
    values: tuple[str, ...],
    overrides: tuple[str, ...],
    chart: str | None,
    kuberay: bool,
    kuberay_chart: str | None,
    kueue: bool,
    kueue_chart: str | None,
    timeout: str,
    helm: str | None,
    context: str | None,
    kubeconfig: str | None,
) -> None:
    """Install or upgrade the operator on a cluster, with what it needs, by helm.

    The order is KubeRay, Kueue if wanted, then the operator and its definitions. KubeRay that is
    there already is left alone if it is new enough. May be repeated.
    """
    from astroctl.targets.kubernetes import installing
    from astroctl.targets.kubernetes.target import KubernetesTarget

    target = KubernetesTarget(context, kubeconfig)
    options = installing.Options(
        helm=(helm or "helm") if dry_run else installing.find_helm(helm),
        chart=installing.find_chart(chart),
        namespace=system_namespace,
        values=values,
        overrides=overrides,
        kuberay=kuberay,
        kuberay_chart=kuberay_chart,
        kueue=kueue,
        kueue_chart=kueue_chart,
        timeout=timeout,
        context=context,
        kubeconfig=kubeconfig,
    )
    found = _kuberay(target, dry_run) if kuberay else None
    for step in installing.steps(options, found):
        if dry_run:
            click.echo(f"# {step.title}\n{step.shown}")
        else:
            say(f"{step.title}: {step.shown}")
            installing.perform(step, lambda: target.kube)
    if not dry_run:
        click.echo("installed; check it: astroctl doctor --target kubernetes")


def _kuberay(target: KubernetesTarget, dry_run: bool) -> list[Object] | None:
    """What there is of KubeRay; a dry run does without a cluster."""
    from astroctl.targets.kubernetes import versions
    from astrosage.errors import AstroError

    try:
        found = versions.kuberay_operators(target.kube)
    except AstroError as error:
        if not dry_run:
            raise
        say(f"note: {error.message}; a cluster without KubeRay is assumed")
        return None
    for one in found or []:
        where = f"{one['metadata']['namespace']}/{one['metadata']['name']}"
        say(f"KubeRay {versions.image_version(one) or 'of unknown version'} is there: {where}")
    return found
