"""Where this machine keeps the keys of what it serves, and what they were used for.

``keys/NAME.key`` is the one that `astroctl ask` uses. The server knows hashes only: those in
``keys/NAME/``, a file for each key, which it reads again every few seconds.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from astroctl.home import home

DEFAULT = "default"


def key_file(served: str) -> Path:
    """The file with this machine's own key of a model."""
    return home() / "keys" / f"{_slug(served)}.key"


def key_folder(served: str) -> Path:
    """The folder with the hashes of a model's keys."""
    return home() / "keys" / _slug(served)


def usage_file(served: str) -> Path:
    """The file with the sums of what each key has used."""
    return home() / "keys" / f"{_slug(served)}.usage.json"


def remove(served: str) -> None:
    """Forget a model's keys and their usage."""
    for file in (key_file(served), usage_file(served), usage_file(served).with_suffix(".lock")):
        file.unlink(missing_ok=True)
    shutil.rmtree(key_folder(served), ignore_errors=True)


def _slug(served: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", served)
