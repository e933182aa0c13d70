"""What the inference service counts and times."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from matteworks_common.telemetry import DURATION_BUCKETS_S
from matteworks_inference.queueing.meter import LoadMeter

_BATCH_BUCKETS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64)


class InferenceMetrics:
    """Metrics of the queue, which it observes, and of the stages of a request. `meter` keeps the latest."""

    def __init__(self, registry: CollectorRegistry, meter: LoadMeter | None = None) -> None:
        self._meter = meter
        prefix = "matteworks_inference_"
        self.queue_depth = Gauge(prefix + "queue_depth", "Runs that wait for the device.", registry=registry)
        self.dropped = Counter(
            prefix + "queue_dropped", "Runs that ended without the device, by reason.", ["reason"],
            registry=registry,
        )  # fmt: skip
        self.refused = Counter(
            prefix + "refused",
            "Pictures that were refused at the door, by reason: full or late.",
            ["reason"],
            registry=registry,
        )
        self.batch_items = Histogram(
            prefix + "batch_items", "Pictures that shared a device run.", buckets=_BATCH_BUCKETS,
            registry=registry,
        )  # fmt: skip
        self.stage_seconds = Histogram(
            prefix + "stage_seconds",
            "Time by stage: decode, resize, classify, queue, infer, refine, matting.",
            ["stage"],
            buckets=DURATION_BUCKETS_S,
            registry=registry,
        )
        self.segmented = Counter(
            prefix + "segmented", "Mattes made, by model and subject type.", ["model", "subject_type"],
            registry=registry,
        )  # fmt: skip
        self.painted = Counter(
            prefix + "painted", "Holes painted, by outcome: ok, failed, timeout, cancelled.", ["outcome"],
            registry=registry,
        )  # fmt: skip
        self.device_seconds = Counter(
            prefix + "device_busy_seconds", "Time that the device was at work.", registry=registry
        )

    def depth_changed(self, item_count: int) -> None:
        self.queue_depth.set(item_count)

    def item_dropped(self, reason: str) -> None:
        self.dropped.labels(reason).inc()

    def picture_refused(self, reason: str) -> None:
        self.refused.labels(reason).inc()

    def batch_finished(self, item_count: int, run_s: float) -> None:
        self.batch_items.observe(item_count)
        self.device_seconds.inc(run_s)
        if self._meter:
            self._meter.add(busy_s=run_s)

    def matte_made(self, model: str, subject_type: str) -> None:
        """A picture has its matte."""
        self.segmented.labels(model, subject_type).inc()
        if self._meter:
            self._meter.add(picture_count=1)
