"""The Open Inference Protocol over HTTP, beside the gRPC server of the same process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

import grpc
import structlog
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from matteworks_common.clock import Clock
from matteworks_common.context import REQUEST_ID_KEY, CallContext, accept_request_id, current_call
from matteworks_common.errors import (
    DeadlineExceeded,
    Internal,
    InvalidField,
    LimitExceeded,
    MatteworksError,
    overloaded,
)
from matteworks_common.telemetry import RpcMetrics
from matteworks_inference.open_inference.json_body import JSON_LENGTH_HEADER, read_request, write_response
from matteworks_inference.open_inference.models import EXTENSIONS, OpenModels, TensorFacts

__all__ = ["open_inference_app"]

# KServe's and Triton's clients read the status alone; the sentence is for people.
_STATUSES: Final = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.FAILED_PRECONDITION: 409,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 503,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}
Handler = Callable[[Request], Awaitable[Response]]
log = structlog.get_logger()


def open_inference_app(
    models: OpenModels,
    clock: Clock,
    metrics: RpcMetrics,
    is_serving: Callable[[], bool],
    *,
    max_body_bytes: int,
    max_requests: int,
    max_wait_s: float,
) -> Starlette:
    """The paths under /v2. `is_serving` is what a balancer may know: false while the service drains."""
    paths = _Paths(models, clock, is_serving, max_body_bytes, max_requests, max_wait_s)
    infer = _around("ModelInferHttp", paths.infer, metrics)
    routes = [
        Route("/v2", paths.server),
        Route("/v2/health/live", paths.live),
        Route("/v2/health/ready", paths.ready),
    ]
    for prefix in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
        routes += [
            Route(prefix, _around("ModelMetadataHttp", paths.model, metrics)),
            Route(f"{prefix}/ready", paths.model_ready),
            Route(f"{prefix}/infer", infer, methods=["POST"]),
        ]
    return Starlette(routes=routes)


class _Paths:
    """What the paths answer."""

    def __init__(
        self,
        models: OpenModels,
        clock: Clock,
        is_serving: Callable[[], bool],
        max_body_bytes: int,
        max_requests: int,
        max_wait_s: float,
    ) -> None:
        self._models = models
        self._clock = clock
        self._is_serving = is_serving
        self._max_body_bytes = max_body_bytes
        self._max_requests = max_requests
        self._max_wait_s = max_wait_s
        self._reading = 0

    async def server(self, request: Request) -> Response:
        version = self._models.server_version
        return JSONResponse({"name": "matteworks", "version": version, "extensions": EXTENSIONS})

    async def live(self, request: Request) -> Response:
        return Response()

    async def ready(self, request: Request) -> Response:
        return Response(status_code=200 if self._is_serving() else 503)

    async def model_ready(self, request: Request) -> Response:
        model, version = _model_of(request)
        is_ready = self._is_serving() and self._models.is_model_ready(model, version)
        return Response(status_code=200 if is_ready else 404)

    async def model(self, request: Request) -> Response:
        facts = self._models.facts_of(*_model_of(request))
        return JSONResponse(
            {
                "name": facts.name,
                "versions": facts.versions,
                "platform": facts.platform,
                "inputs": [_metadata(tensor) for tensor in facts.inputs],
                "outputs": [_metadata(tensor) for tensor in facts.outputs],
            }
        )

    async def infer(self, request: Request) -> Response:
        deadline_s = self._clock.monotonic_s() + self._max_wait_s
        if request.headers.get("content-encoding", "identity") != "identity":
            raise InvalidField("content-encoding", "Send the body as it is, without compression.")
        asked = read_request(
            *_model_of(request), await self._body(request), request.headers.get(JSON_LENGTH_HEADER)
        )
        tensors = await _while_connected(request, self._models.infer(asked.infer, deadline_s))
        body, json_length = write_response(asked, tensors)
        if json_length is None:
            return Response(body, media_type="application/json")
        headers = {JSON_LENGTH_HEADER: str(json_length)}
        return Response(body, media_type="application/octet-stream", headers=headers)

    async def _body(self, request: Request) -> bytes:
        """The whole body. So many at once as pictures may be in hand, each soon, none too large."""
        if self._reading >= self._max_requests:
            raise overloaded("Too many requests are being received.")
        self._reading += 1
        try:
            async with asyncio.timeout(self._max_wait_s):
                return await self._chunks(request)
        except TimeoutError:
            raise DeadlineExceeded("The request took too long to arrive.") from None
        finally:
            self._reading -= 1

    async def _chunks(self, request: Request) -> bytes:
        chunks = []
        size = 0
        async for chunk in request.stream():
            size += len(chunk)
            if size > self._max_body_bytes:
                raise InvalidField(
                    "body",
                    f"Send at most {self._max_body_bytes} bytes.",
                    metadata={"limit_bytes": str(self._max_body_bytes)},
                )
            chunks.append(chunk)
        return b"".join(chunks)


async def _while_connected(request: Request, work: Coroutine[Any, Any, Any]) -> Any:
    """The result of `work`, which ends when the caller leaves: nobody else waits for it."""
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(request.receive())
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientDisconnect
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


def _around(name: str, handler: Handler, metrics: RpcMetrics) -> Handler:
    """What the interceptors of gRPC do: id, counting, one line in the log, errors."""

    async def answer(request: Request) -> Response:
        call = CallContext(accept_request_id(request.headers.get(REQUEST_ID_KEY)), deadline_s=None)
        token = current_call.set(call)
        start_s = time.perf_counter()
        outcome = grpc.StatusCode.CANCELLED
        metrics.in_flight.inc()
        try:
            response = await handler(request)
            outcome = grpc.StatusCode.OK
        except ClientDisconnect:
            response = Response(status_code=499)
        except MatteworksError as error:
            outcome = error.code
            response = _refusal(error)
        except Exception:
            log.exception("call_failed", method=name)
            internal = Internal(call.request_id)
            outcome = internal.code
            response = _refusal(internal)
        finally:
            duration_s = time.perf_counter() - start_s
            metrics.in_flight.dec()
            metrics.calls.labels(name, outcome.name).inc()
            metrics.duration.labels(name).observe(duration_s)
            log.info("rpc", method=name, code=outcome.name, duration_s=round(duration_s, 6))
            current_call.reset(token)
        response.headers[REQUEST_ID_KEY] = call.request_id
        return response

    return answer


def _refusal(error: MatteworksError) -> Response:
    text = f"{error.field}: {error.message}" if error.field else error.message
    headers = {}
    if error.retry_after_s is not None or isinstance(error, LimitExceeded):
        headers["retry-after"] = str(max(1, round(error.retry_after_s or 1)))
    document = {"error": f"{error.reason_name}: {text}"}
    return JSONResponse(document, _STATUSES.get(error.code, 500), headers)


def _model_of(request: Request) -> tuple[str, str]:
    return request.path_params["model"], request.path_params.get("version", "")


def _metadata(tensor: TensorFacts) -> dict[str, Any]:
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape}
