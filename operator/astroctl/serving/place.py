"""A place that serves models: a Ray cluster, or RayServices on Kubernetes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from astroctl.serving.models import Model
from astroctl.serving.served import Served


@dataclass(frozen=True)
class Wanted:
    """How a model shall be served.

    Attributes:
        limits: More of the server's settings, such as ``maxConcurrent`` and ``rateLimits``.
        cpus: CPU cores of a replica.
        gpus: GPUs of a replica.
        host: Interface to listen on (Ray).
        port: HTTP port (Ray).
        timeout: Seconds to wait; None takes what is usual there.
        replicas: How many at first, and the fewest.
        max_replicas: The most, if their number follows the load.
        memory: Of a replica (Kubernetes).
        pool: A GPUNodePool (Kubernetes).
        upgrade: How a new version takes over (Kubernetes).
    """

    limits: dict[str, Any]
    cpus: float = 1.0
    gpus: float = 0.0
    host: str = "127.0.0.1"
    port: int | None = None
    timeout: float | None = None
    replicas: int = 1
    max_replicas: int | None = None
    memory: str | None = None
    pool: str | None = None
    upgrade: str = "auto"


class Place(Protocol):
    """Where models are served."""

    def deploy(self, model: Model, name: str, wanted: Wanted) -> Served:
        """Serve a model, or a new version of it, and wait until it answers."""

    def status(self) -> list[dict[str, Any]]:
        """``name``, ``status``, ``url``, ``model`` and ``message`` of each."""

    def stop(self, name: str) -> None:
        """Take a model down."""


def place_of(target: Any) -> Place:
    """Where a target serves."""
    if target.name == "kubernetes":
        from astroctl.serving.on_kubernetes import KubernetesPlace

        return KubernetesPlace(target)
    return RayPlace(target)


class RayPlace:
    """A Ray cluster.

    Args:
        target: Which.
    """

    def __init__(self, target: Any) -> None:
        self._target = target

    def deploy(self, model: Model, name: str, wanted: Wanted) -> Served:
        """Serve a model; see :func:`astroctl.serving.deploy.deploy`."""
        from astroctl.serving import deploy

        return deploy.deploy(
            self._target,
            model.reference,
            name,
            host=wanted.host,
            port=wanted.port,
            limits={
                **wanted.limits,
                "numCpus": wanted.cpus,
                "numGpus": wanted.gpus,
                "minReplicas": wanted.replicas,
                "maxReplicas": wanted.max_replicas or max(1, wanted.replicas),
            },
            timeout=wanted.timeout or 300.0,
        )

    def status(self) -> list[dict[str, Any]]:
        """What it serves."""
        from astroctl.serving import deploy

        return deploy.status(self._target)

    def stop(self, name: str) -> None:
        """Take a model down."""
        from astroctl.serving import deploy

        deploy.stop(self._target, name)
