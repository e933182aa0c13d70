"""What is traced, what a span tells of a failure, and what a collector that is away costs."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from structlog.testing import capture_logs

from matteworks_common import tracing
from matteworks_common.errors import InvalidField
from tests.support.otlp_collector import collecting

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-"


@contextmanager
def provided(monkeypatch: pytest.MonkeyPatch, target: str, ratio: float = 1.0) -> Iterator[tracing.Exporting]:
    """Traces go to `target` while the block runs, as in a process of its own."""
    found: list[object] = []
    monkeypatch.setattr(trace, "set_tracer_provider", found.append)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    level = logging.getLogger("opentelemetry").level
    exporting = tracing.configure_tracing("tests", target, ratio)
    assert exporting is not None
    assert found == [exporting.provider]
    monkeypatch.setattr(tracing, "_tracer", exporting.provider.get_tracer("matteworks"))
    try:
        yield exporting
    finally:
        exporting.shutdown()
        logging.getLogger("opentelemetry").setLevel(level)


def test_without_an_endpoint_nothing_is_recorded_and_the_callers_trace_is_passed_on() -> None:
    assert tracing.configure_tracing("tests", "") is None
    with tracing.span("request", context=tracing.extract_trace([("traceparent", f"{PARENT}01")])) as current:
        assert not current.is_recording()
        assert dict(tracing.inject_trace())["traceparent"] == f"{PARENT}01"
        assert tracing.trace_id() == "0af7651916cd43dd8448eb211c80319c"
    assert tracing.trace_id() == ""


def test_a_failed_block_tells_its_reason_and_not_its_message(monkeypatch: pytest.MonkeyPatch) -> None:
    with collecting() as collector:
        with provided(monkeypatch, collector.target):
            with pytest.raises(InvalidField), tracing.span("field"):
                raise InvalidField("image_url", "https://host/secret is not reachable")
            with pytest.raises(ValueError, match="mw_live"), tracing.span("bug"):
                raise ValueError("mw_live_secret")
        spans = {span.name: span for span in collector.where(lambda _: True)}

    assert {name: (span.is_error, span.message) for name, span in spans.items()} == {
        "field": (True, "INVALID_ARGUMENT"),
        "bug": (True, "ValueError"),
    }
    assert not any(span.event_count for span in spans.values())


@pytest.mark.parametrize(
    ("ratio", "parent", "linked", "is_recorded"),
    [
        (1.0, "", "", True),
        (0.0, "", "", False),
        (0.0, f"{PARENT}01", "", True),
        (1.0, f"{PARENT}00", "", False),
        (0.0, "", f"{PARENT}01", True),
        (0.0, "", f"{PARENT}00", False),
        (0.0, "", "nonsense", False),
    ],
)
def test_the_sender_decides_and_the_ratio_where_there_is_none(
    monkeypatch: pytest.MonkeyPatch, ratio: float, parent: str, linked: str, is_recorded: bool
) -> None:
    with collecting() as collector:
        context = tracing.extract_trace([("traceparent", parent)]) if parent else Context()
        with (
            provided(monkeypatch, collector.target, ratio),
            tracing.span("one", context=context, links=tracing.link_to(linked)) as current,
        ):
            assert current.is_recording() is is_recorded
        assert bool(collector.where(lambda _: True)) is is_recorded


def test_a_collector_that_is_away_costs_the_calls_nothing_and_says_so_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with collecting() as gone:
        target = gone.target
    with capture_logs() as lines:
        with provided(monkeypatch, target) as exporting:
            start_s = time.perf_counter()
            for _ in range(20_000):
                with tracing.span("one"):
                    pass
            span_s = (time.perf_counter() - start_s) / 20_000
            (waiting,) = [
                processor._batch_processor._queue  # type: ignore[attr-defined]
                for processor in exporting.provider._active_span_processor._span_processors
            ]
            assert len(waiting) <= 2048, "what nobody fetches is dropped"
            start_s = time.perf_counter()
        leaving_s = time.perf_counter() - start_s

    assert span_s < 0.002, "no span waits for the collector"
    assert leaving_s < 6, "nor does the end of the process, for long"
    assert [line["event"] for line in lines] in (["traces_lost"], [])
    assert not caplog.records, "the library's own lines, one for every try"
