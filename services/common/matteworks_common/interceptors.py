"""What surrounds every handler, outermost first: context, telemetry, deadline, errors.

Telemetry stands outside the deadline guard and the error mapping, so refusals are counted too.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import grpc
import structlog
from opentelemetry import trace

from matteworks_common.context import (
    DEFERRED_KEY,
    PROBE_KEY,
    REQUEST_ID_KEY,
    CallContext,
    accept_request_id,
    current_call,
)
from matteworks_common.errors import (
    STATUS_DETAILS_KEY,
    DeadlineExceeded,
    Internal,
    MatteworksError,
    to_status,
)
from matteworks_common.telemetry import RpcMetrics
from matteworks_common.tracing import extract_trace, span

Proceed = Callable[[Any, Any], Awaitable[Any]]

# With less time left a call cannot be handled in time.
SMALLEST_USEFUL_S = 0.005

log = structlog.get_logger()


class CallInterceptor(grpc.aio.ServerInterceptor, ABC):
    """Wraps a call from its first message to its end, streams too; those of health and reflection pass
    untouched.
    """

    name: str

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        handler = await continuation(handler_call_details)
        method: str = handler_call_details.method
        if handler is None:
            return handler
        if not handler.request_streaming and not handler.response_streaming:
            proceed, make = handler.unary_unary, grpc.unary_unary_rpc_method_handler
        elif method.startswith("/grpc."):
            return handler
        elif not handler.response_streaming:
            proceed, make = handler.stream_unary, grpc.stream_unary_rpc_method_handler
        elif not handler.request_streaming:
            proceed, make = _writing(handler.unary_stream), grpc.unary_stream_rpc_method_handler
        else:
            proceed, make = _writing(handler.stream_stream), grpc.stream_stream_rpc_method_handler

        async def wrapped(request: Any, context: Any) -> Any:
            return await self.around(method, request, context, proceed)

        return make(
            wrapped,
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )

    @abstractmethod
    async def around(self, method: str, request: Any, context: Any, proceed: Proceed) -> Any:
        """Run `proceed(request, context)` with something before and after it."""


class ContextInterceptor(CallInterceptor):
    """Sets the request id, the deadline and the caller's trace for all code that runs for the call."""

    name = "context"

    async def around(self, method: str, request: Any, context: Any, proceed: Proceed) -> Any:
        metadata = dict(context.invocation_metadata() or ())
        remaining_s = context.time_remaining()
        call = CallContext(
            request_id=accept_request_id(getattr(request, "request_id", "") or metadata.get(REQUEST_ID_KEY)),
            deadline_s=None if remaining_s is None else time.monotonic() + remaining_s,
            is_probe=PROBE_KEY in metadata,
            is_deferred=DEFERRED_KEY in metadata,
        )
        token = current_call.set(call)
        try:
            if _is_of_health(method):
                return await proceed(request, context)
            with span(
                method.removeprefix("/"),
                kind=trace.SpanKind.SERVER,
                context=extract_trace(metadata.items()),
                attributes={"rpc.system": "grpc", "matteworks.request_id": call.request_id},
            ):
                return await proceed(request, context)
        finally:
            current_call.reset(token)


class TelemetryInterceptor(CallInterceptor):
    """Counts, times and logs every call by its final status; health checks and probes are not counted, and
    log at debug.
    """

    name = "telemetry"

    def __init__(self, metrics: RpcMetrics) -> None:
        self._metrics = metrics

    async def around(self, method: str, request: Any, context: Any, proceed: Proceed) -> Any:
        start = time.perf_counter()
        outcome = grpc.StatusCode.OK
        is_counted = not _is_of_health(method)
        if is_counted:
            self._metrics.in_flight.inc()
        try:
            return await proceed(request, context)
        except asyncio.CancelledError:
            outcome = grpc.StatusCode.CANCELLED
            raise
        except BaseException:
            # The error mapping below has set the code before it aborted.
            outcome = _code_of(context)
            raise
        finally:
            duration_s = time.perf_counter() - start
            if is_counted:
                short = method.rsplit("/", 1)[-1]
                self._metrics.in_flight.dec()
                self._metrics.calls.labels(short, outcome.name).inc()
                self._metrics.duration.labels(short).observe(duration_s)
                trace.get_current_span().set_attribute("rpc.grpc.status_code", int(outcome.value[0]))
            write = log.info if is_counted else log.debug
            write("rpc", method=method, code=outcome.name, duration_s=round(duration_s, 6))


class DeadlineInterceptor(CallInterceptor):
    """Refuses a call whose deadline cannot be met, before it costs anything."""

    name = "deadline"

    async def around(self, method: str, request: Any, context: Any, proceed: Proceed) -> Any:
        remaining_s = context.time_remaining()
        if remaining_s is not None and remaining_s < SMALLEST_USEFUL_S:
            await _abort(context, DeadlineExceeded("Too little of the deadline was left on arrival."))
        return await proceed(request, context)


class ErrorInterceptor(CallInterceptor):
    """The only place that builds a status. Other exceptions become INTERNAL, with a fixed text."""

    name = "errors"

    async def around(self, method: str, request: Any, context: Any, proceed: Proceed) -> Any:
        try:
            return await proceed(request, context)
        except MatteworksError as error:
            write = log.debug if _is_probe() else log.info
            write(
                "call_refused",
                method=method,
                reason=error.reason_name,
                field=error.field,
                message=error.message,
            )
            trace.get_current_span().set_attribute("matteworks.reason", error.reason_name)
            await _abort(context, error)
        except (asyncio.CancelledError, grpc.aio.AbortError):
            raise
        except Exception:
            call = current_call.get()
            log.exception("call_failed", method=method)
            await _abort(context, Internal(call.request_id if call else ""))


def server_interceptors(metrics: RpcMetrics) -> Sequence[CallInterceptor]:
    """All of them, outermost first."""
    return (ContextInterceptor(), TelemetryInterceptor(metrics), DeadlineInterceptor(), ErrorInterceptor())


def _writing(handler: Any) -> Proceed:
    """A handler that yields its answers, as one that writes them: so an interceptor surrounds all of it."""

    async def proceed(request: Any, context: Any) -> None:
        answers = handler(request, context)
        if hasattr(answers, "__aiter__"):
            async for answer in answers:
                await context.write(answer)
        else:
            await answers

    return proceed


def _is_of_health(method: str) -> bool:
    """Whether the call only asks how the service is, as the proxy and other services do all the time."""
    return method.startswith("/grpc.") or _is_probe()


def _is_probe() -> bool:
    call = current_call.get()
    return call is not None and call.is_probe


async def _abort(context: Any, error: MatteworksError) -> None:
    status = to_status(error)
    context.set_code(error.code)
    await context.abort(
        error.code, error.message, trailing_metadata=((STATUS_DETAILS_KEY, status.SerializeToString()),)
    )


def _code_of(context: Any) -> grpc.StatusCode:
    code = context.code()
    if isinstance(code, grpc.StatusCode):
        return code
    return next((c for c in grpc.StatusCode if c.value[0] == code), grpc.StatusCode.UNKNOWN)
