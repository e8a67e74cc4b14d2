"""Every cause of waiting, from objects as clusters write them."""

from __future__ import annotations

import dataclasses

import pytest

from astroctl.controller.pending import explain
from astroctl.controller.why import reasons
from astroctl.controller.why.facts import CapacityFacts
from tests.astroctl.controller.made import (
    CLUSTER,
    ago,
    condition,
    event,
    facts,
    head,
    killed,
    node,
    pod,
    pool,
    rayjob,
    running,
    waits,
    workload,
)

IMAGE = "registry.example.org/astrosage/ray:1.0"
NO_GPU = (
    "0/12 nodes are available: 4 node(s) had untolerated taint {gpu: reserved}, "
    "8 Insufficient nvidia.com/gpu. preemption: 0/12 nodes are available: "
    "4 Preemption is not helpful for scheduling, 8 No preemption victims found for incoming pod."
)
GATED = pod(
    said="Scheduling is blocked due to non-empty scheduling gates",
    scheduling="SchedulingGated",
    schedulingGates=[{"name": "kueue.x-k8s.io/topology"}],
)


def queued(*conditions: dict, **more: object) -> CapacityFacts:
    job = rayjob("Suspended", suspend=True, queue="team-a")
    return facts(job, workload=workload(*conditions, **more))


def refusal(message: str, *pods: dict) -> CapacityFacts:
    failure = condition("ReplicaFailure", "True", "FailedCreateWorkerPod", message)
    return facts(rayjob(cluster_conditions=[failure]), *(pods or (head(),)))


def workers(*said: str, **more: object) -> CapacityFacts:
    pods = [pod(f"worker-{i}", said=text) for i, text in enumerate(said)]
    return facts(rayjob(workers=len(said)), head(), *pods, **more)


def unscheduled(said: str, *events: dict, **more: object) -> CapacityFacts:
    return facts(rayjob(workers=1), head(), pod(said=said), events=events, **more)


CASES: list[tuple[str, CapacityFacts, str]] = [
    # (reason, facts, part of the message)
    (
        "Ready",
        facts(rayjob("Running", "RUNNING", ready_workers=4)),
        "4 of 4 worker pods are ready",
    ),
    (
        "RayJobInvalid",
        facts(
            rayjob(
                "ValidationFailed",
                message="RayJob spec is invalid: the RayJob name length 48 exceeds 47",
            )
        ),
        "name length 48 exceeds 47",
    ),
    ("PoolNotFound", facts(rayjob(), pool_name="a100"), "names a100"),
    ("KubeRayNotResponding", facts(rayjob("")), "made at 12:00:00 UTC"),
    (
        "KueueNotResponding",
        facts(
            rayjob("Suspended", suspend=True, queue="team-a"),
            queue={"metadata": {"name": "team-a"}},
        ),
        "no Workload",
    ),
    (
        "QueueNotFound",
        facts(rayjob("Suspended", suspend=True, queue="team-a")),
        "no LocalQueue team-a",
    ),
    (
        "QueueNotFound",
        queued(
            condition("QuotaReserved", "False", "Inadmissible", "LocalQueue team-a doesn't exist")
        ),
        "LocalQueue team-a doesn't exist",
    ),
    (
        "QueueInactive",
        queued(condition("QuotaReserved", "False", "Inadmissible", "ClusterQueue gpu is inactive")),
        "ClusterQueue gpu is inactive",
    ),
    (
        "QueueInactive",
        queued(condition("QuotaReserved", "False", "Suspended", "The LocalQueue is on hold")),
        "on hold",
    ),
    (
        "QueueTooSmall",
        queued(
            condition(
                "QuotaReserved",
                "False",
                "Pending",
                "couldn't assign flavors to pod set workers: insufficient quota for nvidia.com/gpu "
                "in flavor h100, previously considered podsets requests (0) + current podset "
                "request (32) > maximum capacity (16)",
            )
        ),
        "request (32) > maximum capacity (16)",
    ),
    (
        "WorkloadDeactivated",
        queued(
            condition(
                "Evicted",
                "True",
                "DeactivatedDueToRequeuingLimitExceeded",
                "The workload is deactivated due to exceeding the maximum number of re-queuing "
                "retries",
            ),
            spec={"active": False},
        ),
        "maximum number of re-queuing retries",
    ),
    (
        "WaitingForQuota",
        queued(
            condition(
                "QuotaReserved",
                "False",
                "Pending",
                "couldn't assign flavors to pod set workers: insufficient unused quota for "
                "nvidia.com/gpu in flavor h100, 16 more needed",
            )
        ),
        "queue team-a has not enough free quota: 16 nvidia.com/gpu (flavor h100) more needed",
    ),
    ("WaitingForQuota", queued(), "waits in queue team-a"),
    (
        "EvictedByQueue",
        queued(
            condition(
                "Evicted",
                "True",
                "Preempted",
                "Preempted to accommodate a workload (UID: 5c) due to prioritization in the "
                "ClusterQueue",
            ),
            condition("QuotaReserved", "False", "Pending", "Preempted to accommodate a workload"),
        ),
        "took the quota of queue team-a back (Preempted: ",
    ),
    (
        "WaitingForAdmission",
        queued(
            condition("QuotaReserved", "True", "QuotaReserved", "Quota reserved"),
            admissionChecks=[
                {"name": "provision", "state": "Pending", "message": "Provisioning is in progress"}
            ],
        ),
        "admission checks wait: provision is Pending (Provisioning is in progress)",
    ),
    (
        "WaitingForAdmission",
        facts(rayjob(workers=1), head(), GATED),
        "kueue.x-k8s.io/topology holds the scheduler back",
    ),
    (
        "QuotaExceeded",
        refusal(
            "FailedCreateWorkerPod\n"
            f'pods "{CLUSTER}-workers-worker-z" is forbidden: exceeded quota: gpu-quota, '
            "requested: requests.nvidia.com/gpu=8, used: requests.nvidia.com/gpu=24, "
            "limited: requests.nvidia.com/gpu=24",
            head(),
            pod("worker-0", node="gpu-1", ready=True),
        ),
        "3 of 4 worker pods cannot be made: quota gpu-quota of the namespace allows "
        "requests.nvidia.com/gpu=24; requests.nvidia.com/gpu=24 is used and a pod asks for "
        "requests.nvidia.com/gpu=8",
    ),
    (
        "PodSecurityDenied",
        facts(
            rayjob(),
            events=[
                event(
                    "FailedToCreateHeadPod",
                    f"Failed to create head Pod lab/{CLUSTER}-head, pods "
                    f'"{CLUSTER}-head" is forbidden: violates PodSecurity "restricted:latest": '
                    'unrestricted capabilities (container "ray" must set '
                    'securityContext.capabilities.drop=["ALL"])',
                    about=CLUSTER,
                    kind="RayCluster",
                )
            ],
        ),
        "the head pod cannot be made: pod security restricted:latest is violated: "
        "unrestricted capabilities",
    ),
    (
        "ServiceAccountMissing",
        refusal(
            'FailedCreateWorkerPod pods "w-" is forbidden: error looking up service account '
            'lab/trainer: serviceaccount "trainer" not found'
        ),
        "no service account trainer",
    ),
    (
        "ServiceAccountMissing",
        facts(
            rayjob(),
            events=[
                event(
                    "AutoscalerServiceAccountNotFound",
                    f"Failed to reconcile RayCluster lab/{CLUSTER}. If users specify "
                    "ServiceAccountName for the head Pod, they need to create a ServiceAccount "
                    "themselves. However, ServiceAccount trainer is not found. Please create one.",
                    about=CLUSTER,
                    kind="RayCluster",
                )
            ],
        ),
        "no service account trainer",
    ),
    (
        "PriorityClassMissing",
        refusal('pods "w-" is forbidden: no PriorityClass with name urgent was found'),
        "no PriorityClass urgent",
    ),
    (
        "AdmissionDenied",
        refusal(
            'admission webhook "validate.kyverno.svc-fail" denied the request: resource Pod was '
            "blocked due to the following policies: require-team-label"
        ),
        "require-team-label",
    ),
    (
        "AdmissionDenied",
        refusal(
            'pods "w-" is forbidden: maximum memory usage per Container is 64Gi, but limit is 256Gi'
        ),
        "4 of 4 worker pods cannot be made: maximum memory usage per Container is 64Gi",
    ),
    (
        "ImageNotFound",
        facts(
            rayjob(),
            pod(
                head=True,
                node="cpu-1",
                states=[
                    waits(
                        "ImagePullBackOff",
                        f'Back-off pulling image "{IMAGE}": ErrImagePull: rpc error: code = '
                        f'NotFound desc = failed to pull and unpack image "{IMAGE}": failed to '
                        f'resolve reference "{IMAGE}": {IMAGE}: not found',
                    )
                ],
            ),
        ),
        f"image {IMAGE} cannot be found (head pod",
    ),
    (
        "ImageNotFound",
        facts(
            rayjob(),
            head(),
            pod(
                node="gpu-1",
                states=[waits("ImagePullBackOff", f'Back-off pulling image "{IMAGE}"')],
            ),
            events=[
                event(
                    "Failed",
                    f'Failed to pull image "{IMAGE}": rpc error: code = NotFound desc = failed to '
                    f'pull and unpack image "{IMAGE}": manifest unknown',
                )
            ],
        ),
        "worker pod",
    ),
    (
        "ImageNotFound",
        facts(
            rayjob(),
            pod(
                head=True,
                node="cpu-1",
                states=[waits("InvalidImageName", "couldn't parse image reference")],
            ),
        ),
        "is not a valid name",
    ),
    (
        "ImagePullFailed",
        facts(
            rayjob(),
            pod(
                head=True,
                node="cpu-1",
                states=[
                    waits(
                        "ErrImagePull",
                        f'failed to pull and unpack image "{IMAGE}": failed to resolve reference '
                        f'"{IMAGE}": unexpected status from HEAD request to '
                        "https://registry.example.org/v2/: 401 Unauthorized",
                    )
                ],
            ),
        ),
        "the registry denies image",
    ),
    (
        "ImagePullFailed",
        facts(
            rayjob(),
            pod(
                head=True,
                node="cpu-1",
                states=[
                    waits(
                        "ErrImagePull",
                        f'failed to pull and unpack image "{IMAGE}": failed to copy: write '
                        "/var/lib/containerd/blob: no space left on device",
                    )
                ],
            ),
        ),
        "no space left on device",
    ),
    (
        "SecretMissing",
        facts(
            rayjob(),
            pod(
                head=True,
                node="cpu-1",
                states=[waits("CreateContainerConfigError", 'secret "s3-keys" not found')],
            ),
        ),
        "Secret s3-keys does not exist (head pod",
    ),
    (
        "SecretMissing",
        facts(
            rayjob(),
            pod(
                head=True,
                node="cpu-1",
                states=[
                    waits("CreateContainerConfigError", "couldn't find key token in Secret lab/hub")
                ],
            ),
        ),
        "Secret hub has no key token",
    ),
    (
        "SecretMissing",
        facts(
            rayjob(),
            pod(head=True, node="cpu-1", states=[waits("ContainerCreating")]),
            events=[
                event(
                    "FailedMount",
                    'MountVolume.SetUp failed for volume "ca" : secret "ca-bundle" not found',
                    about=f"{CLUSTER}-head",
                )
            ],
        ),
        "Secret ca-bundle does not exist (volume of pod",
    ),
    (
        "ContainerRefused",
        facts(
            rayjob(),
            pod(
                head=True,
                node="cpu-1",
                states=[
                    waits(
                        "CreateContainerConfigError",
                        "container has runAsNonRoot and image will run as root",
                    )
                ],
            ),
        ),
        "image will run as root",
    ),
    (
        "ContainerRefused",
        facts(
            rayjob(),
            pod(
                head=True,
                node="cpu-1",
                states=[
                    waits(
                        "CreateContainerError",
                        'exec: "ulimit": executable file not found in $PATH: unknown',
                    )
                ],
            ),
        ),
        "executable file not found",
    ),
    (
        "HeadOutOfMemory",
        facts(rayjob(), head(phase="Failed", ready=False, states=[killed()])),
        "was killed for memory (limit 256.0 GiB)",
    ),
    (
        "WorkerOutOfMemory",
        facts(rayjob(), head(), pod(node="gpu-1", ready=False, states=[killed()])),
        "worker pod",
    ),
    (
        "ContainerCrashes",
        facts(
            rayjob(),
            head(
                ready=False,
                states=[
                    waits(
                        "CrashLoopBackOff",
                        "back-off 40s restarting failed container",
                        lastState={"terminated": {"exitCode": 2, "reason": "Error"}},
                    )
                ],
            ),
        ),
        "ended with exit code 2",
    ),
    (
        "VolumeNotBound",
        unscheduled(
            "0/12 nodes are available: pod has unbound immediate PersistentVolumeClaims. "
            "preemption: 0/12 nodes are available: 12 Preemption is not helpful for scheduling.",
            claims=[
                {
                    "metadata": {"name": "runs"},
                    "spec": {"storageClassName": "nfs"},
                    "status": {"phase": "Pending"},
                }
            ],
        ),
        "not bound: runs is Pending (storage class nfs)",
    ),
    (
        "VolumeNotBound",
        unscheduled('0/3 nodes are available: persistentvolumeclaim "runs" not found.'),
        "claim runs does not exist",
    ),
    (
        "VolumeNotBound",
        unscheduled("0/3 nodes are available: 3 node(s) had volume node affinity conflict."),
        "another zone",
    ),
    (
        "VolumeAttachConflict",
        facts(
            rayjob(),
            head(),
            pod(node="gpu-1", states=[waits("ContainerCreating")]),
            events=[
                event(
                    "FailedAttachVolume",
                    'Multi-Attach error for volume "pvc-9dbd" Volume is already exclusively '
                    "attached to one node and can't be attached to another",
                    component="attachdetach-controller",
                )
            ],
        ),
        "volume pvc-9dbd of pod",
    ),
    (
        "VolumeMountFailed",
        facts(
            rayjob(),
            head(),
            pod(node="gpu-1", states=[waits("ContainerCreating")]),
            events=[
                event(
                    "FailedMount",
                    'MountVolume.SetUp failed for volume "runs" : mount failed: exit status 32: '
                    "mount.nfs: Connection timed out",
                )
            ],
        ),
        "mount.nfs: Connection timed out",
    ),
    (
        "UntoleratedTaint",
        workers(
            NO_GPU,
            NO_GPU,
            nodes=[node("gpu-1", taint=("gpu", "reserved")), node("cpu-1", gpus=0)],
        ),
        "2 of 2 worker pods wait: of 1 nodes that could hold one (8 nvidia.com/gpu), 1 are tainted "
        "gpu=reserved",
    ),
    (
        "UntoleratedTaint",
        unscheduled("0/3 nodes are available: 3 node(s) had untolerated taint(s)."),
        "of 3 nodes, 3 are tainted",
    ),
    (
        "NodeSelectorMatchesNothing",
        unscheduled(
            "0/12 nodes are available: 12 node(s) didn't match Pod's node affinity/selector.",
            nodes=[],
        ),
        "none of 12 nodes has",
    ),
    (
        "PoolTooSmall",
        workers(NO_GPU, NO_GPU, pool=pool(spec={"maxNodes": 1})),
        "2 worker pods of 8 GPUs need 2 nodes, and pool h100 may have 1 of 8",
    ),
    (
        "PoolTooSmall",
        workers(NO_GPU, pool=pool(spec={"gpusPerNode": 4})),
        "asks for 8 GPUs, and a node of pool h100 has 4",
    ),
    (
        "PoolDriverFailing",
        workers(
            NO_GPU,
            pool=pool(condition("Ready", "False", "Denied", "eks:UpdateNodegroupConfig denied")),
        ),
        "1 of 1 worker pods wait for pool h100, which fails: eks:UpdateNodegroupConfig denied",
    ),
    (
        "PoolDriverFailing",
        workers(NO_GPU, pool={**pool(), "status": {}}),
        "nobody looks after pool h100",
    ),
    ("PoolPaused", workers(NO_GPU, pool=pool(spec={"paused": True})), "paused with 2 ready nodes"),
    (
        "ScalingUp",
        workers(
            NO_GPU,
            NO_GPU,
            pool=pool(current=2, desired=4, lastScaleTime=ago(120), lastScaleSeconds=430.0),
        ),
        "2 of 2 worker pods wait for pool h100: 2 of 4 nodes are ready; asked for at 12:03:00 UTC; "
        "last time it took 7m10s",
    ),
    (
        "NodesBooting",
        workers(NO_GPU, pool=pool(current=4, desired=4)),
        "2 of 4 nodes are ready",
    ),
    (
        "PoolOverBudget",
        workers(
            NO_GPU,
            pool=pool(condition("Limited", "True", "OverBudget", "3 nodes would cost 90 USD/h")),
        ),
        "3 nodes would cost 90 USD/h",
    ),
    (
        "PoolAtMaximum",
        workers(NO_GPU, pool=pool(current=4, desired=4, ready=4)),
        "has 4 of at most 4 nodes",
    ),
    (
        "ScalingUp",
        unscheduled(
            NO_GPU,
            event(
                "TriggeredScaleUp",
                "pod triggered scale-up: [{gpu-pool 1->2 (max: 8)}]",
                component="cluster-autoscaler",
            ),
        ),
        "scales up: gpu-pool 1->2 (max: 8)",
    ),
    (
        "NodesBooting",
        unscheduled(
            NO_GPU,
            event(
                "Nominated",
                "Pod should schedule on: nodeclaim/h100-9k4qz",
                component="karpenter",
            ),
        ),
        "nodeclaim/h100-9k4qz",
    ),
    (
        "PoolAtMaximum",
        unscheduled(
            NO_GPU,
            event(
                "NotTriggerScaleUp",
                "pod didn't trigger scale-up: 1 max node group size reached, "
                "2 Insufficient nvidia.com/gpu",
                component="cluster-autoscaler",
            ),
        ),
        "node group has reached its maximum",
    ),
    (
        "PoolAtMaximum",
        unscheduled(
            NO_GPU,
            event(
                "FailedScheduling",
                'Failed to schedule pod, incompatible with nodepool "cpu"; all available '
                'instance types exceed limits for nodepool "h100"',
                component="karpenter",
            ),
        ),
        "NodePool h100 has reached its limits",
    ),
    (
        "PoolDriverFailing",
        unscheduled(
            NO_GPU,
            event(
                "NotTriggerScaleUp",
                "pod didn't trigger scale-up: 1 in backoff after failed scale-up",
                component="cluster-autoscaler",
            ),
        ),
        "fails to add nodes",
    ),
    (
        "WaitingForGang",
        unscheduled(
            "3/4 tasks in gang unschedulable: pod group is not ready, 1 Pending, 3 Pipelined, "
            "4 minAvailable"
        ),
        "for the gang scheduler",
    ),
    (
        "InsufficientGPU",
        facts(
            rayjob(),
            head(),
            pod("worker-0", node="gpu-1", ready=True),
            *(pod(f"worker-{i}", said=NO_GPU) for i in (1, 2, 3)),
        ),
        "3 of 4 worker pods wait: 0/12 nodes have 8 free nvidia.com/gpu; 4 are tainted "
        "gpu=reserved",
    ),
    (
        "InsufficientGPU",
        workers(
            "0/2 nodes are available: 2 Insufficient nvidia.com/gpu.",
            nodes=[node("small", gpus=4), node("cpu", gpus=0)],
        ),
        "a pod asks for 8 nvidia.com/gpu, and the largest node has 4 nvidia.com/gpu",
    ),
    (
        "InsufficientMemory",
        workers(
            "0/2 nodes are available: 2 Insufficient memory.",
            nodes=[node("a", memory="128Gi"), node("b", memory="128Gi")],
        ),
        "a pod asks for 256.0 GiB memory, and the largest node has 128.0 GiB memory",
    ),
    (
        "InsufficientCPU",
        facts(
            rayjob(),
            pod(
                head=True,
                said="0/2 nodes are available: 1 Insufficient cpu, 1 node(s) were unschedulable.",
            ),
        ),
        "the head pod waits: 0/2 nodes have 32 free cpu; 1 are cordoned",
    ),
    (
        "Unschedulable",
        unscheduled(
            "0/2 nodes are available: 2 node(s) didn't match pod anti-affinity rules.",
        ),
        "anti-affinity",
    ),
    (
        "PullingImage",
        facts(
            rayjob(),
            head(),
            pod("worker-a", node="gpu-1", states=[waits("PodInitializing")]),
            pod("worker-b", node="gpu-2", states=[waits("PodInitializing")]),
            events=[event("Pulling", f'Pulling image "{IMAGE}"')],
        ),
        "2 worker pods wait for an image on node gpu-1",
    ),
    (
        "HeadNotReady",
        facts(
            rayjob(),
            head(ready=False),
            events=[
                event(
                    "Unhealthy",
                    "Readiness probe failed: success",
                    about=f"{CLUSTER}-head",
                )
            ],
        ),
        "is not ready: Readiness probe failed",
    ),
    (
        "HeadUnreachable",
        facts(
            rayjob(),
            head(),
            pod(node="gpu-1", phase="Pending", states=[running("wait-gcs-ready")]),
        ),
        "1 worker pods still try to reach it",
    ),
    (
        "WorkersNotReady",
        facts(rayjob(), head(), pod(node="gpu-1", ready=False, states=[running()])),
        "1 worker pods run and are not ready",
    ),
    ("Starting", facts(rayjob()), "KubeRay makes"),
    (
        "Starting",
        facts(
            rayjob("Initializing", workers=1),
            head(),
            pod(node="gpu-1", ready=True, states=[running()]),
        ),
        "2 of 2 pods are ready; KubeRay starts the driver",
    ),
]


@pytest.mark.parametrize(
    ("reason", "case", "part"), CASES, ids=[f"{i}-{c[0]}" for i, c in enumerate(CASES)]
)
def test_cause_is_told(reason: str, case: CapacityFacts, part: str) -> None:
    found = explain(case)
    assert (found.reason, part in found.message) == (reason, True), found.message
    assert "\n" not in found.message
    assert found.ready is (reason == "Ready")


def test_every_reason_of_waiting_is_tried() -> None:
    assert {r.name for r in reasons.WAITING} == {c[0] for c in CASES}


def test_what_only_people_can_mend_has_a_hint() -> None:
    for _, case, _ in CASES:
        found = explain(case)
        assert found.passes or found.hint, found.reason


def test_new_things_are_given_time() -> None:
    """Nothing is blamed on a RayJob that KubeRay or Kueue has had no time for."""
    young = ago(10)
    assert explain(facts(rayjob("", created=young))).reason == "Starting"
    held = rayjob("Suspended", suspend=True, queue="team-a", created=young)
    assert explain(facts(held)).reason == "WaitingForAdmission"


def test_before_the_rayjob_there_is_nothing_to_blame() -> None:
    case = dataclasses.replace(facts(), rayjob=None)
    assert explain(case).reason == "Starting"


def test_head_comes_before_workers() -> None:
    bad = waits("InvalidImageName", "couldn't parse")
    case = facts(
        rayjob(),
        pod("worker-a", node="gpu-1", states=[bad]),
        pod(head=True, node="cpu-1", states=[waits("ErrImagePull", "401 Unauthorized")]),
    )
    assert explain(case).message.startswith("the registry denies")


def test_what_must_be_mended_comes_before_what_passes() -> None:
    """A worker with a bad image while others wait for nodes: nodes alone would not help."""
    case = workers(NO_GPU, pool=pool(current=2, desired=4))
    broken = pod("worker-z", node="gpu-1", states=[waits("ErrImagePull", f"{IMAGE}: not found")])
    assert explain(case).reason == "ScalingUp"
    assert explain(dataclasses.replace(case, pods=(*case.pods, broken))).reason == "ImageNotFound"


def test_elastic_job_is_ready_with_its_least_workers() -> None:
    job = rayjob("Running", "RUNNING", workers=4, ready_workers=2)
    assert explain(facts(job, head())).reason != "Ready"
    job["status"]["rayClusterStatus"]["minWorkerReplicas"] = 2
    assert explain(facts(job, head())).reason == "Ready"


def test_old_refusals_do_not_count_when_the_pods_are_there() -> None:
    pods = [pod(f"worker-{i}", node="gpu-1", ready=True, states=[running()]) for i in range(4)]
    old = event("FailedToCreateWorkerPod", "exceeded quota", about=CLUSTER, kind="RayCluster")
    assert explain(facts(rayjob(), head(), *pods, events=[old])).reason == "Starting"


def test_pods_that_are_going_do_not_count() -> None:
    leaving = pod("worker-a", node="gpu-1", ready=False, states=[killed()])
    leaving["metadata"]["deletionTimestamp"] = ago(5)
    assert explain(facts(rayjob(workers=1), head(), leaving)).reason == "Starting"


def test_full_nodes_are_not_blamed_on_taints_of_others() -> None:
    nodes = [node("gpu-1"), node("gpu-2", taint=("gpu", "reserved"))]
    assert explain(workers(NO_GPU, nodes=nodes)).reason == "InsufficientGPU"


def test_taints_of_nodes_that_come_and_go_pass() -> None:
    coming = node("gpu-1", taint=("karpenter.sh/unregistered", ""))
    assert explain(workers(NO_GPU, nodes=[coming])).reason != "UntoleratedTaint"


def test_pool_at_zero_is_not_a_selector_that_matches_nothing() -> None:
    said = "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector."
    empty = pool(current=0, desired=2, ready=0)
    assert explain(workers(said, nodes=[], pool=empty)).reason == "ScalingUp"


@pytest.mark.parametrize(
    ("gang", "code", "reason"),
    [
        ("lab/train/0", "GangTooBig", "PoolTooSmall"),
        ("lab/other/0", "GangTooBig", "InsufficientGPU"),
        ("lab/train/0", "JobBudgetSpent", "PoolOverBudget"),
        ("lab/other/0", "JobBudgetSpent", "InsufficientGPU"),
        ("lab/other/0", "AtMaximum", "PoolAtMaximum"),
        ("lab/other/0", "Stuck", "PoolDriverFailing"),
    ],
)
def test_limits_of_pools_that_are_about_others(gang: str, code: str, reason: str) -> None:
    """A pool tells of the first gang that it holds back, which may be another job's."""
    limited = condition("Limited", "True", code, f"{gang}: pool h100 says so")
    assert explain(workers(NO_GPU, pool=pool(limited))).reason == reason


def test_pool_that_does_not_deliver_is_not_scaling_up() -> None:
    limited = condition("Limited", "True", "Stuck", "nodes asked for have not come")
    case = workers(NO_GPU, pool=pool(limited, current=2, desired=4))
    assert explain(case).reason == "PoolDriverFailing"


def test_head_does_not_wait_for_the_pool() -> None:
    case = facts(rayjob(), pod(head=True, said=NO_GPU), pool=pool(current=4, desired=4, ready=4))
    assert explain(case).reason == "InsufficientGPU"


def test_scheduler_that_is_not_there() -> None:
    case = facts(rayjob(), head(), pod(schedulerName="volcano"))
    found = explain(case)
    assert found.reason == "Unschedulable"
    assert "scheduler volcano has not looked" in found.message
    assert not found.passes


def test_message_stays_the_same_while_nothing_changes() -> None:
    """A status is written when its text changes: time that passes is no change."""
    for _, case, _ in CASES:
        later = dataclasses.replace(case, now=case.now + 20)
        assert explain(case).message == explain(later).message
