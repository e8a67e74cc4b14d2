"""Objects of the API server as the vocabulary has them."""

from __future__ import annotations

from typing import Any

from astroctl.kube.client import Object

_METADATA = ("name", "namespace", "labels", "annotations")


def plain(obj: Object) -> dict[str, Any]:
    """An AstroJob or GPUNodePool without its status and the API server's own metadata."""
    namespaced = obj.get("kind") == "AstroJob"
    kept = [k for k in _METADATA if namespaced or k != "namespace"]
    meta = obj["metadata"]
    return {
        "apiVersion": obj.get("apiVersion"),
        "kind": obj.get("kind"),
        "metadata": {k: meta[k] for k in kept if k in meta},
        "spec": obj["spec"],
    }
