"""``astroctl keys``."""

from __future__ import annotations

from typing import Any

import click

from astroctl.cli.command import Command, Group
from astroctl.cli.options import output_option

model_option = click.option(
    "--model", "served", metavar="NAME", help="Which served model  [default: the one served last]"
)


@click.group("keys", cls=Group, example="astroctl keys add alice")
def command() -> None:
    """Make, list and revoke the API keys of a served model, while it runs."""


@command.command("add", cls=Command, example="astroctl keys add alice --requests-per-minute 60")
@click.argument("name")
@model_option
@click.option("--requests-per-minute", type=click.IntRange(1), help="Limit of this key.")
@click.option("--tokens-per-minute", type=click.IntRange(1), help="Limit of this key.")
@output_option
def add_key(name: str, served: str | None, output: str, **limits: int | None) -> None:
    """Make a key and print it, once: only its hash is kept."""
    from astroctl.cli.output import emit, say
    from astroctl.serving import keys
    from astroctl.serving.served import known
    from astrosage.serve.keys import Rates

    found = known(served)
    token = keys.add(found, name, Rates(**limits))
    emit(output, {"model": found.name, "name": name, "key": token}, lambda: token)
    say(f"`{name}` may use {found.name} from now on; the key is not shown again")


@command.command("list", cls=Command, example="astroctl keys list -o json")
@model_option
@output_option
def list_keys(served: str | None, output: str) -> None:
    """Show the keys of a model and what each has used. The keys themselves are not known."""
    from astroctl.cli.output import emit, table
    from astroctl.serving import keys
    from astroctl.serving.served import known

    data = keys.listing(known(served))
    headers = ["NAME", "CREATED", "PER MINUTE", "REQUESTS", "PROMPT", "COMPLETION", "LAST USED"]
    text = table(headers, [_cells(row) for row in data["keys"]])
    since = f"\nusage since {data['since']}" if data["since"] else ""
    emit(output, data, lambda: f"{data['model']}\n{text}{since}")


@command.command("revoke", cls=Command, example="astroctl keys revoke alice")
@click.argument("name")
@model_option
@output_option
def revoke_key(name: str, served: str | None, output: str) -> None:
    """Take a key's rights away. The server notices within seconds; nothing is restarted."""
    from astroctl.cli.output import emit
    from astroctl.serving import keys
    from astroctl.serving.served import known

    found = known(served)
    keys.revoke(found, name)
    emit(
        output,
        {"model": found.name, "revoked": name},
        lambda: f"`{name}` may use {found.name} no longer",
    )


def _cells(row: dict[str, Any]) -> list[object]:
    limits = [
        f"{row[field]} {what}"
        for field, what in (("requestsPerMinute", "requests"), ("tokensPerMinute", "tokens"))
        if row.get(field)
    ]
    return [
        row["name"] + (" (revoked)" if row["revoked"] else ""),
        row.get("created"),
        ", ".join(limits),
        row.get("requests"),
        row.get("promptTokens"),
        row.get("completionTokens"),
        row.get("lastUsed"),
    ]
