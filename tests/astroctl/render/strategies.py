"""Generated jobs, pools and settings: all that the vocabulary allows."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from astroctl.render.settings import Settings
from astrosage.spec.cluster import Cluster, Elastic, Resources
from astrosage.spec.job import AstroJob
from astrosage.spec.kubernetes import Head, Kubernetes, SecretKey, Toleration, Variable
from astrosage.spec.load import parse
from astrosage.spec.pool import GPUNodePool, Network, PoolMetadata, PoolReference, PoolSpec


def _pool_spec(**fields: Any) -> PoolSpec:
    # Its signature has aliases, from which required fields would be made once more.
    return PoolSpec(**fields)


names = st.from_regex(r"\A[a-z]([-a-z0-9]{0,38}[a-z0-9])?\Z")
stages = st.sampled_from(["corpus", "chat", "s" * 40, "z-9"])
objects = st.sampled_from(["a", "0", "some-object", "x" * 40])
label_keys = st.sampled_from(["role", "example.org/Kind", "kubernetes.io/arch"])
label_values = st.sampled_from(["a", "0", "true", "A_b.c-d", "v" * 63])
labels = st.dictionaries(label_keys, label_values, max_size=3)
sizes = st.sampled_from(["512Mi", "6Gi", "1.5Gi", "16G", "7000000000", "112Gi"])
texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)
variables = st.lists(
    st.one_of(
        st.builds(
            Variable,
            name=st.sampled_from(["HF_TOKEN", "NCCL_DEBUG", "ASTROSAGE_CACHE", "x"]),
            value=texts,
        ),
        st.builds(
            Variable,
            name=st.sampled_from(["HF_TOKEN", "NCCL_DEBUG", "ASTROSAGE_CACHE", "x"]),
            secret=st.builds(SecretKey, name=objects, key=st.just("key")),
        ),
    ),
    max_size=4,
)
tolerations = st.lists(
    st.one_of(
        st.builds(Toleration, key=label_keys, effect=st.sampled_from([None, "NoSchedule"])),
        st.builds(Toleration, key=label_keys, operator=st.just("Equal"), value=label_values),
    ),
    max_size=3,
)
workers = st.one_of(
    st.integers(1, 64),
    st.tuples(st.integers(1, 16), st.integers(0, 16)).map(
        lambda pair: Elastic(min=pair[0], max=pair[0] + pair[1])
    ),
)
optional = st.none() | objects
pod_options = st.builds(
    Kubernetes,
    image=st.none() | st.just("registry.example.org/ray:1"),
    image_pull_policy=st.sampled_from([None, "Always", "Never"]),
    image_pull_secrets=st.none() | st.lists(objects, max_size=2),
    service_account=optional,
    priority_class=optional,
    node_selector=labels,
    tolerations=tolerations,
    env=variables,
    env_from_secrets=st.lists(objects, max_size=2),
    head=st.builds(Head, cpu=st.floats(0.1, 8), memory=sizes, node_selector=labels),
    shared_memory=st.none() | st.just("128Mi"),
    scheduler=st.sampled_from(["default", "volcano", "yunikorn", "scheduler-plugins"]),
    termination_grace_seconds=st.integers(0, 3600),
    pod_labels=labels,
    pod_annotations=st.dictionaries(label_keys, texts, max_size=2),
)
clusters = st.builds(
    Cluster,
    workers=workers,
    resources_per_worker=st.builds(
        Resources,
        cpu=st.floats(0.1, 64),
        gpu=st.sampled_from([0, 0.25, 0.5, 1, 2, 8]),
        memory=st.none() | sizes,
    ),
    workers_per_node=st.none() | st.integers(1, 8),
    queue=optional,
    kubernetes=pod_options,
)
settings = st.builds(
    Settings,
    image_pull_secrets=st.lists(objects, max_size=2),
    service_account=optional,
    priority_class=optional,
    env=variables,
    env_from_secrets=st.lists(objects, max_size=2),
    worker_node_selector=labels,
    worker_tolerations=tolerations,
    run_as_user=st.sampled_from([None, 1000]),
    fs_group=st.sampled_from([None, 1000]),
    cpu_limits=st.booleans(),
    ipc_lock=st.booleans(),
    queue=optional,
    job_ttl_seconds=st.integers(0, 3600),
)
pools = st.builds(
    GPUNodePool,
    metadata=st.builds(PoolMetadata, name=objects),
    spec=st.builds(
        _pool_spec,
        driver=st.just("karpenter"),
        reference=st.just(PoolReference(name="pool")),
        max_nodes=st.integers(1, 64),
        gpus_per_node=st.integers(0, 16),
        cpus_per_node=st.none() | st.floats(1, 256),
        memory_per_node=st.none() | st.sampled_from(["64Gi", "1900Gi"]),
        gpu_resource=st.sampled_from(["nvidia.com/gpu", "amd.com/gpu", "gpu.intel.com/i915"]),
        price_per_hour=st.none() | st.floats(0, 100),
        spot=st.booleans(),
        boot_seconds=st.integers(1, 3600),
        node_selector=labels,
        tolerations=tolerations,
        network=st.builds(
            Network,
            resources=st.dictionaries(
                st.sampled_from(["rdma/hca", "vpc.amazonaws.com/efa"]),
                st.integers(1, 32),
                max_size=2,
            ),
            env=variables,
        ),
    ),
)
storages = st.sampled_from(
    ["s3://bucket/prefix", "gs://bucket", "az://container/a b", "pvc://claim", "pvc://claim/a/b/"]
)


@st.composite
def jobs(draw: st.DrawFn) -> AstroJob:
    job = parse(
        {
            "apiVersion": "astrosage.io/v1alpha1",
            "kind": "AstroJob",
            "metadata": {"name": draw(names), "namespace": draw(names)},
            "spec": {
                "model": "s3://models/base",
                "storage": draw(storages),
                "activeDeadlineSeconds": draw(st.none() | st.integers(1, 10**6)),
                "stages": [
                    {"name": name, "prepare": {"sources": [{"path": f"s3://texts/{draw(texts)}"}]}}
                    for name in draw(st.lists(stages, min_size=1, max_size=3, unique=True))
                ],
            },
        }
    )
    job.spec.cluster = draw(clusters)
    for stage in job.spec.stages:
        stage.cluster = draw(st.none() | clusters)
    return job
