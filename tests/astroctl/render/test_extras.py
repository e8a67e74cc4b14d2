from __future__ import annotations

import base64
from typing import Any

from astroctl.render.extras import disruption_budgets, token_secret
from astroctl.render.groups import groups
from astroctl.render.names import owner_reference
from astroctl.render.rayjob import rayjob
from astroctl.render.settings import Settings
from tests.astroctl.render.reference import SPOT_H100, UID, small


def budgets(**cluster: Any) -> list[tuple[str, int]]:
    job = small(**cluster)
    (group,) = groups(job)
    found = disruption_budgets(job, group)
    return [(b["metadata"]["name"], b["spec"]["minAvailable"]) for b in found]


def test_the_head_is_never_evicted_and_workers_one_at_a_time() -> None:
    assert budgets(workers=1) == [("small-0-head", 1)]
    assert budgets(workers=4) == [("small-0-head", 1), ("small-0-worker", 3)]
    assert budgets(workers=4, workersPerNode=2)[1] == ("small-0-worker", 1)
    assert budgets(workers={"min": 3, "max": 9})[1] == ("small-0-worker", 2)


def test_pods_of_a_pool_are_counted_as_they_are_made() -> None:
    job, pool = SPOT_H100.job, SPOT_H100.pools["h100-spot"]
    owner = owner_reference(job.metadata.name, UID)
    head, worker = disruption_budgets(job, groups(job)[1], owner, pool)
    assert (head["spec"]["minAvailable"], worker["spec"]["minAvailable"]) == (1, 1)
    assert worker["metadata"]["ownerReferences"] == [owner]


def test_budgets_select_the_pods() -> None:
    job = small(workers=2)
    (group,) = groups(job)
    cluster = rayjob(job, group, 1, settings=Settings())["spec"]["rayClusterSpec"]
    templates = [cluster["headGroupSpec"], cluster["workerGroupSpecs"][0]]
    for budget, part in zip(disruption_budgets(job, group), templates, strict=True):
        wanted = dict(budget["spec"]["selector"]["matchLabels"])
        wanted.pop("ray.io/node-type")  # KubeRay adds it
        assert wanted.items() <= part["template"]["metadata"]["labels"].items()


def test_the_tokens_secret() -> None:
    secret = token_secret(small(), "tököna", owner_reference("small", UID))
    assert secret["metadata"]["name"] == "small-ray-token"
    assert secret["metadata"]["labels"]["astrosage.io/job"] == "small"
    assert base64.b64decode(secret["data"]["auth_token"]).decode() == "tököna"
    assert secret["immutable"] is True
