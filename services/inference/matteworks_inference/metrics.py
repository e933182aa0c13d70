"""What the inference service counts and times."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from matteworks_common.telemetry import DURATION_BUCKETS_S
from matteworks_inference.engines.contract import NetworkKey
from matteworks_inference.engines.gpu.memory import DeviceMemory
from matteworks_inference.queueing.meter import LoadMeter

_BATCH_BUCKETS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64)
_DROPPED = ("full", "late", "waited", "cancelled", "expired", "abandoned", "closed", "lost")
_REFUSED = ("full", "late")


class InferenceMetrics:
    """Metrics of the queue, which it observes, and of the stages of a request. `meter` keeps the latest.

    Labels come from closed sets: networks of the registry, engines, stages, reasons.
    """

    def __init__(self, registry: CollectorRegistry, meter: LoadMeter | None = None) -> None:
        self._meter = meter
        prefix = "matteworks_inference_"
        self._registry = registry
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
        self.queue_seconds = Histogram(
            prefix + "queue_seconds",
            "Time that a picture waited for the device, by urgency: interactive, or deferred (batches).",
            ["urgency"],
            buckets=DURATION_BUCKETS_S,
            registry=registry,
        )
        self.batch_items = Histogram(
            prefix + "batch_items", "Pictures that shared a device run.", ["model"], buckets=_BATCH_BUCKETS,
            registry=registry,
        )  # fmt: skip
        self.run_seconds = Histogram(
            prefix + "run_seconds", "Time of one run on the device, of one picture or a batch.", ["model"],
            buckets=DURATION_BUCKETS_S, registry=registry,
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
        self.upscaled = Counter(
            prefix + "upscaled", "Tiles drawn larger, by model.", ["model"], registry=registry
        )
        self.device_seconds = Counter(
            prefix + "device_busy_seconds",
            "Time that the device of this process was at work: its rate is the device's use.",
            registry=registry,
        )
        self.loaded = Gauge(
            prefix + "model_loaded", "1 for each network that is loaded, with what runs it.",
            ["model", "engine"], registry=registry,
        )  # fmt: skip
        # A series that begins at its first event hides that event from `rate`.
        for reason in _DROPPED:
            self.dropped.labels(reason)
        for reason in _REFUSED:
            self.refused.labels(reason)
        for urgency in ("interactive", "deferred"):
            self.queue_seconds.labels(urgency)

    def depth_changed(self, item_count: int) -> None:
        self.queue_depth.set(item_count)

    def item_dropped(self, reason: str) -> None:
        self.dropped.labels(reason).inc()

    def picture_refused(self, reason: str) -> None:
        self.refused.labels(reason).inc()

    def batch_finished(self, key: NetworkKey, item_count: int, run_s: float) -> None:
        self.batch_items.labels(key.model).observe(item_count)
        self.run_seconds.labels(key.model).observe(run_s)
        self.device_seconds.inc(run_s)
        if self._meter:
            self._meter.add(busy_s=run_s)

    def matte_made(self, model: str, subject_type: str) -> None:
        """A picture has its matte."""
        self.segmented.labels(model, subject_type).inc()
        if self._meter:
            self._meter.add(picture_count=1)

    def waited(self, queue_s: float, *, is_deferred: bool) -> None:
        """A picture got its turns on the device."""
        self.queue_seconds.labels("deferred" if is_deferred else "interactive").observe(queue_s)

    def model_loaded(self, model: str, engine: str) -> None:
        """A network is ready."""
        self.loaded.labels(model, engine).set(1)
        self.batch_items.labels(model)
        self.run_seconds.labels(model)

    def watch_device_memory(self, read: Callable[[], DeviceMemory]) -> None:
        """Tell the memory of the device from now on; it is asked for whenever somebody looks."""
        memory = Gauge(
            "matteworks_inference_device_memory_bytes",
            "Memory of the device: used (by any process), and total.",
            ["state"],
            registry=self._registry,
        )
        memory.labels("used").set_function(lambda: read().used_bytes)
        memory.labels("total").set_function(lambda: read().total_bytes)
