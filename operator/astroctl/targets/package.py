"""The code that a cluster runs: this installation's ``astrosage`` and ``ray_jobs`` as a zip."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import zipfile
from pathlib import Path

_PACKAGES = ("astrosage", "ray_jobs")
_EPOCH = (1980, 1, 1, 0, 0, 0)  # equal code gives an equal archive, which is uploaded once


def build() -> tuple[str, bytes]:
    """The archive's name, which carries its hash, and its bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for package in _PACKAGES:
            root = _folder(package)
            for file in sorted(root.rglob("*")):
                if file.is_file() and "__pycache__" not in file.parts:
                    name = f"{package}/{file.relative_to(root).as_posix()}"
                    entry = zipfile.ZipInfo(name, _EPOCH)
                    entry.external_attr = 0o644 << 16
                    archive.writestr(entry, file.read_bytes(), zipfile.ZIP_DEFLATED)
    data = buffer.getvalue()
    return f"_ray_pkg_{hashlib.sha256(data).hexdigest()[:16]}.zip", data


def _folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(next(iter(spec.submodule_search_locations)))
