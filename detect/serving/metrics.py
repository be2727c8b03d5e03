"""What the server counts and times, for Prometheus (https://prometheus.io/docs/instrumenting/exposition_formats/)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

MEDIA_TYPE = CONTENT_TYPE_LATEST
_METHODS = ("GET", "HEAD", "POST", "DELETE", "OPTIONS")
_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Measures:
    """Of one server; several in a process do not share them.

    waiting: tells how many images wait for a model.
    """

    def __init__(self, waiting: Callable[[], int]) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)  # memory, processor time, open files; on Linux alone
        counter = partial(Counter, namespace="detect", registry=registry)
        histogram = partial(Histogram, namespace="detect", registry=registry)
        self.requests = counter("requests_total", "requests answered", ("method", "route", "status"))
        self.request_seconds = histogram(
            "request_seconds", "from a request's first byte to its answer", ("route",), buckets=_SECONDS
        )
        self.images = counter("images_total", "images looked at")
        self.batch_images = histogram("batch_images", "images of a batch", buckets=(1, 2, 4, 8, 16))
        self.model_seconds = counter("model_seconds_total", "time that models took")
        self.jobs = counter("jobs_total", "videos, by how they ended", ("state",))
        queue = Gauge("waiting_images", "images that wait for a model", namespace="detect", registry=registry)
        queue.set_function(waiting)

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """One was answered."""
        known = method if method in _METHODS else "other"  # since a caller may make one up
        self.requests.labels(known, route, str(status)).inc()
        self.request_seconds.labels(route).observe(seconds)

    def batch(self, images: int, seconds: float) -> None:
        """A batch was looked at."""
        self.images.inc(images)
        self.batch_images.observe(images)
        self.model_seconds.inc(seconds)

    def text(self) -> bytes:
        """All of them, as they are scraped."""
        return generate_latest(self._registry)
