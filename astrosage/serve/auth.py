"""Bearer tokens, of which the server knows only the SHA-256."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable

from astrosage.errors import SpecError
from astrosage.serve.errors import ApiError


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
        matches = [hmac.compare_digest(found, known) for known in self._hashes]
        if not any(matches):
            raise ApiError(401, "unknown API key", code="invalid_api_key")
