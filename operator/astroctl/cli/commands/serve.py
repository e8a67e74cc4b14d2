"""``astroctl serve``."""

from __future__ import annotations

from typing import Any

import click

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


@make(
    "serve",
    "astroctl serve astro-mini\nastroctl serve ./my-model --name my-model --port 8001\n"
    "astroctl serve --stop astro-mini",
)
@click.argument("model", required=False, shell_complete=complete_runs)
@run_options
@click.option("--stage", shell_complete=complete_stages, help="Which of the run's models.")
@click.option("--name", "served", help="The model's name in the API  [default: the run's name]")
@click.option("--host", default="127.0.0.1", help="Interface to listen on.")
@click.option("--port", type=click.IntRange(1, 65535), help="HTTP port  [default: 8000]")
@click.option("--max-concurrent", type=click.IntRange(1), default=8, help="Requests at once.")
@click.option("--max-queue", type=click.IntRange(0), default=32, help="Requests that may wait.")
@click.option("--max-tokens", type=click.IntRange(1), default=1024, help="Tokens of an answer.")
@click.option("--cpus", type=float, default=1.0, help="CPU cores of the model.")
@click.option("--gpus", type=float, default=0.0, help="GPUs of the model.")
@click.option("--timeout", default=300.0, help="Seconds to wait until it is healthy.")
@click.option("--stop", "to_stop", metavar="NAME", help="Stop serving this model.")
@click.option("--status", "show", is_flag=True, help="Show what is served.")
@target_options
@output_option
def command(
    model: str | None, to_stop: str | None, show: bool, output: str, **options: Any
) -> None:
    """Serve a model directory, or a run's newest model, behind an OpenAI-compatible endpoint.

    The endpoint listens on loopback and wants a bearer token, which is kept in a file that only
    you may read.
    """
    from astroctl.serving import deploy

    target = target_from(options)
    if to_stop:
        deploy.stop(target, to_stop)
        emit(output, {"stopped": to_stop}, lambda: f"{to_stop} is no longer served")
    elif show:
        rows = deploy.status(target)
        headers = ["NAME", "STATUS", "URL", "MODEL", "MESSAGE"]
        cells = [[r["name"], r["status"], r["url"], r["model"], r["message"]] for r in rows]
        emit(output, rows, lambda: table(headers, cells) if rows else "nothing is served")
    elif model is None:
        raise click.UsageError("name a model directory or a run, or give --status or --stop NAME")
    else:
        _deploy(target, model, output, options)


def _deploy(target: Any, model: str, output: str, options: dict[str, Any]) -> None:
    from astroctl.serving import deploy
    from astroctl.serving.models import find_model

    path, name = find_model(model, options["namespace"], options["storage"], options["stage"])
    name = options["served"] or name
    say(f"serving {path} as {name}; this takes a while on the first start")
    served = deploy.deploy(
        target,
        path,
        name,
        host=options["host"],
        port=options["port"],
        limits={
            "maxConcurrent": options["max_concurrent"],
            "maxQueue": options["max_queue"],
            "maxTokens": options["max_tokens"],
            "numCpus": options["cpus"],
            "numGpus": options["gpus"],
        },
        timeout=options["timeout"],
    )
    emit(output, served.public(), served.describe)
