"""Options that several commands share."""

from __future__ import annotations

from typing import Any

import click
from click.shell_completion import CompletionItem

from astroctl.cli.command import Decorator, all_of


def complete_runs(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Names of known runs."""
    from astroctl.runs.registry import all_records

    names = [r.name if r.namespace == "default" else r.key for r in all_records()]
    return [CompletionItem(n) for n in dict.fromkeys(names) if n.startswith(incomplete)]


def complete_stages(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Names of the stages of the run file, or of the run, that the command line names."""
    import yaml

    from astrosage.errors import AstroError

    try:
        names = _stage_names(context)
    except (AstroError, OSError, yaml.YAMLError, LookupError, TypeError):
        return []  # completion never complains
    return [CompletionItem(n) for n in names if n.startswith(incomplete)]


def _stage_names(context: click.Context) -> list[str]:
    import yaml

    if file := context.params.get("file"):
        with open(file, encoding="utf-8") as stream:
            return [s["name"] for s in yaml.safe_load(stream)["spec"]["stages"]]
    from astroctl.runs.find import find
    from astrosage.runs.directory import RunDirectory

    record = find(context.params.get("name"), context.params.get("namespace"))
    if record.target == "kubernetes":
        return record.stages  # a cluster may be slow to answer
    return [s.name for s in RunDirectory(record.uri).job().spec.stages]


output_option = click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json", "yaml"]),
    default="table",
    help="How data is printed.",
)

file_option = click.option(
    "-f",
    "--file",
    type=click.Path(dir_okay=False),
    required=True,
    help="The run file.",
)

set_option = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="A.B=C",
    help="Set a field of the run file, list items by number or name; may be repeated.",
)

target_option = click.option(
    "--target",
    type=click.Choice(["local", "ray", "kubernetes"]),
    envvar="ASTROCTL_TARGET",
    help="Where to run  [default: local]",
)

cluster_options = all_of(
    click.option(
        "--context",
        metavar="NAME",
        envvar="ASTROCTL_CONTEXT",
        help="Context of the kubeconfig (target kubernetes).",
    ),
    click.option(
        "--kubeconfig",
        metavar="FILE",
        type=click.Path(dir_okay=False),
        envvar="ASTROCTL_KUBECONFIG",
        help="Kubeconfig (target kubernetes)  [default: KUBECONFIG, ~/.kube/config]",
    ),
)

namespace_option = click.option(
    "-n",
    "--namespace",
    envvar="ASTROCTL_NAMESPACE",
    help="The run's namespace  [default: the file's; `default`; on Kubernetes the context's]",
)

target_options = all_of(
    target_option,
    click.option("--address", metavar="URL", help="Dashboard of a Ray cluster (target ray)."),
    click.option(
        "--shared-storage",
        is_flag=True,
        help="Every node of the cluster sees this machine's paths (target ray).",
    ),
    click.option(
        "--dashboard-port",
        type=click.IntRange(1024, 65535),
        help="Port for the dashboard of a new local cluster  [default: 8265 or a free one]",
    ),
    cluster_options,
)

run_options = all_of(
    namespace_option,
    click.option("--storage", metavar="URI", help="Look in this storage, not in the registry."),
)

where_options = all_of(
    click.option(
        "--target",
        type=click.Choice(["local", "ray", "kubernetes"]),
        envvar="ASTROCTL_TARGET",
        help="Only this target's runs; kubernetes: ask the cluster  [default: the registry]",
    ),
    cluster_options,
)


def run_argument(*, required: bool = True) -> Decorator:
    """The run's name; without it, where allowed, the run submitted last."""
    return click.argument("name", required=required, shell_complete=complete_runs)


def where_from(options: dict[str, Any]) -> Any:
    """Take the options of :data:`where_options` out of a command's: which runs are meant."""
    from astroctl.runs.find import Where

    found = Where(options["target"], *_cluster_from(options))
    for name in ("target", "context", "kubeconfig"):
        del options[name]
    return found


def target_from(options: dict[str, Any]) -> Any:
    """Take the target's options out of a command's and make the target.

    The namespace stays in the options.
    """
    from astroctl.targets.choose import choose

    context, kubeconfig = _cluster_from(options)
    del options["context"], options["kubeconfig"]
    return choose(
        options.pop("target"),
        options.pop("address"),
        shared_storage=options.pop("shared_storage"),
        dashboard_port=options.pop("dashboard_port"),
        context=context,
        kubeconfig=kubeconfig,
        namespace=options.get("namespace"),
    )


def _cluster_from(options: dict[str, Any]) -> tuple[str | None, str | None]:
    """Context and kubeconfig; variables of the shell do not choose the target by themselves."""
    context = click.get_current_context()
    environment = click.core.ParameterSource.ENVIRONMENT
    found = []
    for name in ("context", "kubeconfig"):
        value = options.get(name)
        given = context.get_parameter_source(name) is not environment
        found.append(value if given or options.get("target") == "kubernetes" else None)
    return found[0], found[1]
