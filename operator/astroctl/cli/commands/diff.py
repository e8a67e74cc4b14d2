"""``astroctl diff``."""

from __future__ import annotations

from pathlib import Path

import click

from astroctl.cli.command import command as make
from astroctl.cli.options import (
    cluster_options,
    file_option,
    namespace_option,
    output_option,
    set_option,
)
from astroctl.cli.output import emit


@make("diff", "astroctl diff -f job.yaml -n team-a")
@file_option
@set_option
@namespace_option
@cluster_options
@output_option
@click.pass_context
def command(
    click_context: click.Context,
    /,
    file: str,
    overrides: tuple[str, ...],
    namespace: str | None,
    context: str | None,
    kubeconfig: str | None,
    output: str,
) -> None:
    """Show how a run file differs from the AstroJob of its name in the cluster, field by field.

    Both sides are compared with all defaults filled in; files of this machine count as what they
    would be uploaded to. The exit code is 1 if there is a difference, 3 if there is no such job.
    """
    from astroctl.kube.resources import ASTROJOB
    from astroctl.targets.kubernetes import submission
    from astroctl.targets.kubernetes.differences import differences
    from astroctl.targets.kubernetes.manifests import with_storage
    from astroctl.targets.kubernetes.rendering import placed
    from astroctl.targets.kubernetes.target import KubernetesTarget
    from astrosage.errors import NotFoundError
    from astrosage.spec.load import load

    target = KubernetesTarget(context, kubeconfig, namespace)
    job = placed(load(file, overrides), namespace, target, Path(file).resolve().parent)
    there = target.kube.find(ASTROJOB, job.metadata.name, job.metadata.namespace)
    if there is None:
        raise NotFoundError(
            f"there is no AstroJob `{job.key}` in {target.kube.context or target.kube.host}",
            f"`astroctl submit -f {file} --target kubernetes` makes it",
        )
    job, _ = submission.brought(target, with_storage(job, target.settings), dry_run=True)
    text, changed = differences(there, job, file)
    emit(output, changed, lambda: text.rstrip("\n") or f"no difference: {job.key} is as in {file}")
    if changed:
        click_context.exit(1)
