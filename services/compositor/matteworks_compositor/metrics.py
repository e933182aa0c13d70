"""Every metric of the compositor."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from matteworks_common.context import is_deferred
from matteworks_common.telemetry import DURATION_BUCKETS_S
from matteworks_compositor.admission import Admission
from matteworks_compositor.options.model import OutputFormat
from matteworks_compositor.yielding import InteractiveFirst

__all__ = ["CompositorMetrics"]


class CompositorMetrics:
    """Labels come from closed sets: step names, output formats, reasons."""

    def __init__(self, registry: CollectorRegistry, admission: Admission, turns: InteractiveFirst) -> None:
        self._steps = Histogram(
            "matteworks_compositor_step_seconds",
            "Time of one step of the pipeline.",
            ["step"],
            buckets=DURATION_BUCKETS_S,
            registry=registry,
        )
        self._queue = Histogram(
            "matteworks_compositor_queue_seconds",
            "Time that a request waited until memory and others let it begin, by urgency: interactive or "
            "deferred (batches).",
            ["urgency"],
            buckets=DURATION_BUCKETS_S,
            registry=registry,
        )
        for urgency in ("interactive", "deferred"):
            self._queue.labels(urgency)
        admission.on_admitted = self._waited
        self._results = Counter(
            "matteworks_compositor_results", "Results by file format.", ["format"], registry=registry
        )
        self._result_bytes = Counter(
            "matteworks_compositor_result_bytes", "Bytes of results by format.", ["format"], registry=registry
        )
        self._input_pixels = Counter(
            "matteworks_compositor_input_pixels", "Pixels of the pictures that were read.", registry=registry
        )
        in_flight = Gauge(
            "matteworks_compositor_megapixels_in_flight", "Megapixels being worked on.", registry=registry
        )
        in_flight.set_function(lambda: admission.in_flight_megapixels)
        waiting = Gauge(
            "matteworks_compositor_megapixels_waiting",
            "Megapixels waiting for their turn.",
            registry=registry,
        )
        waiting.set_function(lambda: admission.waiting_megapixels)
        deferred = Gauge(
            "matteworks_compositor_deferred_waiting",
            "Pictures of batches that wait until nobody else does.",
            registry=registry,
        )
        deferred.set_function(lambda: turns.waiting_count)

    def _waited(self, queue_s: float) -> None:
        self._queue.labels("deferred" if is_deferred() else "interactive").observe(queue_s)

    def observe_step(self, step: str, duration_s: float) -> None:
        """Count one run of a step."""
        self._steps.labels(step).observe(duration_s)

    def count_result(self, format_: OutputFormat, size_bytes: int, input_pixels: int) -> None:
        """Count one finished request."""
        name = format_.name.lower()
        self._results.labels(name).inc()
        self._result_bytes.labels(name).inc(size_bytes)
        self._input_pixels.inc(input_pixels)
