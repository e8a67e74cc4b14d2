"""``astroctl config``."""

from __future__ import annotations

import click

from astroctl.cli.command import Command, Group


@click.group("config", cls=Group, example="astroctl config schema > astrojob.schema.json")
def command() -> None:
    """Print the run file's schema."""


@command.command("schema", cls=Command, example="astroctl config schema -o yaml")
@click.option(
    "-o", "--output", type=click.Choice(["json", "yaml"]), default="json", help="The form."
)
def schema(output: str) -> None:
    """Print the JSON Schema of run files, for editors and checks."""
    from astroctl.cli.output import emit
    from astrosage.spec.reference import schema as job_schema

    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **job_schema(),
    }
    emit(output, document, str)
