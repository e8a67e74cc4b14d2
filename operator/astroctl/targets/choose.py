"""From ``--target`` and ``--address`` to a target."""

from __future__ import annotations

from astroctl.targets.jobs_target import JobsTarget
from astrosage.errors import SpecError

NAMES = ("local", "ray")


def choose(
    name: str | None,
    address: str | None = None,
    *,
    shared_storage: bool = False,
    dashboard_port: int | None = None,
) -> JobsTarget:
    """The target meant; ``local`` unless an address is given.

    Raises:
        SpecError: If the options contradict each other.
    """
    if name is None:
        name = "ray" if address else "local"
    if name == "ray":
        from astroctl.targets.ray import RayTarget

        if dashboard_port is not None:
            raise SpecError("--dashboard-port belongs to --target local", "leave it out")
        return RayTarget(address, shared_storage=shared_storage)
    if address:
        raise SpecError(
            "--address belongs to --target ray; the local cluster has its own", "leave one out"
        )
    from astroctl.targets.local import LocalTarget

    return LocalTarget(dashboard_port)
