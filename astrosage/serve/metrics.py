"""What a server measures, and the two places that measurements go: Prometheus' client, and Ray's.

Both have the same names; Ray puts ``ray_`` before them and adds the replica.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_SMALL = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1.0, 2.5)


@dataclass(frozen=True)
class Instrument:
    """One thing that is measured.

    Attributes:
        name: Its name; counters get ``_total`` behind it.
        kind: What it is.
        text: What it tells.
        labels: What it is told apart by.
        buckets: Upper bounds of a histogram's buckets.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    text: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


REQUESTS = Instrument(
    "astrosage_serve_requests", "counter", "Requests answered", ("path", "status", "key")
)
PROMPT_TOKENS = Instrument(
    "astrosage_serve_prompt_tokens", "counter", "Tokens of prompts that were read", ("key",)
)
COMPLETION_TOKENS = Instrument(
    "astrosage_serve_completion_tokens", "counter", "Tokens generated", ("key",)
)
REQUEST_SECONDS = Instrument(
    "astrosage_serve_request_seconds",
    "histogram",
    "From a request's arrival to the end of its answer",
    ("path",),
    _SECONDS,
)
FIRST_TOKEN = Instrument(
    "astrosage_serve_first_token_seconds",
    "histogram",
    "From a request's arrival to its first token",
    (),
    _SECONDS,
)
INTER_TOKEN = Instrument(
    "astrosage_serve_inter_token_seconds",
    "histogram",
    "Between two tokens of one sequence",
    (),
    _SMALL,
)
QUEUE = Instrument(
    "astrosage_serve_queue_seconds",
    "histogram",
    "How long sequences waited for their turn",
    (),
    _SECONDS,
)
IN_FLIGHT = Instrument("astrosage_serve_in_flight", "gauge", "Sequences that are generated or wait")
CACHE_USE = Instrument(
    "astrosage_serve_cache_use", "gauge", "Share of the key-value cache that is taken, 0 to 1"
)
INSTRUMENTS = (
    *(REQUESTS, PROMPT_TOKENS, COMPLETION_TOKENS, REQUEST_SECONDS),
    *(FIRST_TOKEN, INTER_TOKEN, QUEUE, IN_FLIGHT, CACHE_USE),
)

Record = Callable[[float, dict[str, str]], None]


class Meters:
    """All instruments of one server.

    Args:
        make: Gives what takes a value and its labels, for each instrument.
        expose: Gives the text that Prometheus reads, if it can be had here.
    """

    def __init__(
        self, make: Callable[[Instrument], Record], expose: Callable[[], bytes] | None = None
    ) -> None:
        self._records = {instrument: make(instrument) for instrument in INSTRUMENTS}
        self.expose = expose

    def record(self, instrument: Instrument, value: float, **labels: str) -> None:
        """Count, set or observe a value."""
        self._records[instrument](value, labels)


def prometheus_meters() -> Meters:
    """Instruments in a registry of their own, of Prometheus' client."""
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry()
    return Meters(
        lambda instrument: _prometheus(instrument, registry), lambda: generate_latest(registry)
    )


def _prometheus(instrument: Instrument, registry: CollectorRegistry) -> Record:
    from prometheus_client import Counter, Gauge, Histogram

    name, text, labels = instrument.name, instrument.text, instrument.labels
    if instrument.kind == "counter":
        counter = Counter(name, text, labels, registry=registry)
        return lambda value, by: (counter.labels(**by) if by else counter).inc(value)
    if instrument.kind == "gauge":
        gauge = Gauge(name, text, labels, registry=registry)
        return lambda value, by: (gauge.labels(**by) if by else gauge).set(value)
    histogram = Histogram(name, text, labels, buckets=instrument.buckets, registry=registry)
    return lambda value, by: (histogram.labels(**by) if by else histogram).observe(value)


def ray_meters() -> Meters:
    """Instruments of Ray Serve; only inside a replica. Every node's agent exposes them."""
    return Meters(_ray)


def _ray(instrument: Instrument) -> Record:
    from ray.serve import metrics

    name, text, labels = instrument.name, instrument.text, instrument.labels
    made: Any
    if instrument.kind == "counter":
        made = metrics.Counter(name, description=text, tag_keys=labels)
        return lambda value, by: made.inc(value, tags=by) if value else None
    if instrument.kind == "gauge":
        made = metrics.Gauge(name, description=text, tag_keys=labels)
        return lambda value, by: made.set(value, tags=by)
    made = metrics.Histogram(
        name, description=text, boundaries=list(instrument.buckets), tag_keys=labels
    )
    return lambda value, by: made.observe(value, tags=by)
