"""Prometheus metrics of a server (https://prometheus.io/docs/instrumenting/exposition_formats/)."""

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


class Metrics:
    """Counters and histograms of one server. Several servers in a process do not share them.

    queue_length: returns the number of images that wait for a model.
    """

    def __init__(self, queue_length: Callable[[], int]) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)  # memory, processor time, open files; on Linux only
        counter = partial(Counter, namespace="detect", registry=registry)
        histogram = partial(Histogram, namespace="detect", registry=registry)
        self._requests = counter("requests_total", "Requests answered.", ("method", "route", "status"))
        self._request_seconds = histogram(
            "request_duration_seconds",
            "Time from the first byte of a request to the end of its response.",
            ("route",),
            buckets=_SECONDS,
        )
        self._images = counter("images_total", "Images and video frames processed by a model.")
        self._batch_sizes = histogram("batch_size", "Images per batch.", buckets=(1, 2, 4, 8, 16))
        self._inference_seconds = counter("inference_seconds_total", "Time spent in models.")
        self._video_jobs = counter("video_jobs_total", "Video jobs that ended, by their final state.", ("state",))
        gauge = Gauge("queue_length", "Images that wait for a model.", namespace="detect", registry=registry)
        gauge.set_function(queue_length)

    def record_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request whose response has been sent."""
        # A caller can invent methods, and each label value takes memory for as long as the server runs.
        known = method if method in _METHODS else "other"
        self._requests.labels(known, route, str(status)).inc()
        self._request_seconds.labels(route).observe(seconds)

    def record_batch(self, size: int, seconds: float) -> None:
        """Count a batch of ``size`` images that a model has processed."""
        self._images.inc(size)
        self._batch_sizes.observe(size)
        self._inference_seconds.inc(seconds)

    def record_job(self, state: str) -> None:
        """Count a video job that ended in ``state``."""
        self._video_jobs.labels(state).inc()

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry)
