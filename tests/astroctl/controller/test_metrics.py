"""What Prometheus is told."""

from __future__ import annotations

from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from astroctl.controller.metrics import Metrics
from tests.astroctl.controller.made import NOW, ago

ORDER = ("namespace", "name", "phase", "pool", "state", "reason", "le")


class Seen:
    def __init__(self, jobs: list[Any], pools: list[Any]) -> None:
        self._jobs, self._pools = jobs, pools

    def jobs(self) -> list[Any]:
        return self._jobs

    def pools(self) -> list[Any]:
        return self._pools


def job(name: str, phase: str | None, **status: Any) -> dict[str, Any]:
    told = {"phase": phase, **status} if phase else {}
    return {"metadata": {"namespace": "lab", "name": name}, "status": told}


RUNNING = job(
    "astro",
    "Running",
    costUSD=12.5,
    progress={
        "step": 25,
        "total": 100,
        "mfu": 0.41,
        "tokensPerSecond": 9800.5,
        "heartbeat": ago(90),
    },
)
POOL = {
    "metadata": {"name": "h100"},
    "spec": {"budget": {"perHour": 100}},
    "status": {"current": 3, "desired": 4, "ready": 2, "pendingGPUs": 16, "spendUSD": 812.25},
}


def samples(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """Value by name and label values, as Prometheus reads them."""
    return {
        (sample.name, *(sample.labels[k] for k in ORDER if k in sample.labels)): sample.value
        for family in text_string_to_metric_families(metrics.text().decode())
        for sample in family.samples
    }


def leader(jobs: list[Any], pools: list[Any]) -> Metrics:
    metrics = Metrics(Seen(jobs, pools), clock=lambda: NOW)
    metrics.leading = True
    return metrics


def test_jobs() -> None:
    told = samples(leader([RUNNING, job("new", None)], []))
    assert told["astrosage_job_info", "lab", "astro", "Running"] == 1
    assert told["astrosage_job_info", "lab", "new", "Pending"] == 1
    assert told["astrosage_job_progress_ratio", "lab", "astro"] == 0.25
    assert told["astrosage_job_heartbeat_age_seconds", "lab", "astro"] == 90
    assert told["astrosage_job_mfu", "lab", "astro"] == 0.41
    assert told["astrosage_job_tokens_per_second", "lab", "astro"] == 9800.5
    assert told["astrosage_job_cost_usd", "lab", "astro"] == 12.5
    assert ("astrosage_job_mfu", "lab", "new") not in told


def test_ended_jobs_have_no_speed_and_no_heartbeat() -> None:
    """Else an alert on old heartbeats would ring for every job that is done."""
    ended = {**RUNNING, "status": {**RUNNING["status"], "phase": "Succeeded"}}
    told = samples(leader([ended], []))
    assert told["astrosage_job_cost_usd", "lab", "astro"] == 12.5
    for name in ("heartbeat_age_seconds", "mfu", "tokens_per_second"):
        assert (f"astrosage_job_{name}", "lab", "astro") not in told


def test_pools() -> None:
    metrics = leader([], [POOL, {"metadata": {"name": "new"}}])
    metrics.idle_gpus = {"h100": 8}
    told = samples(metrics)
    assert told["astrosage_pool_nodes", "h100", "current"] == 3
    assert told["astrosage_pool_nodes", "h100", "desired"] == 4
    assert told["astrosage_pool_nodes", "h100", "ready"] == 2
    assert told["astrosage_pool_pending_gpus", "h100"] == 16
    assert told["astrosage_pool_idle_gpus", "h100"] == 8
    assert told["astrosage_pool_spend_usd", "h100"] == 812.25
    assert told["astrosage_pool_budget_usd_per_hour", "h100"] == 100
    assert not [key for key in told if "new" in key]


def test_who_does_not_lead_tells_nothing_of_jobs() -> None:
    """Two replicas are scraped; sums over both must not count a job twice."""
    metrics = Metrics(Seen([RUNNING], [POOL]), clock=lambda: NOW)
    told = samples(metrics)
    assert told["astrosage_leader",] == 0
    assert not [key for key in told if key[0].startswith(("astrosage_job", "astrosage_pool"))]
    metrics.leading = True
    assert samples(metrics)["astrosage_leader",] == 1


def test_its_own_work() -> None:
    metrics = leader([], [])
    for took in (0.004, 0.004, 2.0):
        metrics.looked(took)
    metrics.failed("ApiError")
    told = samples(metrics)
    assert told["astrosage_reconcile_seconds_count",] == 3
    assert told["astrosage_reconcile_seconds_bucket", "0.005"] == 2
    assert told["astrosage_reconcile_errors_total", "ApiError"] == 1


def test_names_with_quotes_cannot_break_the_page() -> None:
    odd = job("astro", "Running")
    odd["metadata"]["namespace"] = 'l"ab\\\n'
    told = samples(leader([odd], []))
    assert told["astrosage_job_info", 'l"ab\\\n', "astro", "Running"] == 1


def test_page() -> None:
    status, kind, body = leader([RUNNING], []).page()
    assert (status, kind.partition(";")[0]) == (200, "text/plain")
    assert b"astrosage_job_info" in body
