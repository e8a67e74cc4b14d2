"""``astroctl bench``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from astroctl.cli.command import command as make
from astroctl.cli.options import (
    complete_runs,
    namespace_option,
    output_option,
    target_from,
    target_options,
)

if TYPE_CHECKING:
    pass


@make(
    "bench",
    "astroctl bench astro-mini --questions quiz.jsonl --baseline smollm2-135m\n"
    "astroctl bench --url http://127.0.0.1:8000/v1 --model astro-mini --api-key-env KEY "
    "--questions quiz.jsonl",
)
@click.argument("subject", metavar="[MODEL]", required=False, shell_complete=complete_runs)
@click.option("--url", help="Score this OpenAI-compatible endpoint (base URL ending in /v1).")
@click.option("--model", help="The model's name at --url.")
@click.option("--api-key-env", metavar="NAME", help="Variable that holds the endpoint's key.")
@click.option(
    "--questions",
    multiple=True,
    required=True,
    type=click.Path(dir_okay=False),
    help="File of questions (JSONL, CSV or Parquet); may be repeated.",
)
@click.option(
    "--outside",
    multiple=True,
    type=click.Path(dir_okay=False),
    help="Questions outside of the model's field, to see what is lost there; may be repeated.",
)
@click.option(
    "--layout",
    type=click.Choice(["astrosage", "astromlab", "astro-qa", "mmlu"]),
    help="What the columns of the questions mean  [default: recognised]",
)
@click.option("--baseline", help="Model to compare with, question by question.")
@click.option(
    "--method",
    "methods",
    multiple=True,
    type=click.Choice(["likelihood", "letter", "generation"]),
    help="How to score  [default: likelihood and generation; generation for --url]",
)
@click.option("--shots", type=click.IntRange(1, 64), help="Solved examples before each question.")
@click.option("--shots-from", type=click.Path(dir_okay=False), help="File of the examples.")
@click.option(
    "--shuffles", type=click.IntRange(1, 100), help="Ask in so many other orders of the options."
)
@click.option("--limit", type=click.IntRange(1), help="Only the first so many questions.")
@click.option("--heldout", multiple=True, help="Text files for perplexity; may be repeated.")
@click.option("--max-new-tokens", type=click.IntRange(1), help="Tokens of a generated answer.")
@click.option(
    "--reasoning", type=click.Choice(["on", "off"]), help="Ask the model to think, or not."
)
@click.option("--concurrency", type=click.IntRange(1, 1024), help="Requests at once to --url.")
@click.option(
    "--prices",
    type=(click.FloatRange(0), click.FloatRange(0)),
    metavar="IN OUT",
    help="USD for a million tokens read and written by --url.",
)
@click.option(
    "--budget-usd", type=click.FloatRange(0, min_open=True), help="Stop there (--prices)."
)
@click.option("--budget-tokens", type=click.IntRange(1), help="Stop there.")
@click.option("--price-per-hour", type=click.FloatRange(0), help="USD an hour for all workers.")
@click.option("--workers", type=click.IntRange(1), default=1, help="Workers.")
@click.option("--name", help="The run's name  [default: bench-MODEL-TIME]")
@click.option("--storage", default="./runs", help="Where the run directory goes.")
@namespace_option
@target_options
@click.option("--follow/--no-follow", default=True, help="Show progress and the scores.")
@output_option
def command(**options: Any) -> None:
    """Score a model or an endpoint on multiple-choice questions.

    MODEL is a directory, an alias, a hub id, or a run, whose newest model is meant.
    """
    from astroctl.cli.submitting import start
    from astroctl.runs.choose import runs_on
    from astrosage.spec import load

    target = target_from(options)
    runs = runs_on(target)
    job = load.with_absolute_paths(load.parse(_job(options, target), source="bench"), Path.cwd())
    job = runs.place(job, options["namespace"], Path.cwd())
    start(job, job.spec.stages, runs, options)


def _job(options: dict[str, Any], target: Any = None) -> dict[str, Any]:
    """The run file that these options mean."""
    from astroctl.serving.models import find_model

    bench: dict[str, Any] = {
        "questions": _questions(options),
        "heldout": [{"path": path} for path in options["heldout"]],
    }
    if options["url"]:
        if options["subject"] or not options["model"]:
            raise click.UsageError("--url takes the model's name there from --model, and no MODEL")
        bench["endpoint"] = _endpoint(options)
        base, label = options["baseline"] or "smollm2-135m", options["model"]
        place: dict[str, Any] = {}
    elif options["subject"]:
        found = find_model(options["subject"], options["namespace"], target=target)
        bench["model"] = base = found.reference
        label, place = found.name, found.place(target)
    else:
        raise click.UsageError("name a MODEL, or give --url and --model")
    if options["baseline"]:
        baseline = find_model(options["baseline"], options["namespace"], target=target)
        bench["baseline"] = baseline.reference
    bench |= _protocol(options)
    cluster: dict[str, Any] = {"workers": options["workers"]}
    if options.get("price_per_hour") is not None:
        cluster["pricePerHour"] = options["price_per_hour"]
    return {
        "metadata": {"name": options["name"] or _name(label)},
        "spec": {
            "model": base,
            "storage": options["storage"],
            "stages": [{"name": "score", "bench": bench}],
            "cluster": cluster,
            **_placed(place, options),
        },
    }


def _questions(options: dict[str, Any]) -> list[dict[str, Any]]:
    common = {k: options[k] for k in ("limit", "layout") if options.get(k)}
    inside = [{"path": path} | common for path in options["questions"]]
    outside = [{"path": p, "role": "outside"} | common for p in options.get("outside") or ()]
    return inside + outside


def _endpoint(options: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"url": options["url"], "model": options["model"]}
    if options["api_key_env"]:
        found["apiKeyEnv"] = options["api_key_env"]
    if options.get("concurrency"):
        found["concurrency"] = options["concurrency"]
    if options.get("prices"):
        read, written = options["prices"]
        found["prices"] = {"inputPerMillion": read, "outputPerMillion": written}
    return found


def _protocol(options: dict[str, Any]) -> dict[str, Any]:
    """How questions are asked, as far as options say it."""
    found: dict[str, Any] = {}
    if options["methods"]:
        found["methods"] = list(options["methods"])
    for name, field in (("shots", "shots"), ("shots_from", "shotsFrom"), ("shuffles", "shuffles")):
        if options.get(name):
            found[field] = options[name]
    generation = {"maxNewTokens": options["max_new_tokens"], "reasoning": options.get("reasoning")}
    budget = {"usd": options.get("budget_usd"), "tokens": options.get("budget_tokens")}
    for field, group in (("generation", generation), ("budget", budget)):
        given = {k: v for k, v in group.items() if v is not None}
        if given:
            found[field] = given
    return found


def _placed(place: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """Storage and cluster of the run that made a model, but for what the command line says."""
    if not place:
        return {}
    context = click.get_current_context()
    given = context.get_parameter_source("storage") is click.core.ParameterSource.COMMANDLINE
    storage = options["storage"] if given else place["storage"]
    return {"storage": storage, "cluster": {**place["cluster"], "workers": options["workers"]}}


def _name(label: str) -> str:
    short = "".join(c if c.isalnum() else "-" for c in label.lower()).strip("-")[:16].strip("-")
    return f"bench-{short}-{time.strftime('%m%d-%H%M%S')}"
