"""The metrics of a device, as a scrape finds them."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from matteworks_inference.engines.contract import NetworkKey
from matteworks_inference.engines.gpu.memory import DeviceMemory
from matteworks_inference.metrics import InferenceMetrics


def test_memory_of_the_device_is_asked_for_at_each_scrape() -> None:
    registry = CollectorRegistry()
    answers = [DeviceMemory(50, 80), DeviceMemory(70, 80)]
    InferenceMetrics(registry).watch_device_memory(lambda: answers[0])

    def value(state: str) -> float | None:
        return registry.get_sample_value("matteworks_inference_device_memory_bytes", {"state": state})

    assert (value("used"), value("total")) == (50, 80)
    answers.pop(0)
    assert (value("used"), value("total")) == (70, 80)


def test_runs_are_told_by_network_and_waits_by_urgency() -> None:
    registry = CollectorRegistry()
    metrics = InferenceMetrics(registry)

    metrics.batch_finished(NetworkKey("isnet", 1024, 1024), 4, 0.5)
    metrics.waited(0.2, is_deferred=False)
    metrics.waited(90.0, is_deferred=True)

    prefix = "matteworks_inference_"
    assert registry.get_sample_value(f"{prefix}batch_items_sum", {"model": "isnet"}) == 4
    assert registry.get_sample_value(f"{prefix}run_seconds_sum", {"model": "isnet"}) == 0.5
    assert registry.get_sample_value(f"{prefix}device_busy_seconds_total") == 0.5
    assert registry.get_sample_value(f"{prefix}queue_seconds_sum", {"urgency": "interactive"}) == 0.2
