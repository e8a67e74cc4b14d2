"""What is kept of an API key: its SHA-256, when it was made and what it may use; never the key.

A folder of keys holds a file for each, named as the key is. A file's content is a record as JSON,
or the key itself, as in a Secret of Kubernetes.
"""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, Self

from pydantic import Field, PositiveInt, ValidationError

from astrosage.errors import SpecError
from astrosage.spec.base import SpecModel

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


class Rates(SpecModel):
    """How much one key may use."""

    requests_per_minute: PositiveInt | None = None
    """Most requests a minute; without it there is no limit."""
    tokens_per_minute: PositiveInt | None = None
    """Most tokens a minute, of prompts and answers together; without it there is no limit."""

    def over(self, default: Rates) -> Rates:
        """These limits, and the default's where there is none."""
        return Rates(
            requests_per_minute=self.requests_per_minute or default.requests_per_minute,
            tokens_per_minute=self.tokens_per_minute or default.tokens_per_minute,
        )


class KeyRecord(Rates):
    """A key, as far as a server must know it."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """SHA-256 of the key, in hexadecimal digits."""
    created: str = ""
    """When it was made, as ISO 8601."""

    @classmethod
    def of(cls, key: str | bytes, *, created: str = "", rates: Rates | None = None) -> Self:
        """The record of a key."""
        return cls(sha256=digest(key), created=created, **(rates or Rates()).model_dump())

    @classmethod
    def parse(cls, content: bytes) -> Self:
        """A file's content, be it a record or a key.

        Raises:
            ValueError: If it begins as a record does and is none, or is empty. The message holds
                nothing of the content.
        """
        content = content.strip()
        if not content:
            raise ValueError("is empty")
        if not content.startswith(b"{"):
            return cls.of(content)
        try:
            return cls.model_validate_json(content)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise ValueError(f"is no key record: {where or 'JSON'}: {first['type']}") from None

    def text(self) -> str:
        """The content of its file."""
        return self.model_dump_json(by_alias=True, exclude_defaults=True, indent=1) + "\n"

    @property
    def rates(self) -> Rates:
        """Its own limits."""
        return Rates(
            requests_per_minute=self.requests_per_minute, tokens_per_minute=self.tokens_per_minute
        )


def digest(key: str | bytes) -> str:
    """The SHA-256 of a key, in hexadecimal digits."""
    raw = key.encode("utf-8", "surrogateescape") if isinstance(key, str) else key
    return hashlib.sha256(raw).hexdigest()


def check_name(name: str) -> str:
    """A key's name, which is a file's name too.

    Raises:
        SpecError: If it cannot be one.
    """
    if not _NAME.fullmatch(name):
        raise SpecError(
            f"NAME: `{name}` cannot be a key's name",
            "at most 63 letters, digits, `.`, `_` and `-`, beginning with a letter or digit",
        )
    return name
