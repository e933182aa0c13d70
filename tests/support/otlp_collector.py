"""A collector of traces: the OTLP service over real gRPC, which keeps what it gets."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as wire
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as service
from opentelemetry.proto.trace.v1 import trace_pb2

_KEPT = 50_000


@dataclass(frozen=True)
class SeenSpan:
    """A span as it was exported; ids in hexadecimal digits, `parent_id` empty for a root."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    attributes: dict[str, str | int]
    links: tuple[tuple[str, str], ...]
    event_count: int
    start_ns: int
    end_ns: int
    is_error: bool
    message: str


class Collector(service.TraceServiceServicer):
    """Everything that was exported to `target`, the latest 50,000 spans."""

    def __init__(self) -> None:
        self.target = ""
        self._spans: deque[SeenSpan] = deque(maxlen=_KEPT)
        self._arrived = threading.Condition()

    def Export(
        self, request: wire.ExportTraceServiceRequest, context: object
    ) -> wire.ExportTraceServiceResponse:
        found = [
            _seen(_service_of(part), span)
            for part in request.resource_spans
            for scope in part.scope_spans
            for span in scope.spans
        ]
        with self._arrived:
            self._spans.extend(found)
            self._arrived.notify_all()
        return wire.ExportTraceServiceResponse()

    def of(self, trace_id: str) -> list[SeenSpan]:
        """What has arrived of that trace."""
        return self.where(lambda span: span.trace_id == trace_id)

    def where(self, holds: Callable[[SeenSpan], bool]) -> list[SeenSpan]:
        """What has arrived of which `holds` is true."""
        with self._arrived:
            return [span for span in self._spans if holds(span)]

    def wait_for(
        self, holds: Callable[[SeenSpan], bool], is_enough: Callable[[list[SeenSpan]], bool], timeout_s: float
    ) -> list[SeenSpan]:
        """The spans of which `holds` is true, once there are enough, or when the time is over."""
        deadline_s = time.monotonic() + timeout_s
        with self._arrived:
            while True:
                found = [span for span in self._spans if holds(span)]
                left_s = deadline_s - time.monotonic()
                if is_enough(found) or left_s <= 0:
                    return found
                self._arrived.wait(left_s)


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector on a free port of loopback, while the block runs."""
    collector = Collector()
    server = grpc.server(ThreadPoolExecutor(4))
    service.add_TraceServiceServicer_to_server(collector, server)  # type: ignore[no-untyped-call]
    collector.target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield collector
    finally:
        server.stop(None).wait()


def _service_of(part: trace_pb2.ResourceSpans) -> str:
    return next(one.value.string_value for one in part.resource.attributes if one.key == "service.name")


def _seen(service_name: str, span: trace_pb2.Span) -> SeenSpan:
    return SeenSpan(
        service=service_name,
        name=span.name,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        attributes={
            item.key: item.value.int_value if item.value.HasField("int_value") else item.value.string_value
            for item in span.attributes
        },
        links=tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
        event_count=len(span.events),
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        is_error=span.status.code == trace_pb2.Status.STATUS_CODE_ERROR,
        message=span.status.message,
    )
