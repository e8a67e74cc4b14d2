"""Ray Serve application of one model; ``import_path: ray_jobs.serve:app``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ray import serve
from ray.serve import Application

if TYPE_CHECKING:
    from astrosage.serve.settings import Settings

# Answers, health checks and refusals pass through Serve as requests too. Its own limit lies well
# above ours, so that a full queue is answered at once (429) instead of waiting inside Serve.
_HEADROOM = 4
_SPARE_REQUESTS = 64
# A model of many gigabytes is not started for a burst of a second.
_UPSCALE_SECONDS = 10.0


class Model:
    """One replica: a loaded model behind the OpenAI-compatible application.

    Loading is part of the construction, so that Serve sends requests only to a replica that can
    answer, also while a new version replaces an old one.

    Args:
        args: See :class:`astrosage.serve.settings.Settings`.
    """

    def __init__(self, args: dict[str, Any]) -> None:
        from astrosage.serve import settings
        from astrosage.serve.metrics import ray_meters

        self._service = settings.load(settings.parse(args), ray_meters())

    def __serve_build_asgi_app__(self) -> Any:
        from astrosage.serve.app import create_app

        return create_app(self._service)

    def check_health(self) -> None:
        """Fail once the engine has died, so that Serve replaces the replica."""
        if self._service.engine is not None:
            self._service.engine.check()
        self._service.tell_state()

    def __del__(self) -> None:
        service = getattr(self, "_service", None)
        if service is not None:
            service.close()


def app(args: dict[str, Any]) -> Application:
    """Build the application from the arguments of Serve's configuration.

    Args:
        args: See :class:`astrosage.serve.settings.Settings`, with camelCase keys.

    Raises:
        SpecError: If they are wrong.
    """
    from astrosage.serve import settings

    checked = settings.parse(args)
    if checked.engine == "vllm":
        return _vllm(checked)
    ongoing = _HEADROOM * (checked.max_concurrent + checked.max_queue) + _SPARE_REQUESTS
    deployment = serve.deployment(serve.ingress()(Model)).options(
        name="model",
        **deployment_options(checked),
        max_ongoing_requests=ongoing,
        ray_actor_options={"num_cpus": checked.num_cpus, "num_gpus": checked.num_gpus},
    )
    return deployment.bind(args)


def _vllm(settings: Settings) -> Application:
    from astrosage.errors import SpecError
    from astrosage.serve.vllm import llm_config

    try:
        from ray.serve.llm import build_openai_app
    except ImportError:
        raise SpecError(
            "serve: engine: vLLM is not installed here",
            "use an image that has it (pip install 'ray[llm]'), or engine: transformers",
        ) from None

    return build_openai_app({"llm_configs": [llm_config(settings, deployment_options(settings))]})


def deployment_options(settings: Settings) -> dict[str, Any]:
    """Options of a deployment that have to do with replicas: how many, and how they are replaced.

    Those that Serve's configuration names for the deployment come before them.
    """
    return {
        **_replicas(settings),
        "max_surge_percent": 100 if settings.surge else 0,
        "graceful_shutdown_timeout_s": settings.draining,
        # Looks at what is still running so often; an idle replica ends after one such time.
        "graceful_shutdown_wait_loop_s": 1.0,
    }


def _replicas(settings: Settings) -> dict[str, Any]:
    if settings.min_replicas == settings.max_replicas:
        return {"num_replicas": settings.max_replicas}
    scaling = {
        "min_replicas": settings.min_replicas,
        "max_replicas": settings.max_replicas,
        "initial_replicas": max(1, settings.min_replicas),
        # More replicas when requests would have to wait for their turn.
        "target_ongoing_requests": settings.max_concurrent,
        "upscale_delay_s": _UPSCALE_SECONDS,
        "downscale_delay_s": settings.idle_seconds,
    }
    return {"num_replicas": "auto", "autoscaling_config": scaling}
