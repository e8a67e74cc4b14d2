"""Settings of one server, checked, and the server made of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, ValidationError

from astrosage.errors import SpecError
from astrosage.models.fetch import ensure_local
from astrosage.serve.auth import KeyFolder, KeyRing
from astrosage.serve.limits import Limits
from astrosage.serve.service import Service
from astrosage.spec.base import SpecModel


class Settings(SpecModel):
    """Settings of a server."""

    model: str
    """Local path, alias or hub id of the model to serve."""
    model_id: Annotated[str, Field(min_length=1)]
    """Name that clients call the model by."""
    key_hashes: list[str] = Field(default_factory=list)
    """SHA-256 of each API key, in hexadecimal digits."""
    key_folder: str | None = None
    """Or a folder with a file for each key, such as a mounted Secret; it may change at any time."""
    allow_anonymous: bool = False
    """Serve without keys; only without `keyHashes` and `keyFolder`."""
    max_concurrent: Annotated[int, Field(ge=1)] = Limits.max_concurrent
    """Sequences that are generated at once."""
    max_queue: Annotated[int, Field(ge=0)] = Limits.max_queue
    """Sequences that may wait for their turn."""
    max_tokens: Annotated[int, Field(ge=1)] = Limits.max_tokens
    """Most new tokens that one sequence may ask for."""
    max_body_bytes: Annotated[int, Field(ge=1)] = Limits.max_body_bytes
    """Largest request body."""
    num_cpus: Annotated[float, Field(gt=0)] = 1.0
    """CPUs of the replica, and its threads."""
    num_gpus: Annotated[float, Field(ge=0)] = 0.0
    """GPUs of the replica; with 0 it runs on the CPU."""

    @property
    def limits(self) -> Limits:
        """The limits among the settings."""
        return Limits(self.max_concurrent, self.max_queue, self.max_tokens, self.max_body_bytes)


def parse(args: Mapping[str, Any]) -> Settings:
    """Check plain settings.

    Raises:
        SpecError: Naming the field that is wrong.
    """
    try:
        settings = Settings.model_validate(dict(args))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
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
    KeyRing(settings.key_hashes)
    return settings


def load(settings: Settings) -> Service:
    """Load the model and give the server's state.

    Raises:
        NotFoundError, DataError, CapacityError: Saying what is wrong with the model.
    """
    # Late, so that checking settings does not wait for torch.
    from astrosage.serve.transformers_engine import TransformersEngine

    service = Service(settings.model_id, settings.limits, _keys(settings))
    service.engine = TransformersEngine.load(
        ensure_local(settings.model),
        max_concurrent=settings.max_concurrent,
        threads=max(1, int(settings.num_cpus)),
        device="cuda" if settings.num_gpus else "cpu",
    )
    return service


def _keys(settings: Settings) -> KeyRing | None:
    if settings.allow_anonymous:
        return None
    return KeyFolder(settings.key_folder) if settings.key_folder else KeyRing(settings.key_hashes)
