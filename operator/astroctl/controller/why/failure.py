"""Why an attempt failed, and whether trying again can help."""

from __future__ import annotations

import re

from astroctl.controller.why import reasons
from astroctl.controller.why.containers import OUT_OF_MEMORY, memory_limit
from astroctl.controller.why.facts import Ending, FailureFacts, Object
from astroctl.controller.why.objects import (
    HEAD,
    condition,
    containers,
    ended,
    name,
    one_line,
    phase,
    role,
)
from astroctl.controller.why.reasons import Reason

_BY_RAYJOB: dict[str, Reason] = {
    "DeadlineExceeded": reasons.DEADLINE_EXCEEDED,
    "PreRunningDeadlineExceeded": reasons.PRE_RUNNING_DEADLINE,
    "ValidationFailed": reasons.INVALID_RAYJOB,
    "JobStatusCheckTimeoutExceeded": reasons.DASHBOARD_UNREACHABLE,
    "SubmissionFailed": reasons.SUBMISSION_FAILED,
}
_RUNTIME_ENV = re.compile(r"runtime_env|RUNTIME_ENV_SETUP_FAILURE|runtime env", re.IGNORECASE)
_DISRUPTIONS: dict[str, Reason] = {
    "PreemptionByScheduler": reasons.POD_PREEMPTED,
    "EvictionByEvictionAPI": reasons.POD_PREEMPTED,
    "DeletionByTaintManager": reasons.NODE_LOST,
    "DeletionByPodGC": reasons.NODE_LOST,
    "TerminationByKubelet": reasons.POD_EVICTED,
}
_STATUS_REASONS: dict[str, Reason] = {
    "Evicted": reasons.POD_EVICTED,
    "Preempting": reasons.POD_PREEMPTED,
    "NodeLost": reasons.NODE_LOST,
    "NodeShutdown": reasons.NODE_LOST,
    "Terminated": reasons.NODE_LOST,
    "Shutdown": reasons.NODE_LOST,
    "UnexpectedAdmissionError": reasons.NODE_LOST,
}


def explain_failure(facts: FailureFacts) -> Ending:
    """The cause that says most.

    What KubeRay ended by a rule of ours (deadline, validation) is that; else the driver's own
    error, unless a pod's end explains it; else what KubeRay says.
    """
    told = _status(facts)
    code = str(told.get("reason") or "")
    if str(told.get("jobDeploymentStatus") or "") == "ValidationFailed":
        code = "ValidationFailed"
    ruled = _BY_RAYJOB.get(code)
    if ruled in (reasons.DEADLINE_EXCEEDED, reasons.INVALID_RAYJOB, reasons.PRE_RUNNING_DEADLINE):
        return _ruled(ruled, told)
    pod = _pod(facts)
    if facts.driver and not (pod and _is_shaken(facts.driver)):
        return _driver(facts.driver)
    if pod is not None:
        return pod
    if facts.rayjob is None:
        message = "the RayJob is gone: somebody deleted it"
        return _ending(reasons.CLUSTER_DELETED, message)
    if ruled is not None:
        return _ruled(ruled, told)
    return _unexplained(told)


def _status(facts: FailureFacts) -> Object:
    return dict((facts.rayjob or {}).get("status") or {})


def _ending(reason: Reason, message: str, hint: str | None = None) -> Ending:
    family = "ClusterError" if reason.passes else "CapacityError"
    advice = reason.helps if hint is None else hint
    return Ending(reason.name, message, advice, reason.passes, family)


def _ruled(reason: Reason, told: Object) -> Ending:
    said = one_line(told.get("message") or reason.meaning)
    if reason is reasons.SUBMISSION_FAILED and _RUNTIME_ENV.search(said):
        return _ending(reasons.RUNTIME_ENV_FAILED, f"the runtime environment failed: {said}")
    return _ending(reason, said)


def _driver(error: Object) -> Ending:
    family = str(error.get("type") or "AstroError")
    return Ending(
        reason=reasons.APP_FAILED.name if family in ("AstroError", "") else family,
        message=one_line(error.get("message") or "the driver failed", 2000),
        hint=str(error.get("hint") or ""),
        retryable=bool(error.get("retryable")),
        family=family,
    )


def _is_shaken(error: Object) -> bool:
    """Whether an error may be only the echo of a pod that went: workers gone, head not there."""
    return bool(error.get("retryable"))


def _pod(facts: FailureFacts) -> Ending | None:
    """What the end of a pod says, the head's first: without it all others end too."""
    pods = sorted(facts.pods, key=lambda p: (role(p) != HEAD, name(p)))
    for look in (_out_of_memory, _disrupted):
        for pod in pods:
            if (told := look(pod)) is not None:
                return told
    return None


def _who(pod: Object) -> str:
    return f"{'head' if role(pod) == HEAD else 'worker'} pod {name(pod)}"


def _out_of_memory(pod: Object) -> Ending | None:
    for state in containers(pod):
        if ended(state).get("reason") == OUT_OF_MEMORY:
            head = role(pod) == HEAD
            reason = reasons.HEAD_KILLED_FOR_MEMORY if head else reasons.WORKER_KILLED_FOR_MEMORY
            return _ending(reason, f"{_who(pod)} was killed for memory{memory_limit(pod)}")
    return None


def _disrupted(pod: Object) -> Ending | None:
    status = pod.get("status") or {}
    reason = _STATUS_REASONS.get(str(status.get("reason") or ""))
    said = one_line(status.get("message") or "")
    if reason is None:
        target = condition(pod, "DisruptionTarget")
        if target is None or target.get("status") != "True":
            return None
        reason = _DISRUPTIONS.get(str(target.get("reason") or ""), reasons.POD_PREEMPTED)
        said = one_line(target.get("message") or target.get("reason") or "")
    if phase(pod) not in ("Failed", "Unknown") and "deletionTimestamp" not in pod["metadata"]:
        return None
    node = (pod.get("spec") or {}).get("nodeName")
    where = f" on node {node}" if node else ""
    return _ending(reason, f"{_who(pod)}{where} was ended" + (f": {said}" if said else ""))


def _unexplained(told: Object) -> Ending:
    said = one_line(told.get("message") or "", 2000)
    if _RUNTIME_ENV.search(said):
        return _ending(reasons.RUNTIME_ENV_FAILED, f"the runtime environment failed: {said}")
    if (
        str(told.get("reason") or "") == reasons.APP_FAILED.name
        or told.get("jobStatus") == "FAILED"
    ):
        return _ending(reasons.APP_FAILED, f"the driver failed: {said or 'no reason given'}")
    code = told.get("reason") or told.get("jobDeploymentStatus") or "no reason given"
    return _ending(reasons.DRIVER_LOST, f"the driver ended without a last word ({said or code})")
