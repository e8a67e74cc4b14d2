"""Bearer tokens, of which the server knows only the SHA-256."""

from __future__ import annotations

import hmac
import logging
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from astrosage.errors import NotFoundError, SpecError
from astrosage.serve.errors import ApiError
from astrosage.serve.keys import KeyRecord, Rates, digest

logger = logging.getLogger(__name__)

_READ_AGAIN_SECONDS = 2.0


@dataclass(frozen=True)
class Key:
    """Who asks.

    Attributes:
        name: What the key is called in logs, metrics and lists.
        sha256: SHA-256 of the key; empty for the nameless guest of a server without keys.
        rates: What it may use, where that differs from the server's own limits.
    """

    name: str
    sha256: str = ""
    rates: Rates = field(default_factory=Rates)


ANONYMOUS = Key("anonymous")


class KeyRing:
    """The keys that may use the server.

    Args:
        hashes: SHA-256 of each key in hexadecimal digits, by name; a plain list names them
            ``key-1``, ``key-2`` and so on.

    Raises:
        SpecError: If one is not a SHA-256.
    """

    def __init__(self, hashes: Mapping[str, str] | Iterable[str]) -> None:
        if isinstance(hashes, Mapping):
            named = [(f"keyHashes.{name}", name, value) for name, value in hashes.items()]
        else:
            named = [(f"keyHashes[{i}]", f"key-{i + 1}", value) for i, value in enumerate(hashes)]
        self._keys: list[Key] = []
        for field_name, name, value in named:
            if not re.fullmatch(r"[0-9a-f]{64}", value.lower()):
                raise SpecError(
                    f"{field_name}: not a SHA-256 in hexadecimal digits",
                    "hash the key: printf %s KEY | sha256sum",
                )
            self._keys.append(Key(name, value.lower()))

    def keys(self) -> list[Key]:
        """The keys that count now."""
        return self._keys

    def require(self, authorization: str | None) -> Key:
        """The key of a request.

        Raises:
            ApiError: With status 401, if there is none or it is not known.
        """
        scheme, _, key = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise ApiError(
                401, "no API key: send `Authorization: Bearer KEY`", code="missing_api_key"
            )
        sent = digest(key.strip())
        # All are compared, in constant time each, so that timing tells nothing of any of them.
        matches = [key for key in self.keys() if hmac.compare_digest(sent, key.sha256)]
        if not matches:
            raise ApiError(401, "unknown API key", code="invalid_api_key")
        return matches[0]


class KeyFolder(KeyRing):
    """Keys in files of a folder, one each; read again now and then, so that keys can be replaced.

    Args:
        folder: Such as a mounted Secret. Files that begin with a dot do not count.

    Raises:
        NotFoundError: If there is no key in it.
    """

    def __init__(self, folder: str | Path) -> None:
        super().__init__([])
        self._folder, self._read = Path(folder), float("-inf")
        self._bad: set[str] = set()
        if not self.keys():
            raise NotFoundError(
                f"keyFolder: {folder} holds no key", "put at least one key there, in a file"
            )

    def keys(self) -> list[Key]:
        """The keys that are there; the last ones known while the folder cannot be read."""
        if time.monotonic() - self._read > _READ_AGAIN_SECONDS:
            self._read = time.monotonic()
            try:
                files = [f for f in self._folder.iterdir() if not f.name.startswith(".")]
                contents = {file.name: file.read_bytes() for file in sorted(files)}
            except OSError:
                return self._keys
            self._keys = [key for name, raw in contents.items() if (key := self._key(name, raw))]
        return self._keys

    def _key(self, name: str, content: bytes) -> Key | None:
        try:
            record = KeyRecord.parse(content)
        except ValueError as error:
            if name not in self._bad:  # said once, not at every look
                self._bad.add(name)
                logger.warning("the key file %s %s; it lets nobody in", self._folder / name, error)
            return None
        self._bad.discard(name)
        return Key(name, record.sha256, record.rates)
