"""Which run of a tracking service a stage writes to, so that a resumed stage goes on with it."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from astrosage.errors import AstroError
from astrosage.runs.storage import Storage


class Identity:
    """An id that is kept in the stage's folder.

    Args:
        stage: The stage's folder.
        service: The tracker's name.
        config: What the run was configured with: another configuration is another run.
        place: The server or project; another one is another run too.
    """

    def __init__(self, stage: Storage, service: str, config: dict[str, Any], place: str) -> None:
        self._stage, self._name = stage, f"tracking/{service}.json"
        text = json.dumps([config, place], sort_keys=True, default=str)
        self._key = hashlib.sha256(text.encode()).hexdigest()[:16]

    def read(self) -> str | None:
        """The id that an earlier attempt left, if it is of the same training."""
        try:
            stored = self._stage.read_json(self._name)
        except AstroError:
            return None
        same = isinstance(stored, dict) and stored.get("key") == self._key
        return str(stored["id"]) if same and stored.get("id") else None

    def write(self, value: str, url: str | None = None) -> None:
        """Keep an id, and where a browser finds the run."""
        self._stage.write_json(self._name, {"id": value, "key": self._key, "url": url})
