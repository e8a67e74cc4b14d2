"""``astroctl render``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from astroctl.cli.command import command as make
from astroctl.cli.options import cluster_options, file_option, namespace_option, set_option
from astroctl.cli.output import say, warn


@make(
    "render",
    "astroctl render -f job.yaml --what astrojob > astrojob.yaml\n"
    "astroctl render -f job.yaml --settings settings.yaml --pool-file pools.yaml",
)
@file_option
@set_option
@namespace_option
@click.option(
    "--what",
    type=click.Choice(["astrojob", "rayjob", "all"]),
    default="all",
    help="The AstroJob; or what the operator makes of it: RayJobs, budgets and Secret.",
)
@click.option("--stages", metavar="A,B", help="Only these stages  [default: all]")
@click.option(
    "--settings",
    "settings_file",
    type=click.Path(dir_okay=False),
    help="Settings of the installation (YAML)  [default: with --context or --kubeconfig the "
    "cluster's, else built in]",
)
@click.option(
    "--pool-file",
    "pool_files",
    multiple=True,
    type=click.Path(dir_okay=False),
    help="YAML file with GPUNodePools that the job names; may be repeated.",
)
@cluster_options
def command(
    file: str,
    overrides: tuple[str, ...],
    namespace: str | None,
    what: str,
    stages: str | None,
    settings_file: str | None,
    pool_files: tuple[str, ...],
    context: str | None,
    kubeconfig: str | None,
) -> None:
    """Print the manifests that a run file becomes on Kubernetes, as YAML. Needs no cluster.

    Everything is checked as the operator and KubeRay would. Create either the AstroJob, of which
    the operator makes the rest, or that rest (--what rayjob) where there is no operator; its Secret
    needs a token of yours. Files of this machine are not uploaded: `submit` does that.
    """
    import yaml

    from astroctl.targets.kubernetes import rendering
    from astrosage.spec.load import load

    job = load(file, overrides)
    target = rendering.target_for(context, kubeconfig, namespace)
    settings, origin = rendering.settings_for(settings_file, target)
    job = rendering.placed(job, namespace, target, Path(file).resolve().parent)
    made, warnings = rendering.render(job, stages, settings, target, pool_files)
    warn(warnings)
    say(f"settings: {origin}")
    if what == "all":
        say("create the AstroJob or the rest, not both: see --what")
    objects: list[Any] = made.chosen(what)
    click.echo(
        yaml.safe_dump_all(objects, sort_keys=False, allow_unicode=True, width=100), nl=False
    )
