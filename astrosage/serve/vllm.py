"""vLLM, which Ray Serve LLM runs: our settings as the configuration that it takes.

Its server is Ray's own, not the application of this package. It knows no keys, rates, timeouts or
access log, so settings that ask for one are refused instead of being dropped.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from astrosage.errors import SpecError
from astrosage.models.resolve import ALIASES

# What Ray Serve LLM can honour, by the settings' names.
_HONOURED = frozenset(
    (
        *("model", "model_id", "version", "engine", "engine_options", "allow_anonymous", "card"),
        *("max_concurrent", "max_queue", "max_tokens", "drain_seconds", "surge"),
        *("min_replicas", "max_replicas", "idle_seconds", "num_cpus", "num_gpus"),
    )
)
_CLOUD = ("s3://", "gs://")


class VllmSettings(Protocol):
    """The settings that count here; see :class:`astrosage.serve.settings.Settings`."""

    model: str
    model_id: str
    engine_options: dict[str, Any]
    allow_anonymous: bool
    max_concurrent: int
    max_queue: int
    max_tokens: int
    num_cpus: float
    num_gpus: float


def check(settings: VllmSettings, given: Iterable[str]) -> None:
    """Refuse what Ray Serve LLM cannot do.

    Args:
        settings: The settings.
        given: Names of those that were given, not left at their defaults.

    Raises:
        SpecError: Naming the setting.
    """
    for name in sorted(set(given) - _HONOURED):
        raise SpecError(
            f"serve: {_camel(name)}: Ray Serve LLM, which runs vLLM, does not know it",
            "leave it out, or serve with engine: transformers; in front of vLLM, a gateway can "
            "check keys, rates and times (with allowAnonymous: true here)",
        )
    if not settings.allow_anonymous:
        raise SpecError(
            "serve: allowAnonymous: Ray Serve LLM, which runs vLLM, checks no keys",
            "set allowAnonymous: true and let only a gateway that checks keys reach it",
        )
    if settings.num_gpus < 1 or settings.num_gpus != int(settings.num_gpus):
        raise SpecError(
            f"serve: numGpus: vLLM splits a model over whole GPUs; found {settings.num_gpus:g}",
            "give 1 or more",
        )
    if settings.model in ALIASES:
        raise SpecError(
            f"serve: model: vLLM does not know the alias `{settings.model}`",
            "name a folder that every node sees, a hub id, s3://… or gs://…",
        )


def llm_config(settings: VllmSettings, deployment: dict[str, Any]) -> dict[str, Any]:
    """An ``LLMConfig`` as plain data.

    Args:
        settings: Checked settings.
        deployment: Options of Serve's deployment, replicas among them.
    """
    source: Any = settings.model
    if settings.model.startswith(_CLOUD):
        source = {"bucket_uri": settings.model}
    gpus = int(settings.num_gpus)
    return {
        "model_loading_config": {"model_id": settings.model_id, "model_source": source},
        "engine_kwargs": {
            "tensor_parallel_size": gpus,
            "max_num_seqs": settings.max_concurrent,
            # vLLM takes this as the most that a request may ask for.
            "override_generation_config": {"max_new_tokens": settings.max_tokens},
            **settings.engine_options,
        },
        "placement_group_config": {
            "bundle_per_worker": {"CPU": settings.num_cpus, "GPU": 1},
            "strategy": "PACK",
        },
        "deployment_config": {
            **deployment,
            "max_ongoing_requests": settings.max_concurrent + settings.max_queue,
        },
        "log_engine_metrics": True,
    }


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.title() for part in rest)
