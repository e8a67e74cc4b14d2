"""Settings of one server, checked, and the server made of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt, ValidationError

from astrosage.errors import SpecError
from astrosage.models.fetch import ensure_local
from astrosage.serve import vllm
from astrosage.serve.access_log import AccessLog
from astrosage.serve.auth import KeyFolder, KeyRing
from astrosage.serve.card import Card
from astrosage.serve.keys import Rates
from astrosage.serve.limits import Limits
from astrosage.serve.metrics import Meters, prometheus_meters
from astrosage.serve.observe import Watch
from astrosage.serve.service import Service
from astrosage.serve.usage import UsageFile
from astrosage.spec.base import SpecModel

_DRAIN_SECONDS = 120.0


class Settings(SpecModel):
    """Settings of a server."""

    model: str
    """Local path, alias or hub id of the model to serve."""
    model_id: Annotated[str, Field(min_length=1)]
    """Name that clients call the model by."""
    engine: Literal["transformers", "vllm"] = "transformers"
    """`transformers`: continuous batching, on CPU or one GPU. `vllm`: Ray Serve LLM with vLLM,
    which must be installed where it runs; it checks no keys."""
    engine_options: dict[str, Any] = Field(default_factory=dict)
    """Options of vLLM's engine, by vLLM's names; only for `vllm`."""
    version: str = ""
    """Anything; another one makes Serve load the model anew, though all else is the same."""
    key_hashes: dict[str, str] | list[str] = Field(default_factory=list)
    """SHA-256 of each API key, in hexadecimal digits, by the key's name or as a list."""
    key_folder: str | None = None
    """Or a folder with a file for each key, such as a mounted Secret; it may change at any time.
    A file holds the key, or a record of its hash with limits of its own."""
    allow_anonymous: bool = False
    """Serve without keys; only without `keyHashes` and `keyFolder`."""
    rate_limits: Rates = Field(default_factory=Rates)
    """What each key may use that has no limits of its own; each replica counts for itself."""
    max_concurrent: Annotated[int, Field(ge=1)] = Limits.max_concurrent
    """Sequences that are generated at once."""
    max_queue: Annotated[int, Field(ge=0)] = Limits.max_queue
    """Sequences that may wait for their turn."""
    max_tokens: Annotated[int, Field(ge=1)] = Limits.max_tokens
    """Most new tokens that one sequence may ask for."""
    max_body_bytes: Annotated[int, Field(ge=1)] = Limits.max_body_bytes
    """Largest request body."""
    request_timeout_seconds: Annotated[float, Field(gt=0)] | None = None
    """Seconds in which an answer must be whole (else 504); without it there is no limit."""
    queue_timeout_seconds: Annotated[float, Field(gt=0)] | None = None
    """Seconds that a sequence may wait for its turn (else 503); without it there is no limit."""
    drain_seconds: Annotated[float, Field(ge=0)] | None = None
    """Seconds that a replica's last answers get when it is replaced; default: the request timeout,
    else 120."""
    min_replicas: Annotated[int, Field(ge=0)] = 1
    """Fewest replicas; with 0 the model is unloaded when nobody asks; the next request waits."""
    max_replicas: PositiveInt = 1
    """Most replicas; their number follows the requests in flight."""
    idle_seconds: Annotated[float, Field(ge=0)] = 600.0
    """Seconds without need after which a replica is given up."""
    surge: bool = False
    """Load a new version beside the old one, which then ends; needs room for both. Otherwise the
    old one ends first and requests wait."""
    num_cpus: Annotated[float, Field(gt=0)] = 1.0
    """CPUs of the replica, and its threads."""
    num_gpus: Annotated[float, Field(ge=0)] = 0.0
    """GPUs of the replica; with 0 it runs on the CPU."""
    access_log: str = ""
    """A file for a line of JSON for each request; `-` is standard error."""
    log_prompts: bool = False
    """Put prompts into the access log."""
    usage_file: str | None = None
    """A file on a local disk in which the usage of each key is summed up."""
    card: Card = Field(default_factory=Card)
    """What is told of the model to those who have a key."""

    @property
    def limits(self) -> Limits:
        """The limits among the settings."""
        return Limits(
            self.max_concurrent,
            self.max_queue,
            self.max_tokens,
            self.max_body_bytes,
            self.request_timeout_seconds,
            self.queue_timeout_seconds,
        )

    @property
    def draining(self) -> float:
        """Seconds that a replica's last answers get."""
        if self.drain_seconds is not None:
            return self.drain_seconds
        return self.request_timeout_seconds or _DRAIN_SECONDS


def parse(args: Mapping[str, Any]) -> Settings:
    """Check plain settings.

    Raises:
        SpecError: Naming the field that is wrong.
    """
    try:
        settings = Settings.model_validate(dict(args))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        message = f"{where}: {first['msg']}" if where else first["msg"]
        raise SpecError(f"serve: {message}") from None
    given = bool(settings.key_hashes) + bool(settings.key_folder) + settings.allow_anonymous
    if given != 1:
        raise SpecError(
            "serve: keyHashes: is empty, and there is no keyFolder"
            if not given
            else "serve: keyHashes, keyFolder and allowAnonymous exclude each other",
            "give the SHA-256 of at least one key, a folder of keys, or allowAnonymous: true",
        )
    if settings.min_replicas > settings.max_replicas:
        raise SpecError(
            f"serve: minReplicas: {settings.min_replicas} is above maxReplicas: "
            f"{settings.max_replicas}",
            "raise maxReplicas, or lower minReplicas",
        )
    if settings.log_prompts and not settings.access_log:
        raise SpecError(
            "serve: logPrompts: there is no access log",
            "name a file with accessLog, or leave logPrompts out",
        )
    if settings.engine == "vllm":
        vllm.check(settings, settings.model_fields_set)
    elif settings.engine_options:
        raise SpecError(
            "serve: engineOptions: the engine `transformers` takes none",
            "leave them out, or serve with engine: vllm",
        )
    KeyRing(settings.key_hashes)
    return settings


def load(settings: Settings, meters: Meters | None = None) -> Service:
    """Load the model and give the server's state.

    Args:
        settings: Checked settings.
        meters: Where metrics go; by default to Prometheus' client, read at ``/metrics``.

    Raises:
        NotFoundError, DataError, CapacityError: Saying what is wrong with the model.
        StorageError: If the access log cannot be written.
    """
    # Late, so that checking settings does not wait for torch.
    from astrosage.serve.transformers_engine import TransformersEngine

    keys = _keys(settings)
    log = AccessLog(settings.access_log) if settings.access_log else None
    engine = TransformersEngine.load(
        ensure_local(settings.model),
        max_concurrent=settings.max_concurrent,
        threads=max(1, int(settings.num_cpus)),
        device="cuda" if settings.num_gpus else "cpu",
    )
    usage = UsageFile(settings.usage_file) if settings.usage_file else None
    service = Service(
        settings.model_id,
        settings.limits,
        keys,
        rates=settings.rate_limits,
        watch=Watch(meters or prometheus_meters(), log, usage, log_prompts=settings.log_prompts),
        card=settings.card,
    )
    service.engine = engine
    return service


def _keys(settings: Settings) -> KeyRing | None:
    if settings.allow_anonymous:
        return None
    return KeyFolder(settings.key_folder) if settings.key_folder else KeyRing(settings.key_hashes)
