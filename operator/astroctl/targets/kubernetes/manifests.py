"""Everything that a job becomes on a cluster, as plain manifests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from astroctl.kube.client import Object
from astroctl.render import extras
from astroctl.render.fit import fit
from astroctl.render.groups import Group, groups
from astroctl.render.linter import lint
from astroctl.render.problems import refuse
from astroctl.render.rayjob import rayjob
from astroctl.render.settings import Settings
from astroctl.render.storage import storage_of
from astroctl.targets.kubernetes.account import STAGES
from astrosage.spec import graph
from astrosage.spec.job import AstroJob
from astrosage.spec.pool import GPUNodePool
from astrosage.spec.stages import Stage

PLACEHOLDER = "REPLACE-WITH-A-RANDOM-TOKEN"


@dataclass(frozen=True)
class Manifests:
    """What a job becomes.

    Attributes:
        astrojob: The object that a person creates.
        rayjobs: What the operator makes of it, the first attempt of each group of stages.
        secret: The Secret with Ray's token; the token in it is a placeholder.
        budgets: PodDisruptionBudgets.
    """

    astrojob: Object
    rayjobs: list[Object]
    secret: Object
    budgets: list[Object]

    def chosen(self, what: str) -> list[Object]:
        """``astrojob``, ``rayjob`` (all that runs without the operator) or ``all``."""
        made = [self.secret, *self.budgets, *self.rayjobs]
        return {"astrojob": [self.astrojob], "rayjob": made, "all": [self.astrojob, *made]}[what]


def manifests(
    job: AstroJob,
    stages: Sequence[Stage],
    settings: Settings,
    pools: Mapping[str, GPUNodePool],
) -> Manifests:
    """Render and check a job.

    Args:
        job: It, with the storage that it will have.
        stages: Those that shall run.
        settings: The installation's.
        pools: GPUNodePools that are known, by name.

    Raises:
        SpecError: The first thing that KubeRay or Kubernetes would refuse, naming its field.
    """
    found = groups(job, [s.name for s in stages])
    made = []
    for group in found:
        mine = _pools(group, pools)
        if mine["pool"] is not None:
            refuse(fit(job, group, mine["pool"]))
        manifest = rayjob(job, group, 1, settings=settings, **mine)
        refuse(lint(manifest))
        made.append(manifest)
    budgets = [
        b
        for group in found
        for b in extras.disruption_budgets(job, group, pool=_pools(group, pools)["pool"])
    ]
    return Manifests(astrojob(job, stages), made, extras.token_secret(job, PLACEHOLDER), budgets)


def astrojob(job: AstroJob, stages: Sequence[Stage]) -> Object:
    """The object; with an annotation if not all stages shall run."""
    data = job.to_yaml_dict()
    annotations = dict(data["metadata"].get("annotations") or {})
    annotations.pop(STAGES, None)
    if (chosen := stages_annotation(job, [s.name for s in stages])) is not None:
        annotations[STAGES] = chosen
    metadata = {**data["metadata"], "annotations": annotations}
    data["metadata"] = {k: v for k, v in metadata.items() if v}
    return data


def stages_annotation(job: AstroJob, names: Sequence[str]) -> str | None:
    """The annotation's value for these stages; None for all of them."""
    every = [s.name for s in graph.order(job)]
    chosen = [n for n in every if n in names]
    return None if chosen == every else ",".join(chosen)


def with_storage(job: AstroJob, settings: Settings) -> AstroJob:
    """The job with the storage that it has on the cluster.

    Raises:
        SpecError: If pods cannot use it.
    """
    storage = storage_of(job, settings)
    return job.model_copy(update={"spec": job.spec.model_copy(update={"storage": storage})})


def pool_names(job: AstroJob, stages: Sequence[Stage]) -> Iterator[tuple[str, str]]:
    """``(field, pool)`` of every pool that these stages name."""
    seen = set()
    for stage in stages:
        pool = job.cluster_of(stage).pool
        field = cluster_field(job, stage) + ".pool"
        if pool is not None and field not in seen:
            seen.add(field)
            yield field, pool


def cluster_field(job: AstroJob, stage: Stage) -> str:
    """Where a stage's cluster is written in the run file."""
    return f"{graph.path_of(job, stage)}.cluster" if stage.cluster else "spec.cluster"


def _pools(group: Group, pools: Mapping[str, GPUNodePool]) -> dict[str, Any]:
    pool = pools.get(group.cluster.pool or "")
    fallback = pools.get(pool.spec.fallback or "") if pool else None
    return {"pool": pool, "fallback": fallback}
