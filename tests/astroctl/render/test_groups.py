from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings

from astroctl.render.groups import groups
from astroctl.render.names import rayjob_name
from astrosage.errors import SpecError
from astrosage.spec import graph
from astrosage.spec.job import AstroJob
from tests.astroctl.render import strategies
from tests.astroctl.render.reference import SPOT_H100


def test_stages_are_cut_where_the_cluster_changes() -> None:
    found = groups(SPOT_H100.job)
    assert [(g.index, g.stages) for g in found] == [(0, ("corpus",)), (1, ("cpt", "score"))]
    assert found[1].cluster == SPOT_H100.job.spec.cluster


def test_a_cluster_that_is_written_twice_is_one() -> None:
    job = SPOT_H100.job.model_copy(deep=True)
    job.stage("corpus").cluster = job.spec.cluster.model_copy(deep=True)
    assert [g.stages for g in groups(job)] == [("corpus", "cpt", "score")]


def test_only_the_wanted_stages_run() -> None:
    assert [g.stages for g in groups(SPOT_H100.job, ["score", "corpus"])] == [
        ("corpus",),
        ("score",),
    ]
    assert groups(SPOT_H100.job, []) == []


def test_an_unknown_stage_is_told() -> None:
    with pytest.raises(SpecError, match="there is no stage `ctp`") as caught:
        groups(SPOT_H100.job, ["ctp"])
    assert "did you mean `cpt`?" in caught.value.hint


@given(strategies.jobs())
@settings(max_examples=30, deadline=None)
def test_groups_are_the_stages_in_order(job: AstroJob) -> None:
    found = groups(job)
    assert [n for g in found for n in g.stages] == [s.name for s in graph.order(job)]
    assert [g.index for g in found] == list(range(len(found)))
    for group in found:
        assert all(job.cluster_of(job.stage(n)) == group.cluster for n in group.stages)
    for one, other in itertools.pairwise(found):
        assert one.cluster != other.cluster


def test_a_name_that_gets_too_long_is_told() -> None:
    job = SPOT_H100.job.model_copy(deep=True)
    job.metadata.name = "a" * 40
    group = groups(job)[0]
    assert len(rayjob_name(job, group, 9999)) == 47
    with pytest.raises(SpecError, match="at most 47"):
        rayjob_name(job, group, 10000)
