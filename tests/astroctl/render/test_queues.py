from __future__ import annotations

from typing import Any

import pytest

from astroctl.render.queues import scheduling_annotations, scheduling_labels
from astroctl.render.settings import Settings
from astrosage.errors import SpecError
from astrosage.spec.cluster import Cluster


def labels(settings: Settings | None = None, **cluster: Any) -> dict[str, str]:
    asked = Cluster.model_validate(cluster)
    return scheduling_labels("small-0-1", "science", asked, settings or Settings())


def annotations(settings: Settings | None = None, **cluster: Any) -> dict[str, str]:
    return scheduling_annotations(Cluster.model_validate(cluster), settings or Settings())


def test_no_queue_and_no_scheduler_need_nothing() -> None:
    assert labels() == {}
    assert annotations(workers={"min": 1, "max": 2}) == {}


def test_a_queue_is_kueues() -> None:
    assert labels(queue="gpu") == {"kueue.x-k8s.io/queue-name": "gpu"}
    assert labels(Settings(queue="all")) == {"kueue.x-k8s.io/queue-name": "all"}
    assert labels(Settings(queue="all"), queue="gpu") == {"kueue.x-k8s.io/queue-name": "gpu"}


def test_only_elastic_jobs_say_so_to_kueue() -> None:
    elastic = {"workers": {"min": 1, "max": 2}, "queue": "gpu"}
    assert annotations(**elastic) == {"kueue.x-k8s.io/elastic-job": "true"}
    assert annotations(queue="gpu") == {}
    assert annotations(**elastic, kubernetes={"scheduler": "volcano"}) == {}


def test_a_queue_without_kueue_is_refused() -> None:
    with pytest.raises(SpecError, match=r"spec\.cluster\.queue: `gpu` is a Kueue queue"):
        labels(Settings(kueue="off"), queue="gpu")
    assert labels(Settings(kueue="off")) == {}


@pytest.mark.parametrize(
    ("scheduler", "expected"),
    [
        (
            "volcano",
            {
                "ray.io/scheduler-name": "volcano",
                "ray.io/priority-class-name": "high",
                "volcano.sh/queue-name": "gpu",
            },
        ),
        ("kai", {"kai.scheduler/queue": "gpu"}),
        ("scheduler-plugins", {"kueue.x-k8s.io/queue-name": "gpu"}),
    ],
)
def test_gang_schedulers_have_their_own_labels(scheduler: str, expected: dict[str, str]) -> None:
    asked = {"scheduler": scheduler, "priorityClass": "high"}
    found = labels(queue="gpu", kubernetes=asked)
    assert found == {"ray.io/gang-scheduling-enabled": "true", **expected}


def test_yunikorns_application_is_unique_in_the_cluster() -> None:
    asked = Cluster.model_validate({"kubernetes": {"scheduler": "yunikorn"}, "queue": "root.gpu"})
    one = scheduling_labels("a" * 47, "n" * 40, asked, Settings())
    other = scheduling_labels("a" * 47, "m" * 40, asked, Settings())
    key = "yunikorn.apache.org/app-id"
    assert one[key] != other[key]
    assert max(len(one[key]), len(other[key])) <= 63
    assert one["yunikorn.apache.org/queue"] == "root.gpu"


def test_kai_needs_a_queue() -> None:
    with pytest.raises(SpecError, match="the KAI scheduler schedules nothing without a queue"):
        labels(kubernetes={"scheduler": "kai"})
