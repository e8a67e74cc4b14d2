"""All reasons that a waiting, failed or idle job is given, with what they mean and what helps.

The reasons of waiting stand in the order in which they are looked for: the first that applies is
told, because what stands earlier must be mended before what stands later can pass.
``docs/conditions.md`` is made from this table.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Reason:
    """One reason.

    Attributes:
        name: As in a condition.
        meaning: What it says.
        helps: What to do; the hint where nothing more exact can be said.
        passes: Whether it can pass without anybody doing anything; for a failure, whether trying
            again can help.
    """

    name: str
    meaning: str
    helps: str
    passes: bool


_WAITING: list[Reason] = []
_FAILED: list[Reason] = []
_IDLE: list[Reason] = []


def _reason(into: list[Reason], name: str, passes: bool, meaning: str, helps: str) -> Reason:
    made = Reason(name, meaning, helps, passes)
    into.append(made)
    return made


def _waits(name: str, passes: bool, meaning: str, helps: str) -> Reason:
    return _reason(_WAITING, name, passes, meaning, helps)


def _failed(name: str, passes: bool, meaning: str, helps: str) -> Reason:
    return _reason(_FAILED, name, passes, meaning, helps)


def _idle(name: str, passes: bool, meaning: str, helps: str) -> Reason:
    return _reason(_IDLE, name, passes, meaning, helps)


READY = _waits("Ready", True, "the head and enough workers run", "")
RAYJOB_INVALID = _waits(
    "RayJobInvalid",
    False,
    "KubeRay refuses the RayJob (ValidationFailed) and does not look at it again",
    "mend the field that the message names, then set `astrosage.io/retry` (`astroctl resume`)",
)
POOL_NOT_FOUND = _waits(
    "PoolNotFound",
    False,
    "`cluster.pool` names a GPUNodePool that does not exist",
    "`astroctl pools list` shows those there are; mend `cluster.pool` or create the pool",
)
KUBERAY_NOT_RESPONDING = _waits(
    "KubeRayNotResponding",
    False,
    "the RayJob is older than 30 s and KubeRay has not looked at it",
    "is KubeRay's operator running, and does it watch this namespace? "
    "`kubectl get pods -A -l app.kubernetes.io/name=kuberay-operator`",
)
KUEUE_NOT_RESPONDING = _waits(
    "KueueNotResponding",
    False,
    "the job waits for a queue, and Kueue has not made a Workload for it",
    "is Kueue running, with `ray.io/rayjob` among its integrations?",
)
QUEUE_NOT_FOUND = _waits(
    "QueueNotFound",
    False,
    "`cluster.queue` names a LocalQueue that does not exist, or one without a ClusterQueue",
    "`kubectl get localqueues` in the job's namespace shows those there are",
)
QUEUE_INACTIVE = _waits(
    "QueueInactive",
    False,
    "the LocalQueue or its ClusterQueue admits nothing: stopped, or not completely set up",
    "`kubectl describe clusterqueue` says what it lacks; `stopPolicy: None` opens a stopped one",
)
QUEUE_TOO_SMALL = _waits(
    "QueueTooSmall",
    False,
    "the job asks for more than its queue can ever give",
    "ask for less, use another queue, or have its quota raised",
)
WORKLOAD_DEACTIVATED = _waits(
    "WorkloadDeactivated",
    False,
    "Kueue has taken the job out of its queue (`spec.active: false`), by hand or after too many "
    "attempts to start",
    "find out why its pods did not start in time, then `astroctl stop` and `astroctl resume` it",
)
WAITING_FOR_QUOTA = _waits(
    "WaitingForQuota",
    True,
    "Kueue holds the job until its queue has enough free quota",
    "wait for other jobs of the queue to end, or use another queue",
)
EVICTED_BY_QUEUE = _waits(
    "EvictedByQueue",
    True,
    "Kueue took the job's quota back, for one with higher priority or because its pods did not "
    "start in time; it is queued again",
    "it goes on from its last checkpoint when it is admitted again; a higher priority class keeps "
    "it from being preempted",
)
WAITING_FOR_ADMISSION = _waits(
    "WaitingForAdmission",
    True,
    "quota is reserved, and an admission check of Kueue (such as a provisioning request) or a "
    "scheduling gate still holds the pods",
    "`kubectl describe workload` shows the checks",
)
QUOTA_EXCEEDED = _waits(
    "QuotaExceeded",
    True,
    "the namespace's ResourceQuota does not allow the pods",
    "wait for others to free it, ask for less, or have the quota raised",
)
POD_SECURITY_DENIED = _waits(
    "PodSecurityDenied",
    False,
    "the namespace's pod security standard refuses the pods",
    "pods of jobs meet the restricted standard unless told otherwise: look at `ipcLock` of the "
    "operator's settings and at what mutates pods on the way",
)
SERVICE_ACCOUNT_MISSING = _waits(
    "ServiceAccountMissing",
    False,
    "the pods' service account does not exist in the job's namespace",
    "create it, or mend `cluster.kubernetes.serviceAccount`",
)
PRIORITY_CLASS_MISSING = _waits(
    "PriorityClassMissing",
    False,
    "the pods' PriorityClass does not exist",
    "`kubectl get priorityclasses` shows those there are; mend `cluster.kubernetes.priorityClass`",
)
ADMISSION_DENIED = _waits(
    "AdmissionDenied",
    False,
    "the API server, a limit range or an admission webhook refuses the pods",
    "the message names what refuses them, and why",
)
IMAGE_NOT_FOUND = _waits(
    "ImageNotFound",
    False,
    "the image does not exist in its registry, has no variant for the node, or its name is not "
    "valid",
    "mend `cluster.kubernetes.image`, or `image` of the operator's settings",
)
IMAGE_PULL_FAILED = _waits(
    "ImagePullFailed",
    True,
    "the image cannot be pulled: credentials, the registry, the network or the node's disk",
    "for a private registry name a Secret in `cluster.kubernetes.imagePullSecrets`",
)
SECRET_MISSING = _waits(
    "SecretMissing",
    False,
    "a Secret or ConfigMap that the pods use, or a key in it, does not exist",
    "create it in the job's namespace; pods start by themselves then",
)
CONTAINER_REFUSED = _waits(
    "ContainerRefused",
    False,
    "a node cannot make or start a container, such as an image that wants to run as root",
    "the image must run as a user that is not root and have `ray` in its path",
)
HEAD_OUT_OF_MEMORY = _waits(
    "HeadOutOfMemory",
    False,
    "the head pod was killed because it used more memory than its limit",
    "raise `cluster.kubernetes.head.memory`",
)
WORKER_OUT_OF_MEMORY = _waits(
    "WorkerOutOfMemory",
    False,
    "a worker pod was killed because it used more memory than its limit",
    "raise `cluster.resourcesPerWorker.memory`; data loading, offloading to CPU and "
    "`sharedMemory` all count",
)
CONTAINER_CRASHES = _waits(
    "ContainerCrashes",
    False,
    "a container ends as soon as it starts",
    "`kubectl logs --previous` of the pod shows its last words; is it an image of this project, "
    "with the Ray version of the settings?",
)
VOLUME_NOT_BOUND = _waits(
    "VolumeNotBound",
    False,
    "a persistent volume claim is missing, unbound, or in a zone where the pods cannot run",
    "`kubectl describe pvc` says what it waits for",
)
VOLUME_ATTACH_CONFLICT = _waits(
    "VolumeAttachConflict",
    False,
    "the volume can be attached to one node only (ReadWriteOnce) and is used on another",
    "use a claim with access mode ReadWriteMany, or an object store, for runs of several pods",
)
VOLUME_MOUNT_FAILED = _waits(
    "VolumeMountFailed",
    True,
    "a volume cannot be attached or mounted",
    "the message is the storage driver's; `kubectl describe pod` shows all of them",
)
UNTOLERATED_TAINT = _waits(
    "UntoleratedTaint",
    False,
    "the nodes that could hold the pods have a taint that the pods do not tolerate",
    "add it to `cluster.kubernetes.tolerations`, or to the pool's `tolerations`",
)
NODE_SELECTOR_MATCHES_NOTHING = _waits(
    "NodeSelectorMatchesNothing",
    False,
    "no node has the labels that the pods ask for",
    "compare `kubectl get nodes --show-labels` with `cluster.kubernetes.nodeSelector` and the "
    "pool's `nodeSelector`",
)
POOL_TOO_SMALL = _waits(
    "PoolTooSmall",
    False,
    "the job needs more nodes than the pool may have, or more GPUs in one pod than a node has",
    "ask for fewer `cluster.workers`, fewer GPUs in a pod (`cluster.workersPerNode`), or raise "
    "the pool's `maxNodes`",
)
POOL_DRIVER_FAILING = _waits(
    "PoolDriverFailing",
    True,
    "what stands behind the pool cannot be asked or changed: its object is gone, the cloud denies "
    "or throttles, nodes do not come",
    "`astroctl pools describe` shows what it said",
)
POOL_PAUSED = _waits(
    "PoolPaused",
    False,
    "the pool is paused: nobody adds nodes",
    "set `paused: false` in the pool",
)
SCALING_UP = _waits(
    "ScalingUp",
    True,
    "more nodes were asked for and are on their way",
    "nothing; the message says how long it took last time",
)
NODES_BOOTING = _waits(
    "NodesBooting",
    True,
    "new nodes are there and not ready yet: drivers, images",
    "nothing; `kubectl get nodes` shows their state",
)
POOL_OVER_BUDGET = _waits(
    "PoolOverBudget",
    True,
    "more nodes would cost more than the pool's budget an hour or for one job allows",
    "wait for other jobs of the pool to end, or raise `budget` in the pool",
)
POOL_AT_MAXIMUM = _waits(
    "PoolAtMaximum",
    True,
    "the pool, or the node group of another autoscaler, has as many nodes as it may",
    "wait for other jobs of the pool to end, use another pool, or raise its maximum",
)
WAITING_FOR_GANG = _waits(
    "WaitingForGang",
    True,
    "the gang scheduler waits until there is room for all pods at once",
    "nothing, or ask for fewer workers",
)
INSUFFICIENT_GPU = _waits(
    "InsufficientGPU",
    True,
    "no node has enough free GPUs for one of the pods",
    "wait for other pods to end, ask for fewer GPUs in a pod, or add nodes",
)
INSUFFICIENT_MEMORY = _waits(
    "InsufficientMemory",
    True,
    "no node that fits otherwise has enough free memory for one of the pods",
    "lower `cluster.resourcesPerWorker.memory` or use larger nodes",
)
INSUFFICIENT_CPU = _waits(
    "InsufficientCPU",
    True,
    "no node that fits otherwise has enough free CPU for one of the pods",
    "lower `cluster.resourcesPerWorker.cpu` or use larger nodes",
)
UNSCHEDULABLE = _waits(
    "Unschedulable",
    True,
    "no node takes the pods, for another reason, which the message gives",
    "`kubectl describe pod` shows the scheduler's words",
)
PULLING_IMAGE = _waits(
    "PullingImage",
    True,
    "a node pulls the image; GPU images take minutes on a new node",
    "nothing; a registry near the cluster or images on the nodes make it faster",
)
HEAD_NOT_READY = _waits(
    "HeadNotReady",
    True,
    "the head pod runs and does not answer its readiness probe yet",
    "`kubectl logs` of the head pod if it lasts longer than a minute or two",
)
HEAD_UNREACHABLE = _waits(
    "HeadUnreachable",
    False,
    "the head is ready, and worker pods have been trying to reach it for minutes",
    "a network policy may keep pods of a job from each other (port 6379), or DNS does not answer",
)
WORKERS_NOT_READY = _waits(
    "WorkersNotReady",
    True,
    "worker pods run and do not answer their readiness probe yet",
    "`kubectl logs` of a worker pod if it lasts longer than a minute or two",
)
STARTING = _waits(
    "Starting", True, "pods are being made or the driver is being started; all is well so far", ""
)

DEADLINE_EXCEEDED = _failed(
    "DeadlineExceeded",
    False,
    "the Ray cluster ran longer than `activeDeadlineSeconds`",
    "raise `spec.activeDeadlineSeconds`, then `astroctl resume`: it goes on from the last "
    "checkpoint",
)
INVALID_RAYJOB = _failed(
    "ValidationFailed", False, RAYJOB_INVALID.meaning, "mend the field that the message names"
)
PRE_RUNNING_DEADLINE = _failed(
    "PreRunningDeadlineExceeded",
    True,
    "the job did not start in the time that it was given",
    "CapacityReady says what it waited for",
)
APP_FAILED = _failed(
    "AppFailed",
    True,
    "the driver ended with an error; where it said which, the error's own family decides whether "
    "it is tried again",
    "`astroctl logs` shows the driver's last words",
)
DRIVER_LOST = _failed(
    "DriverLost",
    True,
    "the driver ended without a last word: killed, or its head is gone",
    "`astroctl logs` shows what it said before",
)
HEAD_KILLED_FOR_MEMORY = _failed(
    "HeadOutOfMemory", True, HEAD_OUT_OF_MEMORY.meaning, HEAD_OUT_OF_MEMORY.helps
)
WORKER_KILLED_FOR_MEMORY = _failed(
    "WorkerOutOfMemory",
    False,
    "a worker pod was killed for memory, and restarts inside the cluster did not help",
    WORKER_OUT_OF_MEMORY.helps,
)
POD_EVICTED = _failed(
    "PodEvicted",
    True,
    "a node evicted a pod because it was short of memory, disk or processes",
    "give the pods what they use: memory request equal to limit, and little on the node's disk",
)
POD_PREEMPTED = _failed(
    "PodPreempted",
    True,
    "pods of higher priority, or somebody draining the node, took a pod's place",
    "a priority class (`cluster.kubernetes.priorityClass`) keeps pods in place",
)
NODE_LOST = _failed(
    "NodeLost", True, "a node with pods of the job failed, was shut down or taken back", ""
)
CLUSTER_DELETED = _failed(
    "ClusterDeleted", True, "somebody deleted the RayCluster or the RayJob of the running job", ""
)
DASHBOARD_UNREACHABLE = _failed(
    "JobStatusCheckTimeoutExceeded",
    True,
    "KubeRay could not ask the head's dashboard for five minutes: the head is overloaded, gone or "
    "cut off by a network policy",
    "raise `cluster.kubernetes.head` (cpu, memory); let KubeRay's operator reach port 8265",
)
SUBMISSION_FAILED = _failed(
    "SubmissionFailed",
    True,
    "KubeRay could not hand the job to the head",
    "`kubectl logs` of the head pod; is the image of this project?",
)
RUNTIME_ENV_FAILED = _failed(
    "RuntimeEnvFailed",
    False,
    "Ray could not set up the job's runtime environment",
    "is the image of this project, with the Ray version of the settings?",
)

GPUS_HELD_AFTER_END = _idle(
    "GPUsHeldAfterEnd",
    False,
    "the job has ended and pods of it still hold GPUs",
    "with `reapIdle` in the operator's settings the RayJob is removed, which loses nothing; else "
    "`kubectl delete rayjob`, and see why KubeRay's operator did not",
)
HEARTBEAT_STALLED = _idle(
    "HeartbeatStalled",
    True,
    "the driver has given no sign of life for minutes while the job is said to run",
    "`astroctl logs`; a head that is out of CPU or memory recovers or fails by itself, else "
    "`astroctl stop` and `astroctl resume`",
)
NO_PROGRESS = _idle(
    "NoProgress",
    True,
    "the driver lives and no step was finished for minutes: a hang in communication, slow "
    "storage, a long evaluation or checkpoint",
    "`astroctl logs --rank` of the ranks; `astroctl stop` and `astroctl resume` go on from the "
    "last checkpoint",
)
GPUS_WAIT_FOR_REST = _idle(
    "GPUsWaitForRest",
    True,
    "some worker pods hold GPUs while others, or the head, wait for room",
    "let the job have a gang scheduler (`cluster.kubernetes.scheduler`), a queue, or a pool",
)

WAITING = tuple(_WAITING)
FAILED = tuple(_FAILED)
IDLE = tuple(_IDLE)
