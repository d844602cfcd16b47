"""What `GET /metrics` tells, in Prometheus' format: counts and times, and nothing of what was asked."""

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)


KIND = CONTENT_TYPE_LATEST
"""The content type of that text."""


class Metrics:
    """The figures of one server, in a registry of its own: several servers of a process do not mix.

    Attributes:
        requests: by route and status.
        seconds: that requests took, by route.
        predictions: inputs that were answered, by model and outcome: `answered`, `unreadable`, `refused` (it holds too much, or came at a bad time) or `failed`.
        under_way: inputs that are waited for.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "headstart_requests", "Requests, by route and status.", ["route", "status"], registry=self._registry
        )
        self.seconds = Histogram(
            "headstart_request_seconds",
            "Seconds that requests took, by route.",
            ["route"],
            registry=self._registry,
            buckets=_SECONDS,
        )
        self.predictions = Counter(
            "headstart_inputs", "Inputs, by model and outcome.", ["model", "outcome"], registry=self._registry
        )
        self.under_way = Gauge("headstart_inputs_under_way", "Inputs that are waited for.", registry=self._registry)

    def text(self) -> bytes:
        """All figures as text."""
        return generate_latest(self._registry)
