"""From the options of the command line to a target."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astroctl.targets.jobs_target import JobsTarget
from astrosage.errors import SpecError

if TYPE_CHECKING:
    from astroctl.targets.kubernetes.target import KubernetesTarget

NAMES = ("local", "ray", "kubernetes")


def choose(
    name: str | None,
    address: str | None = None,
    *,
    shared_storage: bool = False,
    dashboard_port: int | None = None,
    context: str | None = None,
    kubeconfig: str | None = None,
    namespace: str | None = None,
) -> JobsTarget | KubernetesTarget:
    """The target meant; ``local`` unless an address or a context is given.

    Raises:
        SpecError: If the options contradict each other.
    """
    if name is None:
        name = "ray" if address else "kubernetes" if context or kubeconfig else "local"
    if name != "kubernetes":
        if context or kubeconfig:
            raise SpecError(
                f"--context and --kubeconfig belong to --target kubernetes, not to {name}",
                "leave them out (ASTROCTL_CONTEXT and ASTROCTL_KUBECONFIG, if they are set)",
            )
        return ray_target(
            name, address, shared_storage=shared_storage, dashboard_port=dashboard_port
        )
    for option, value in (("--address", address), ("--dashboard-port", dashboard_port)):
        if value:
            raise SpecError(f"{option} is not for --target kubernetes", "leave one out")
    from astroctl.targets.kubernetes.target import KubernetesTarget

    return KubernetesTarget(context, kubeconfig, namespace)


def ray_target(
    name: str,
    address: str | None = None,
    *,
    shared_storage: bool = False,
    dashboard_port: int | None = None,
) -> JobsTarget:
    """A target with a Jobs API: ``local`` or ``ray``.

    Raises:
        SpecError: If the options contradict each other.
    """
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
