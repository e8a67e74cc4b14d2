"""Custom resource definitions: ours as rendered, those of others from a folder."""

from __future__ import annotations

import contextlib
import functools
import os
from pathlib import Path
from typing import Any

import yaml

from astroctl.kube.client import Kube
from astroctl.kube.errors import AlreadyExists
from astroctl.kube.resources import CRD
from tests.kube.objects import eventually
from tests.kube.plane import Unavailable

# They are two megabytes: seconds with the loader in Python.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def folder() -> Path:
    """Where the definitions of others are: ``ASTRO_TEST_CRDS``, else ``../shared/crds``."""
    default = Path(__file__).parents[3] / "shared" / "crds"
    return Path(os.environ.get("ASTRO_TEST_CRDS") or default)


def load(kube: Kube) -> list[str]:
    """Load all definitions that are not there yet, and wait until they are served.

    Raises:
        Unavailable: If the folder with the definitions of others is absent.
    """
    if not folder().is_dir():
        raise Unavailable(f"no custom resource definitions in {folder()}: set ASTRO_TEST_CRDS")
    found = [yaml.load(path.read_text(), _LOADER) for path in sorted(folder().glob("*/*.yaml"))]
    found += _ours()
    for definition in found:
        # By the API's create call: applied, they are too large for an annotation, and old servers
        # stumble over their rules.
        with contextlib.suppress(AlreadyExists):
            kube.create(definition)
    names = [str(d["metadata"]["name"]) for d in found]
    for name in names:
        eventually(functools.partial(_established, kube, name), seconds=60, pause=0.3)
    return names


def _ours() -> list[dict[str, Any]]:
    try:
        from astroctl.render.crd import crds
    except ModuleNotFoundError:
        return []
    return crds()


def _established(kube: Kube, name: str) -> bool:
    conditions = (kube.get(CRD, name).get("status") or {}).get("conditions") or []
    return any(c["type"] == "Established" and c["status"] == "True" for c in conditions)
