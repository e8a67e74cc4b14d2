"""``astroctl serve``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from astroctl.cli.command import all_of
from astroctl.cli.command import command as make
from astroctl.cli.options import (
    complete_runs,
    complete_stages,
    output_option,
    run_options,
    target_from,
    target_options,
)
from astroctl.cli.output import emit, say, table

limit_options = all_of(
    click.option("--max-concurrent", type=click.IntRange(1), default=8, help="Requests at once."),
    click.option("--max-queue", type=click.IntRange(0), default=32, help="Requests that may wait."),
    click.option("--max-tokens", type=click.IntRange(1), default=1024, help="Tokens of an answer."),
    click.option(
        "--request-timeout",
        type=click.FloatRange(0, min_open=True),
        help="Seconds in which an answer must be whole.",
    ),
    click.option(
        "--queue-timeout",
        type=click.FloatRange(0, min_open=True),
        help="Seconds that a request may wait for its turn.",
    ),
    click.option(
        "--drain",
        type=click.FloatRange(0),
        help="Seconds that the last answers of an old version get  [default: the request timeout, "
        "else 120]",
    ),
    click.option(
        "--requests-per-minute",
        type=click.IntRange(1),
        help="Limit of each key that has none of its own.",
    ),
    click.option(
        "--tokens-per-minute",
        type=click.IntRange(1),
        help="Limit of each key that has none of its own, prompts and answers together.",
    ),
    click.option(
        "--access-log",
        metavar="FILE",
        help="Add a line of JSON for each request; `-` is standard error of the replica.",
    ),
    click.option("--log-prompts", is_flag=True, help="Put prompts into the access log."),
)

replica_options = all_of(
    click.option(
        "--replicas",
        type=click.IntRange(0),
        default=1,
        help="Copies, the fewest if there may be more; 0 with --max-replicas unloads the model "
        "when nobody asks (not on Kubernetes).",
    ),
    click.option(
        "--max-replicas",
        type=click.IntRange(1),
        help="Copies under load; their number then follows it.",
    ),
    click.option(
        "--surge",
        is_flag=True,
        help="Load a new version beside the old one, if there is room for both (not on "
        "Kubernetes).",
    ),
)

kubernetes_options = all_of(
    click.option("--memory", help="Memory of a copy, such as 64Gi (target kubernetes)."),
    click.option("--pool", help="A GPUNodePool (target kubernetes)."),
    click.option(
        "--upgrade",
        type=click.Choice(["auto", "new-cluster", "incremental", "recreate"]),
        default="auto",
        help="How a new version takes over: beside the old one if GPUs are free (target "
        "kubernetes).",
    ),
)


@make(
    "serve",
    "astroctl serve astro-mini\nastroctl serve ./my-model --name my-model --port 8001\n"
    "astroctl serve astro-8b --target kubernetes --gpus 1 --memory 64Gi --replicas 2\n"
    "astroctl serve --stop astro-mini",
)
@click.argument("model", required=False, shell_complete=complete_runs)
@run_options
@click.option("--stage", shell_complete=complete_stages, help="Which of the run's models.")
@click.option("--name", "served", help="The model's name in the API  [default: the run's name]")
@click.option("--host", default="127.0.0.1", help="Interface to listen on (not on Kubernetes).")
@click.option("--port", type=click.IntRange(1, 65535), help="HTTP port  [default: 8000]")
@limit_options
@click.option("--cpus", type=float, default=1.0, help="CPU cores of the model.")
@click.option("--gpus", type=float, default=0.0, help="GPUs of the model.")
@click.option(
    "--timeout",
    type=float,
    help="Seconds to wait until it is healthy  [default: 300; on Kubernetes 1800]",
)
@click.option("--stop", "to_stop", metavar="NAME", help="Stop serving this model.")
@click.option("--status", "show", is_flag=True, help="Show what is served.")
@click.option(
    "--forward",
    "to_forward",
    metavar="NAME",
    help="Lead a local port to this model until interrupted (target kubernetes).",
)
@replica_options
@kubernetes_options
@target_options
@output_option
def command(
    model: str | None,
    to_stop: str | None,
    show: bool,
    to_forward: str | None,
    output: str,
    **options: Any,
) -> None:
    """Serve a model directory, or a run's newest model, behind an OpenAI-compatible endpoint.

    The endpoint listens on loopback and wants a bearer token, which is kept in a file that only
    you may read. On Kubernetes it is a RayService, reached inside the cluster, and its key is in a
    Secret.
    """
    from astroctl.serving.place import place_of

    target = target_from(options)
    if target.name == "kubernetes":
        _refuse_elsewhere_options(options)
    else:
        _refuse_kubernetes_options()
        _check_replicas(options)
    if to_forward:
        _forward(target, to_forward, options["port"])
        return
    place = place_of(target)
    if to_stop:
        place.stop(to_stop)
        emit(output, {"stopped": to_stop}, lambda: f"{to_stop} is no longer served")
    elif show:
        rows = place.status()
        headers = ["NAME", "STATUS", "URL", "MODEL", "MESSAGE"]
        cells = [[r["name"], r["status"], r["url"], r["model"], r["message"]] for r in rows]
        emit(output, rows, lambda: table(headers, cells) if rows else "nothing is served")
    elif model is None:
        raise click.UsageError("name a model directory or a run, or give --status or --stop NAME")
    else:
        _deploy(target, model, output, options)


def _deploy(target: Any, model: str, output: str, options: dict[str, Any]) -> None:
    from astroctl.serving import standing
    from astroctl.serving.models import find_model
    from astroctl.serving.place import Wanted

    found = find_model(model, options["namespace"], options["storage"], options["stage"], target)
    name = options["served"] or found.name
    say(f"serving {found.reference} as {name}; this takes a while on the first start")
    wanted = Wanted(
        limits=_settings(options, found.card, surge=options["surge"]),
        **{
            key: options[key]
            for key in (
                *("cpus", "gpus", "host", "port", "timeout"),
                *("replicas", "max_replicas", "memory", "pool", "upgrade"),
            )
        },
    )
    served = standing.deploy(target, found, name, wanted)
    emit(output, served.public(), served.describe)


def _settings(options: dict[str, Any], card: dict[str, Any], *, surge: bool) -> dict[str, Any]:
    """The server's settings that the command line and the run give; its own defaults elsewhere."""
    rates = {
        "requestsPerMinute": options["requests_per_minute"],
        "tokensPerMinute": options["tokens_per_minute"],
    }
    log = options["access_log"]
    if log not in (None, "-"):
        log = str(Path(log).expanduser().absolute())
    given = {
        "maxConcurrent": options["max_concurrent"],
        "maxQueue": options["max_queue"],
        "maxTokens": options["max_tokens"],
        "requestTimeoutSeconds": options["request_timeout"],
        "queueTimeoutSeconds": options["queue_timeout"],
        "drainSeconds": options["drain"],
        "rateLimits": {name: limit for name, limit in rates.items() if limit} or None,
        "accessLog": log,
        "logPrompts": options["log_prompts"] or None,
        "surge": surge or None,
        "card": card or None,
    }
    return {name: value for name, value in given.items() if value is not None}


def _forward(target: Any, name: str, port: int | None) -> None:
    """Hold a port open; what it leads to may be replaced meanwhile."""
    from astroctl.serving.reach import forward_to

    if target.name != "kubernetes":
        raise click.UsageError("--forward is for --target kubernetes; elsewhere use the URL")
    from astroctl.serving.on_kubernetes import KubernetesPlace

    served = KubernetesPlace(target).served(name)
    opened = forward_to(target.kube, served, port or 0, say).start()
    try:
        click.echo(f"http://127.0.0.1:{opened.port}/v1")
        say(f"key: {served.key_command()}")
        say("end with Ctrl-C")
        opened.wait()
    except KeyboardInterrupt:
        pass
    finally:
        opened.close()


def _refuse_kubernetes_options() -> None:
    context = click.get_current_context()
    given = [
        name
        for name in ("memory", "pool", "upgrade")
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
    ]
    if given:
        option = given[0].replace("_", "-")
        raise click.UsageError(f"--{option} is for --target kubernetes")


def _refuse_elsewhere_options(options: dict[str, Any]) -> None:
    if options["replicas"] == 0:
        raise click.UsageError("--replicas: 0 is not for --target kubernetes; at least 1 there")
    if options["surge"]:
        raise click.UsageError("--surge is not for --target kubernetes; see --upgrade there")
    if options["access_log"] not in (None, "-"):
        raise click.UsageError("--access-log: only `-` on Kubernetes; the pod's log has it")


def _check_replicas(options: dict[str, Any]) -> None:
    least, most = options["replicas"], options["max_replicas"]
    if most is None and least == 0:
        raise click.UsageError("--replicas: 0 needs --max-replicas N")
    if most is not None and most < least:
        raise click.UsageError(f"--max-replicas: {most} is below --replicas: {least}")
