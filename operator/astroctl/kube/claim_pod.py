"""The short-lived pod through which files of a claim are reached."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any

from astroctl.kube import pods
from astroctl.kube.client import Kube, Object
from astroctl.kube.errors import Forbidden, Invalid, Missing
from astroctl.kube.resources import CLAIM, POD
from astroctl.render.settings import Settings
from astroctl.render.storage import STORAGE_MOUNT
from astrosage.errors import AstroError, CapacityError, ClusterError, NotFoundError

COMPONENT = "files"
LABELS = {
    "app.kubernetes.io/name": "astrosage-files",
    "app.kubernetes.io/component": COMPONENT,
    "app.kubernetes.io/part-of": "astrosage",
    "app.kubernetes.io/managed-by": "astroctl",
}
_SELECTOR = ",".join(f"{k}={v}" for k, v in LABELS.items())
_POLL_SECONDS = 0.5


def manifest(
    name: str, claim: str, settings: Settings, *, seconds: int, node: str | None = None
) -> Object:
    """The pod: restricted, idle, with the claim mounted where it works.

    Args:
        name: Its name.
        claim: The claim.
        settings: Image, user and group.
        seconds: It ends by itself after this time.
        node: Where it must run, since the claim is in use there.
    """
    identity: dict[str, Any] = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    if settings.run_as_user is not None:
        identity["runAsUser"] = settings.run_as_user
    if settings.fs_group is not None:
        # Only where the volume's top belongs to another group: walking a large one takes minutes.
        identity |= {"fsGroup": settings.fs_group, "fsGroupChangePolicy": "OnRootMismatch"}
    container: dict[str, Any] = {
        "name": COMPONENT,
        "image": settings.image,
        "command": ["sleep", str(seconds)],
        "workingDir": STORAGE_MOUNT,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "resources": {
            "requests": {"cpu": "100m", "memory": "128Mi"},
            "limits": {"cpu": "1", "memory": "512Mi"},
        },
        "volumeMounts": [{"name": "storage", "mountPath": STORAGE_MOUNT}],
    }
    if settings.image_pull_policy:
        container["imagePullPolicy"] = settings.image_pull_policy
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "activeDeadlineSeconds": seconds,
        "terminationGracePeriodSeconds": 1,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": identity,
        "containers": [container],
        "volumes": [{"name": "storage", "persistentVolumeClaim": {"claimName": claim}}],
    }
    if settings.image_pull_secrets:
        spec["imagePullSecrets"] = [{"name": n} for n in settings.image_pull_secrets]
    if settings.service_account:
        spec["serviceAccountName"] = settings.service_account
    if node:
        spec |= _on(node)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": LABELS, "annotations": {"astrosage.io/claim": claim}},
        "spec": spec,
    }


def _on(node: str) -> dict[str, Any]:
    """On that node whatever its taints, but through the scheduler, which knows its room."""
    field = {"key": "metadata.name", "operator": "In", "values": [node]}
    terms = {"nodeSelectorTerms": [{"matchFields": [field]}]}
    return {
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}},
        "tolerations": [{"operator": "Exists"}],
    }


class ClaimPod:
    """Makes the pod and takes it away.

    Args:
        kube: The cluster.
        namespace: The claim's.
        claim: Its name.
        settings: The installation's.
        seconds: How long the pod may live.
        timeout: Seconds that it may take to start.
        say: Told what it waits for.
    """

    def __init__(
        self,
        kube: Kube,
        namespace: str,
        claim: str,
        settings: Settings,
        *,
        seconds: int,
        timeout: float,
        say: Callable[[str], None],
    ) -> None:
        self._kube, self._namespace, self._claim = kube, namespace, claim
        self._settings, self._seconds = settings, seconds
        self._timeout, self._say = timeout, say
        self.name = f"astrosage-files-{uuid.uuid4().hex[:8]}"

    def start(self) -> None:
        """Make the pod and wait until it runs.

        Raises:
            NotFoundError: If there is no such claim.
            ClusterError: Saying why it does not run.
        """
        claim = self._require_claim()
        self._sweep()
        node = self._node_in_use(claim)
        made = manifest(self.name, self._claim, self._settings, seconds=self._seconds, node=node)
        made["metadata"]["namespace"] = self._namespace
        try:
            self._kube.create(made)
        except (Forbidden, Invalid) as error:
            raise self._refused(error) from None
        try:
            self._wait()
        except BaseException:
            self.remove()
            raise

    def remove(self) -> None:
        """Take the pod away; nothing happens where there is none.

        Where the API server does not answer, it is left to end by itself.
        """
        for pause in (0.5, 2.0, 4.0, None):
            try:
                self._kube.delete(POD, self.name, self._namespace)
                return
            except AstroError as error:
                if pause is None or not error.retryable:
                    self._say(f"pod {self._namespace}/{self.name} is left behind: {error.message}")
                    return
                time.sleep(pause)

    def lives(self) -> bool:
        """Whether it runs and is not about to end."""
        pod = self._kube.find(POD, self.name, self._namespace)
        return (
            pod is not None
            and pods.phase(pod) == "Running"
            and "deletionTimestamp" not in pod["metadata"]
        )

    def _require_claim(self) -> Object:
        try:
            claim = self._kube.get(CLAIM, self._claim, self._namespace)
        except Missing:
            raise NotFoundError(
                f"spec.storage: there is no PersistentVolumeClaim `{self._claim}` in namespace "
                f"{self._namespace}",
                "make it (access mode ReadWriteMany), or name another: pvc://claim/path",
            ) from None
        if claim.get("status", {}).get("phase") == "Lost":
            raise ClusterError(
                f"the volume of PersistentVolumeClaim {self._namespace}/{self._claim} is lost",
                "restore it, or use another claim",
            )
        return claim

    def _node_in_use(self, claim: Object) -> str | None:
        """The node that a claim is bound to while a pod there uses it."""
        modes = claim["spec"].get("accessModes") or []
        if "ReadWriteMany" in modes:
            return None
        for pod in self._kube.list(POD, self._namespace):
            if pods.phase(pod) != "Running" or not uses(pod, self._claim):
                continue
            if "ReadWriteOncePod" in modes:
                raise ClusterError(
                    f"PersistentVolumeClaim {self._claim} is ReadWriteOncePod and in use by pod "
                    f"{pod['metadata']['name']}",
                    "wait until that pod has ended, or use a claim with ReadWriteMany",
                )
            return str(pod["spec"]["nodeName"])
        return None

    def _sweep(self) -> None:
        """Remove what earlier ones left behind that could not clean up."""
        for pod in self._kube.list(POD, self._namespace, labels=_SELECTOR):
            if pods.phase(pod) in ("Succeeded", "Failed"):
                self._kube.delete(POD, pod["metadata"]["name"], self._namespace)

    def _wait(self) -> None:
        deadline = time.monotonic() + self._timeout
        said = ""
        while True:
            pod = self._kube.get(POD, self.name, self._namespace)
            if pods.phase(pod) == "Running":
                return
            found = pods.waiting(pod, pods.events_of(self._kube, pod))
            if found.hopeless or time.monotonic() > deadline:
                what = (
                    "cannot start" if found.hopeless else f"has not started in {self._timeout:g} s"
                )
                raise ClusterError(
                    f"the pod that reaches claim {self._claim} {what}: {found.message}",
                    found.hint or "`kubectl get events` may tell more; then try again",
                )
            if found.message != said:
                said = found.message
                self._say(f"waiting for a pod with claim {self._claim}: {said}")
            time.sleep(_POLL_SECONDS)

    def _refused(self, error: AstroError) -> AstroError:
        what = f"a pod that mounts claim {self._claim} is refused: {error.message}"
        if "exceeded quota" in error.message or "must specify" in error.message:
            return CapacityError(
                what, "the namespace's quota has no room for it (100m CPU, 128Mi); free some"
            )
        if "PodSecurity" in error.message or "security context" in error.message.lower():
            return CapacityError(
                what,
                "the namespace's pod security wants other settings: `settings.runAsUser` and "
                "`settings.fsGroup` (null on OpenShift)",
            )
        if isinstance(error, Forbidden):
            return Forbidden(
                what,
                "files on a claim need the rights to create, get, list and delete pods and to get "
                "and create pods/exec in its namespace",
                error.status,
                error.reason,
            )
        return ClusterError(what, error.hint)


def uses(pod: Object, claim: str) -> bool:
    """Whether a pod mounts a claim."""
    return any(
        volume.get("persistentVolumeClaim", {}).get("claimName") == claim
        for volume in pod["spec"].get("volumes") or []
    )


def with_storage(kube: Kube, namespace: str, claim: str) -> tuple[str, str] | None:
    """A running pod of a job, and its container, that has the claim where jobs have it."""
    labels = f"app.kubernetes.io/part-of=astrosage,app.kubernetes.io/component!={COMPONENT}"
    for pod in kube.list(POD, namespace, labels=labels):
        container = pod["spec"]["containers"][0]
        mounts = container.get("volumeMounts") or []
        mounted = any(m["mountPath"] == STORAGE_MOUNT for m in mounts)
        leaves = "deletionTimestamp" in pod["metadata"]
        if mounted and uses(pod, claim) and pods.is_ready(pod) and not leaves:
            return str(pod["metadata"]["name"]), str(container["name"])
    return None
