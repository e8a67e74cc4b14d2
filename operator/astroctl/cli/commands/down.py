"""``astroctl down``."""

from __future__ import annotations

from astroctl.cli.command import command as make
from astroctl.cli.options import output_option
from astroctl.cli.output import emit


@make("down", "astroctl down")
@output_option
def command(output: str) -> None:
    """End the local cluster: its head, its jobs, what it serves, and nothing else.

    Runs that were going are interrupted and can be resumed; their directories stay.
    """
    from astroctl.serving.deploy import forget_local
    from astroctl.targets import head

    stopped = head.stop()
    forget_local()
    emit(
        output,
        {"stopped": stopped},
        lambda: "the local cluster has ended" if stopped else "no local cluster was running",
    )
