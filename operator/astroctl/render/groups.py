"""Groups of stages: each runs on one Ray cluster, booted once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from astrosage.errors import SpecError
from astrosage.spec import graph
from astrosage.spec.base import did_you_mean
from astrosage.spec.cluster import Cluster
from astrosage.spec.job import AstroJob
from astrosage.spec.stages import Stage


@dataclass(frozen=True)
class Group:
    """Consecutive stages that want the same cluster.

    Attributes:
        index: From 0.
        stages: Their names, in running order.
        cluster: What they run on.
    """

    index: int
    stages: tuple[str, ...]
    cluster: Cluster


def groups(job: AstroJob, stage_names: Sequence[str] | None = None) -> list[Group]:
    """The job's stages in running order, cut where the cluster changes.

    Args:
        job: The job.
        stage_names: Only these stages; their order does not matter.

    Raises:
        SpecError: If a named stage does not exist, or stages need each other in a circle.
    """
    made: list[Group] = []
    for stage in _chosen(job, stage_names):
        cluster = job.cluster_of(stage)
        last = made[-1] if made else None
        if last is not None and last.cluster == cluster:
            made[-1] = Group(last.index, (*last.stages, stage.name), cluster)
        else:
            made.append(Group(len(made), (stage.name,), cluster))
    return made


def _chosen(job: AstroJob, names: Sequence[str] | None) -> list[Stage]:
    ordered = graph.order(job)
    if names is None:
        return ordered
    known = [s.name for s in ordered]
    for name in names:
        if name not in known:
            raise SpecError(
                f"metadata.annotations[astrosage.io/stages]: there is no stage `{name}`",
                did_you_mean(name, known),
            )
    return [s for s in ordered if s.name in names]
