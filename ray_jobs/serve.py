"""Ray Serve application of one model; ``import_path: ray_jobs.serve:app``."""

from __future__ import annotations

from typing import Any

from ray import serve
from ray.serve import Application

# Answers, health checks and refusals pass through Serve as requests too. Its own limit lies well
# above ours, so that a full queue is answered at once (429) instead of waiting inside Serve.
_HEADROOM = 4
_SPARE_REQUESTS = 64
_DRAIN_SECONDS = 30.0


class Model:
    """One replica: a loaded model behind the OpenAI-compatible application.

    Loading is part of the construction, so that Serve sends requests only to a replica that can
    answer, also while a new version replaces an old one.

    Args:
        args: See :class:`astrosage.serve.settings.Settings`.
    """

    def __init__(self, args: dict[str, Any]) -> None:
        from astrosage.serve import settings

        self._service = settings.load(settings.parse(args))

    def __serve_build_asgi_app__(self) -> Any:
        from astrosage.serve.app import create_app

        return create_app(self._service)

    def check_health(self) -> None:
        """Fail once the engine has died, so that Serve replaces the replica."""
        if self._service.engine is not None:
            self._service.engine.check()

    def __del__(self) -> None:
        service = getattr(self, "_service", None)
        if service is not None and service.engine is not None:
            service.engine.close()


def app(args: dict[str, Any]) -> Application:
    """Build the application from the arguments of Serve's configuration.

    Args:
        args: See :class:`astrosage.serve.settings.Settings`, with camelCase keys.

    Raises:
        SpecError: If they are wrong.
    """
    from astrosage.serve import settings

    checked = settings.parse(args)
    ongoing = _HEADROOM * (checked.max_concurrent + checked.max_queue) + _SPARE_REQUESTS
    deployment = serve.deployment(serve.ingress()(Model)).options(
        name="model",
        num_replicas=1,
        max_ongoing_requests=ongoing,
        ray_actor_options={"num_cpus": checked.num_cpus, "num_gpus": checked.num_gpus},
        graceful_shutdown_timeout_s=_DRAIN_SECONDS,
    )
    return deployment.bind(args)
