"""Security contexts: the restricted pod security standard.

The root file system stays writable: PyTorch, Triton, DeepSpeed and Hugging Face's libraries all
compile or cache under the home folder, in places of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from astroctl.render.settings import Settings


def pod_security(settings: Settings) -> dict[str, Any]:
    """A pod's security context."""
    context: dict[str, Any] = {
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    if settings.run_as_user is not None:
        context["runAsUser"] = settings.run_as_user
    if settings.fs_group is not None:
        context["fsGroup"] = settings.fs_group
        # A claim with a million files is not walked through at every start.
        context["fsGroupChangePolicy"] = "OnRootMismatch"
    return context


def container_security(capabilities: Sequence[str] = ()) -> dict[str, Any]:
    """A container's security context.

    Args:
        capabilities: Added to none.
    """
    allowed: dict[str, Any] = {"drop": ["ALL"]}
    if capabilities:
        allowed["add"] = list(capabilities)
    return {"allowPrivilegeEscalation": False, "capabilities": allowed}
