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

    record = find(context.params.get("name"), context.params.get("namespace") or "default")
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

target_options = all_of(
    click.option(
        "--target", type=click.Choice(["local", "ray"]), help="Where to run  [default: local]"
    ),
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
)

run_options = all_of(
    click.option("-n", "--namespace", default="default", help="The run's namespace."),
    click.option("--storage", metavar="URI", help="Look in this storage, not in the registry."),
)


def run_argument(*, required: bool = True) -> Decorator:
    """The run's name; without it, where allowed, the run submitted last."""
    return click.argument("name", required=required, shell_complete=complete_runs)


def target_from(options: dict[str, Any]) -> Any:
    """Take the target's options out of a command's and make the target."""
    from astroctl.targets.choose import choose

    return choose(
        options.pop("target"),
        options.pop("address"),
        shared_storage=options.pop("shared_storage"),
        dashboard_port=options.pop("dashboard_port"),
    )
