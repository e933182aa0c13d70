"""Traces: spans of this process, the caller's trace context taken up and passed on, export by OTLP.

Spans carry sizes, names from closed sets and reasons. Never what a caller sent: messages of errors may quote
it, so of a failure a span tells the reason alone.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import structlog
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import (
    Decision,
    ParentBased,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Status, StatusCode, TraceState
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import Attributes

from matteworks_common.errors import MatteworksError

__all__ = [
    "Exporting",
    "configure_tracing",
    "current_traceparent",
    "extract_trace",
    "inject_trace",
    "link_to",
    "record_span",
    "span",
    "trace_id",
]

# An export that takes longer is given up, at the end of the process too.
_EXPORT_TIMEOUT_S: Final = 3.0
_TRACEPARENT: Final = "traceparent"
_propagator = TraceContextTextMapPropagator()
_tracer = trace.get_tracer("matteworks")
log = structlog.get_logger()


def configure_tracing(service: str, otlp_endpoint: str, sample_ratio: float = 1.0) -> Exporting | None:
    """Export the spans of this process to `otlp_endpoint` (host:port); with an empty one, only pass
    the caller's trace context on. The caller shuts what is returned down.

    Whoever sends a trace context has decided whether its trace is recorded; of the others a share of
    `sample_ratio` is. Spans wait for their export in a bounded queue, beside the requests: without a
    collector they are dropped.
    """
    if not otlp_endpoint:
        return None
    # The exporter writes a line for every try; `_TellingExporter` writes one for every change.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    provider = TracerProvider(
        resource=Resource.create({"service.name": f"matteworks-{service}"}),
        sampler=ParentBased(_LinkedOrSome(sample_ratio)),
        shutdown_on_exit=False,
    )
    exporter = _TellingExporter(
        OTLPSpanExporter(endpoint=otlp_endpoint, insecure=True, timeout=_EXPORT_TIMEOUT_S)
    )
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return Exporting(provider, exporter)


class Exporting:
    """The export of the spans of this process, until it is shut down."""

    def __init__(self, provider: TracerProvider, exporter: _TellingExporter) -> None:
        self.provider = provider
        self._exporter = exporter

    def shutdown(self) -> None:
        """Export what waits; give up at the first try that fails. Blocks for _EXPORT_TIMEOUT_S or so."""
        self._exporter.leave()
        self.provider.shutdown()


@contextmanager
def span(
    name: str,
    *,
    kind: SpanKind = SpanKind.INTERNAL,
    context: Context | None = None,
    attributes: Attributes = None,
    links: Sequence[Link] = (),
) -> Iterator[Span]:
    """A span for the length of the block, under the current one or under `context`."""
    with _tracer.start_as_current_span(
        name,
        context=context,
        kind=kind,
        attributes=attributes,
        links=links,
        record_exception=False,
        set_status_on_exception=False,
    ) as current:
        try:
            yield current
        except BaseException as error:
            reason = error.reason_name if isinstance(error, MatteworksError) else type(error).__name__
            current.set_status(Status(StatusCode.ERROR, reason))
            raise


def record_span(name: str, start_ns: int, end_ns: int, attributes: Attributes = None) -> None:
    """A span under the current one of something that was timed elsewhere, in nanoseconds since 1970."""
    _tracer.start_span(name, start_time=start_ns, attributes=attributes).end(end_ns)


def extract_trace(metadata: Iterable[tuple[str, str | bytes]]) -> Context:
    """The trace context of a caller's metadata; empty when there is none."""
    return _propagator.extract({key: value for key, value in metadata if isinstance(value, str)})


def inject_trace() -> list[tuple[str, str]]:
    """Metadata that carries the current trace context on."""
    carrier: dict[str, str] = {}
    _propagator.inject(carrier)
    return list(carrier.items())


def current_traceparent() -> str:
    """The current span as a `traceparent`, for work that goes on later; empty without a trace."""
    return dict(inject_trace()).get(_TRACEPARENT, "")


def link_to(traceparent: str) -> tuple[Link, ...]:
    """What ties a new trace to the one that `current_traceparent` told; nothing for an empty one."""
    context = trace.get_current_span(_propagator.extract({_TRACEPARENT: traceparent})).get_span_context()
    return (Link(context),) if context.is_valid else ()


def trace_id() -> str:
    """The id of the current trace in hexadecimal digits; empty without one."""
    context = trace.get_current_span().get_span_context()
    return trace.format_trace_id(context.trace_id) if context.is_valid else ""


class _LinkedOrSome(Sampler):
    """For traces that begin here: all that go on with a recorded one, and a share of the rest."""

    def __init__(self, ratio: float) -> None:
        self._some = TraceIdRatioBased(ratio)

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        if any(_is_recorded(link.context) for link in links or ()):
            return SamplingResult(Decision.RECORD_AND_SAMPLE, attributes, trace_state)
        return self._some.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)

    def get_description(self) -> str:
        return f"LinkedOrSome{{{self._some.rate}}}"


class _TellingExporter(SpanExporter):
    """Writes a line when spans begin to be lost, and when they arrive again."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._last = SpanExportResult.SUCCESS
        self._is_leaving = False

    def leave(self) -> None:
        """The process ends: after a try that failed there is no other."""
        self._is_leaving = True
        if self._last is not SpanExportResult.SUCCESS:
            self._exporter.shutdown()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if self._is_leaving and self._last is not SpanExportResult.SUCCESS:
            return self._last
        result = self._exporter.export(spans)
        if result is not self._last:
            self._last = result
            is_lost = result is not SpanExportResult.SUCCESS
            (log.warning if is_lost else log.info)("traces_lost" if is_lost else "traces_arrive")
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


def _is_recorded(context: SpanContext) -> bool:
    return context.trace_flags.sampled
