"""What queues and gang schedulers want to see on a RayJob.

KubeRay is set up with one batch scheduler for all clusters; it copies a RayJob's labels to the
RayCluster and puts the scheduler's name into the pods itself.
"""

from __future__ import annotations

import hashlib

from astroctl.render.settings import Settings
from astrosage.errors import SpecError
from astrosage.spec.cluster import Cluster, Elastic

KUEUE_QUEUE = "kueue.x-k8s.io/queue-name"
KUEUE_ELASTIC = "kueue.x-k8s.io/elastic-job"
GANG = "ray.io/gang-scheduling-enabled"
_SCHEDULER_QUEUES = {
    "volcano": "volcano.sh/queue-name",
    "yunikorn": "yunikorn.apache.org/queue",
    "kai": "kai.scheduler/queue",
}


def queue_of(cluster: Cluster, settings: Settings) -> str | None:
    """The queue that a cluster waits in."""
    return cluster.queue or settings.queue


def uses_kueue(cluster: Cluster, settings: Settings) -> bool:
    """Whether Kueue admits it; schedulers with queues of their own read the same field."""
    own = cluster.kubernetes.scheduler in _SCHEDULER_QUEUES
    return queue_of(cluster, settings) is not None and not own and settings.kueue != "off"


def scheduling_labels(
    name: str, namespace: str, cluster: Cluster, settings: Settings
) -> dict[str, str]:
    """Labels of a RayJob.

    Raises:
        SpecError: If a queue is named and there is none to be had, or one is needed.
    """
    scheduler, queue = cluster.kubernetes.scheduler, queue_of(cluster, settings)
    labels: dict[str, str] = {}
    if scheduler != "default":
        labels[GANG] = "true"
    if scheduler == "volcano":
        labels["ray.io/scheduler-name"] = "volcano"
        priority = cluster.kubernetes.priority_class or settings.priority_class
        if priority:
            labels["ray.io/priority-class-name"] = priority
    if scheduler == "yunikorn":
        labels["yunikorn.apache.org/app-id"] = _application(name, namespace)
    if scheduler == "kai" and queue is None:
        raise SpecError(
            "spec.cluster.queue: required, but missing: the KAI scheduler schedules nothing "
            "without a queue",
            "name a KAI queue, or use another spec.cluster.kubernetes.scheduler",
        )
    if queue is not None:
        labels[_queue_label(scheduler, cluster, settings)] = queue
    return labels


def scheduling_annotations(cluster: Cluster, settings: Settings) -> dict[str, str]:
    """Annotations of a RayJob: Kueue lets only jobs that say so change their size."""
    elastic = isinstance(cluster.workers, Elastic) and uses_kueue(cluster, settings)
    return {KUEUE_ELASTIC: "true"} if elastic else {}


def _queue_label(scheduler: str, cluster: Cluster, settings: Settings) -> str:
    if scheduler in _SCHEDULER_QUEUES:
        return _SCHEDULER_QUEUES[scheduler]
    if settings.kueue == "off":
        raise SpecError(
            f"spec.cluster.queue: `{queue_of(cluster, settings)}` is a Kueue queue, and this "
            "installation has no Kueue",
            "leave the queue out, or let the administrator set `settings.kueue: auto`",
        )
    return KUEUE_QUEUE


def _application(name: str, namespace: str) -> str:
    """Unique in the whole cluster, in at most 63 characters."""
    return f"{name}-{hashlib.sha256(namespace.encode()).hexdigest()[:8]}"
