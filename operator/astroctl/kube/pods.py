"""Why one pod does not run yet, in words, and whether it ever will."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from astroctl.kube.client import Kube, Object
from astroctl.kube.resources import EVENT

_BAD_IMAGE = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull")
_BAD_CONFIG = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError")
_TELLING_EVENTS = (
    "FailedScheduling",
    "FailedMount",
    "FailedAttachVolume",
    "FailedCreatePodSandBox",
    "Failed",
    "Preempted",
    "NotTriggerScaleUp",
    "TriggeredScaleUp",
)


@dataclass(frozen=True)
class Waiting:
    """What a pod waits for.

    Attributes:
        message: In words.
        hint: What would help.
        hopeless: Waiting alone will not help.
    """

    message: str
    hint: str = ""
    hopeless: bool = False


def is_ready(pod: Object) -> bool:
    """Whether all its containers run and answer their probes."""
    conditions = pod.get("status", {}).get("conditions") or []
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def phase(pod: Object) -> str:
    """Pending, Running, Succeeded, Failed or Unknown."""
    return str(pod.get("status", {}).get("phase") or "Pending")


def waiting(pod: Object, events: list[Object] | None = None) -> Waiting:
    """Why a pod does not run yet: its end, its containers, its scheduling, its events.

    Args:
        pod: As the API has it.
        events: Those about it, as :func:`events_of` gives them.
    """
    found = _ended(pod) or _containers(pod) or _scheduling(pod)
    told = [e for e in events or [] if e.get("reason") in _TELLING_EVENTS]
    if found is None and told:
        last = told[-1]
        found = Waiting(f"{last['reason']}: {_short(last.get('message'))}", _hint_for(last))
    return found or Waiting(f"it is {phase(pod).lower()}")


def events_of(kube: Kube, pod: Object) -> list[Object]:
    """Events about a pod, oldest first; empty where they may not be read."""
    from astroctl.kube.errors import ApiError

    meta = pod["metadata"]
    try:
        found = kube.list(
            EVENT,
            meta["namespace"],
            fields=f"involvedObject.name={meta['name']},involvedObject.kind=Pod",
        )
    except ApiError:
        return []
    return sorted(found, key=lambda e: str(e.get("lastTimestamp") or e.get("eventTime") or ""))


def _ended(pod: Object) -> Waiting | None:
    status = pod.get("status", {})
    if phase(pod) not in ("Failed", "Succeeded"):
        return None
    why = status.get("message") or status.get("reason") or _last_exit(pod) or "it has ended"
    return Waiting(_short(why), "`kubectl describe pod` tells more", hopeless=True)


def _last_exit(pod: Object) -> str:
    for container in pod.get("status", {}).get("containerStatuses") or []:
        ended = container.get("state", {}).get("terminated")
        if ended:
            reason = ended.get("message") or ended.get("reason") or "ended"
            return f"{container['name']}: {reason} (exit code {ended.get('exitCode')})"
    return ""


def _containers(pod: Object) -> Waiting | None:
    status = pod.get("status", {})
    all_of = (status.get("initContainerStatuses") or []) + (status.get("containerStatuses") or [])
    for container in all_of:
        waits: dict[str, Any] = container.get("state", {}).get("waiting") or {}
        reason, said = waits.get("reason", ""), _short(waits.get("message"))
        if reason in _BAD_IMAGE:
            return Waiting(
                f"the image {container.get('image')} cannot be pulled ({reason}): {said}",
                "check its name and tag, that the registry can be reached, and imagePullSecrets",
                hopeless=reason != "ErrImagePull",
            )
        if reason in _BAD_CONFIG:
            return Waiting(
                f"{container['name']}: {reason}: {said}",
                "a Secret, ConfigMap or key that the pod names is missing, or its user is refused",
                hopeless=reason == "CreateContainerConfigError",
            )
        if reason == "CrashLoopBackOff":
            last = container.get("lastState", {}).get("terminated") or {}
            return Waiting(
                f"{container['name']} keeps ending: {last.get('reason', 'Error')} (exit code "
                f"{last.get('exitCode')})",
                f"`kubectl logs {pod['metadata']['name']} --previous` shows its last words",
                hopeless=True,
            )
    return None


def _scheduling(pod: Object) -> Waiting | None:
    for condition in pod.get("status", {}).get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            said = _short(condition.get("message")) or str(condition.get("reason"))
            return Waiting(f"no node takes it: {said}", _scheduling_hint(said))
    return None


def _scheduling_hint(said: str) -> str:
    for words, hint in (
        ("Insufficient nvidia.com/gpu", "wait for GPUs, or scale the node pool"),
        ("unbound immediate PersistentVolumeClaims", "the claim has no volume: check its class"),
        ("not found", "what it names does not exist in this namespace"),
        ("Insufficient", "wait for room, or ask for less"),
        ("taint", "tolerate the taint, or free other nodes"),
        ("volume node affinity", "the volume belongs to a node or zone without room"),
    ):
        if words in said:
            return hint
    return ""


def _hint_for(event: Object) -> str:
    said = str(event.get("message") or "")
    if "Multi-Attach" in said or "already used by" in said:
        return "the claim is in use on another node: wait for that pod, or use ReadWriteMany"
    if event.get("reason") in ("FailedMount", "FailedAttachVolume"):
        return "the volume cannot be mounted: check the claim and its storage driver"
    return ""


def _short(text: Any) -> str:
    return " ".join(str(text or "").split())[:400]
