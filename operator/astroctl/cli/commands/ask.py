"""``astroctl ask``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from astroctl.cli.command import command as make


@make("ask", 'astroctl ask "Why do Cepheids pulsate?" --reasoning on')
@click.argument("question")
@click.option("--model", help="Which served model  [default: the one served last]")
@click.option("--url", help="Another endpoint's base URL, ending in /v1.")
@click.option(
    "--key-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File with the bearer token.",
)
@click.option("--system", help="System message.")
@click.option(
    "--reasoning",
    type=click.Choice(["on", "off"]),
    help="Ask for a reasoning trace, or for none, in the system message.",
)
@click.option("--max-tokens", type=click.IntRange(1), default=256, help="Tokens of the answer.")
@click.option("--temperature", type=click.FloatRange(0.0, 2.0), default=0.0, help="Randomness.")
@click.option("--seed", type=int, help="Seed of sampling.")
@click.option(
    "-o", "--output", type=click.Choice(["text", "json"]), default="text", help="The form."
)
def command(question: str, output: str, **options: Any) -> None:
    """Ask a served model and print the answer as it comes. A QUESTION of `-` is read from input."""
    if question == "-":
        question = sys.stdin.read()
    with _endpoint(options) as (url, key, model):
        _ask(question, url, key, model, output, options)


def _ask(
    question: str, url: str, key: str | None, model: str, output: str, options: dict[str, Any]
) -> None:
    from astroctl.cli.output import emit
    from astroctl.serving.chat import stream

    request: dict[str, Any] = {
        "model": model,
        "messages": [*_system(options), {"role": "user", "content": question}],
        "max_tokens": options["max_tokens"],
        "temperature": options["temperature"],
    }
    if options["seed"] is not None:
        request["seed"] = options["seed"]
    pieces = stream(url, key, request)
    if output == "json":
        emit("json", {"model": model, "url": url, "answer": "".join(pieces)}, str)
        return
    for piece in pieces:
        click.echo(piece, nl=False)
    click.echo()


@contextmanager
def _endpoint(options: dict[str, Any]) -> Iterator[tuple[str, str | None, str]]:
    """URL, key and model name: from the options, else of the model served last."""
    from astroctl.serving.reach import reach, read_key
    from astroctl.serving.served import known

    key_file: Path | None = options["key_file"]
    if options["url"]:
        if not options["model"]:
            raise click.UsageError("--url needs --model NAME, the model's name there")
        yield options["url"], read_key(key_file) if key_file else None, options["model"]
        return
    served = known(options["model"])
    with reach(served, key_file) as (url, key):
        yield url, key, served.name


def _system(options: dict[str, Any]) -> list[dict[str, str]]:
    """The system message; the training data switch reasoning by its first line."""
    from astrosage.spec.chat import reasoning_switch, with_system_prompt

    messages = [{"role": "system", "content": options["system"]}] if options["system"] else []
    if options["reasoning"]:
        return with_system_prompt(messages, reasoning_switch(options["reasoning"]))
    return messages
