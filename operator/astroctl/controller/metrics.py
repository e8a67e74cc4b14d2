"""The operator's metrics for Prometheus: jobs and pools as their status has them, and its own work.

Jobs and pools are read when they are asked for, so that nothing has to be kept in step and what is
gone is not told any more.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from astroctl.kube.client import Object
from astroctl.kube.times import seconds

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_PHASES = ("Pending", "Running", "Suspended", "Succeeded", "Failed", "Stopped")
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_JOB = ("namespace", "name")


class Seen(Protocol):
    """What holds the objects that the watches have seen."""

    def jobs(self) -> list[Object]:
        """All AstroJobs."""

    def pools(self) -> list[Object]:
        """All GPUNodePools."""


class Metrics:
    """All metrics of one operator process.

    Args:
        seen: Jobs and pools.
        clock: Seconds since the epoch.
    """

    def __init__(self, seen: Seen, *, clock: Callable[[], float] = time.time) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_States(self, seen, clock))
        self._seconds = Histogram(
            "astrosage_reconcile_seconds",
            "Duration of looks at jobs",
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._errors = Counter(
            "astrosage_reconcile_errors",
            "Looks at jobs or pools that failed, by kind of error",
            ["reason"],
            registry=self._registry,
        )
        self._leader = Gauge(
            "astrosage_leader", "1 for the operator that leads, else 0", registry=self._registry
        )
        self._leads = False
        self.idle_gpus: Mapping[str, int] = {}
        """GPUs of ready nodes that no pod uses, by pool; set by whoever counts them."""

    @property
    def leading(self) -> bool:
        """Whether this operator leads; one that does not tells nothing of jobs and pools."""
        return self._leads

    @leading.setter
    def leading(self, leads: bool) -> None:
        self._leads = leads
        self._leader.set(1 if leads else 0)

    def looked(self, took: float) -> None:
        """A look at a job took so many seconds."""
        self._seconds.observe(took)

    def failed(self, reason: str) -> None:
        """A look failed."""
        self._errors.labels(reason).inc()

    def text(self) -> bytes:
        """Everything, in Prometheus' text format."""
        return bytes(generate_latest(self._registry))

    def page(self) -> tuple[int, str, bytes]:
        """Status, content type and body of ``/metrics``."""
        return 200, CONTENT_TYPE, self.text()


class _States(Collector):
    """Jobs and pools, when asked."""

    def __init__(self, metrics: Metrics, seen: Seen, clock: Callable[[], float]) -> None:
        self._metrics, self._seen, self._clock = metrics, seen, clock

    def describe(self) -> Iterable[Any]:
        """Nothing is known before it is asked for."""
        return ()

    def collect(self) -> Iterator[Any]:
        """The figures of jobs and pools, from the one operator that leads."""
        if self._metrics.leading:
            yield from job_families(self._seen.jobs(), self._clock())
            yield from pool_families(self._seen.pools(), self._metrics.idle_gpus)


def job_families(jobs: Iterable[Object], now: float) -> Iterator[GaugeMetricFamily]:
    """Metrics of jobs.

    Args:
        jobs: AstroJobs, with their status.
        now: Seconds since the epoch.
    """
    info = GaugeMetricFamily(
        "astrosage_job_info", "1 for each job, with its phase", labels=(*_JOB, "phase")
    )
    families = {
        "progress_ratio": _family("job_progress_ratio", "Steps done of the running stage, 0 to 1"),
        "heartbeat": _family(
            "job_heartbeat_age_seconds", "Since the driver's last sign of life; running jobs only"
        ),
        "mfu": _family("job_mfu", "Model FLOP utilisation, 0 to 1; running jobs only"),
        "speed": _family("job_tokens_per_second", "Training speed; running jobs only"),
        "cost": _family("job_cost_usd", "Spent so far, where prices are known"),
    }
    for job in jobs:
        labels = (str(job["metadata"]["namespace"]), str(job["metadata"]["name"]))
        status = job.get("status") or {}
        phase = str(status.get("phase") or "Pending")
        info.add_metric((*labels, phase if phase in _PHASES else "Pending"), 1)
        for name, value in _figures(status, phase, now):
            families[name].add_metric(labels, value)
    yield info
    yield from families.values()


def _figures(status: Mapping[str, Any], phase: str, now: float) -> Iterator[tuple[str, float]]:
    progress = status.get("progress") or {}
    if status.get("costUSD") is not None:
        yield "cost", float(status["costUSD"])
    step, total = progress.get("step"), progress.get("total")
    if step is not None and total:
        yield "progress_ratio", min(1.0, float(step) / float(total))
    if phase != "Running":
        return
    if progress.get("heartbeat"):
        yield "heartbeat", max(0.0, now - seconds(progress["heartbeat"]))
    for name, key in (("mfu", "mfu"), ("speed", "tokensPerSecond")):
        if progress.get(key) is not None:
            yield name, float(progress[key])


def pool_families(
    pools: Iterable[Object], idle_gpus: Mapping[str, int]
) -> Iterator[GaugeMetricFamily]:
    """Metrics of pools.

    Args:
        pools: GPUNodePools, with their status.
        idle_gpus: Unused GPUs of ready nodes, by pool; pools that are not in it are left out.
    """
    nodes = GaugeMetricFamily(
        "astrosage_pool_nodes", "Nodes: current, desired, ready", labels=("pool", "state")
    )
    pending = _family("pool_pending_gpus", "GPUs asked for by pods that wait", "pool")
    idle = _family("pool_idle_gpus", "GPUs of ready nodes that no pod uses", "pool")
    spend = _family("pool_spend_usd", "Spent since the pool was first seen", "pool")
    budget = _family("pool_budget_usd_per_hour", "The pool's limit of money an hour", "pool")
    for pool in pools:
        name, status = str(pool["metadata"]["name"]), pool.get("status") or {}
        for state in ("current", "desired", "ready"):
            if status.get(state) is not None:
                nodes.add_metric((name, state), float(status[state]))
        limit = ((pool.get("spec") or {}).get("budget") or {}).get("perHour")
        for family, value in (
            (pending, status.get("pendingGPUs")),
            (idle, idle_gpus.get(name)),
            (spend, status.get("spendUSD")),
            (budget, limit),
        ):
            if value is not None:
                family.add_metric((name,), float(value))
    yield from (nodes, pending, idle, spend, budget)


def _family(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"astrosage_{name}", text, labels=labels or _JOB)
