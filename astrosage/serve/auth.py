"""Bearer tokens, of which the server knows only the SHA-256."""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections.abc import Iterable
from pathlib import Path

from astrosage.errors import NotFoundError, SpecError
from astrosage.serve.errors import ApiError

_READ_AGAIN_SECONDS = 5.0


class KeyRing:
    """The keys that may use the server.

    Args:
        hashes: SHA-256 of each key, as hexadecimal digits.

    Raises:
        SpecError: If one is not a SHA-256.
    """

    def __init__(self, hashes: Iterable[str]) -> None:
        self._hashes = [value.lower() for value in hashes]
        for i, value in enumerate(self._hashes):
            if not re.fullmatch(r"[0-9a-f]{64}", value):
                raise SpecError(
                    f"keyHashes[{i}]: not a SHA-256 in hexadecimal digits",
                    "hash the key: printf %s KEY | sha256sum",
                )

    def hashes(self) -> list[str]:
        """The hashes of the keys that count now."""
        return self._hashes

    def require(self, authorization: str | None) -> None:
        """Refuse a request without a known key.

        Raises:
            ApiError: With status 401.
        """
        scheme, _, key = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise ApiError(
                401, "no API key: send `Authorization: Bearer KEY`", code="missing_api_key"
            )
        found = hashlib.sha256(key.strip().encode("utf-8", "surrogateescape")).hexdigest()
        # All are compared, in constant time each, so that timing tells nothing of any of them.
        matches = [hmac.compare_digest(found, known) for known in self.hashes()]
        if not any(matches):
            raise ApiError(401, "unknown API key", code="invalid_api_key")


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
        if not self.hashes():
            raise NotFoundError(
                f"keyFolder: {folder} holds no key", "put at least one key there, in a file"
            )

    def hashes(self) -> list[str]:
        """The hashes of the keys that are there; the last ones known while it cannot be read."""
        if time.monotonic() - self._read > _READ_AGAIN_SECONDS:
            self._read = time.monotonic()
            try:
                files = [f for f in self._folder.iterdir() if not f.name.startswith(".")]
                keys = [file.read_bytes().strip() for file in sorted(files)]
            except OSError:
                return self._hashes
            self._hashes = [hashlib.sha256(key).hexdigest() for key in keys if key]
        return self._hashes
