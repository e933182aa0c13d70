"""Calling another service: one way to open a channel, one way to call through it."""

from __future__ import annotations

from typing import TypeVar

import grpc

from matteworks_common.context import DEFERRED_KEY, PROBE_KEY, REQUEST_ID_KEY, current_call
from matteworks_common.errors import DeadlineExceeded, from_rpc_error
from matteworks_common.tls import Identity
from matteworks_common.tracing import inject_trace

# The called service gets this much less time than its caller has left, so that the caller can still say
# which call was slow.
DEADLINE_MARGIN_S = 0.05

Request = TypeVar("Request")
Response = TypeVar("Response")


def channel_options(max_message_bytes: int) -> list[tuple[str, int]]:
    """Options of both ends of a channel. A lost connection is tried again within 1 s: with the default,
    up to 2 min, a restarted service would stay unreachable.
    """
    return [
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", max_message_bytes),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1000),
    ]


def open_channel(
    target: str, max_message_bytes: int, identity: Identity | None = None, *, server_name: str = ""
) -> grpc.aio.Channel:
    """A channel to `target` (host:port, usually the internal listener); with an `identity` by mutual TLS,
    else in plaintext. The caller closes it.

    Where a name has several addresses (several proxies in a cluster) the calls go to them in turn.
    `server_name` is what the server's certificate must hold, where that is not the host of `target`.
    """
    options: list[tuple[str, int | str]] = [
        *channel_options(max_message_bytes),
        ("grpc.lb_policy_name", "round_robin"),
    ]
    if identity is None:
        return grpc.aio.insecure_channel(target, options=options)
    if server_name:
        options.append(("grpc.ssl_target_name_override", server_name))
    return grpc.aio.secure_channel(target, identity.channel_credentials(), options=options)


def open_blocking_channel(
    target: str, max_message_bytes: int, identity: Identity | None = None
) -> grpc.Channel:
    """As `open_channel`, for programs without an event loop."""
    options = channel_options(max_message_bytes)
    if identity is None:
        return grpc.insecure_channel(target, options=options)
    return grpc.secure_channel(target, identity.channel_credentials(), options=options)


def carried_metadata(metadata: tuple[tuple[str, str], ...] = ()) -> tuple[tuple[str, str], ...]:
    """`metadata` with the request id, the urgency and the trace of the current call, for what `call`
    cannot open.
    """
    context = current_call.get()
    request_id = ((REQUEST_ID_KEY, context.request_id),) if context else ()
    urgency = ((DEFERRED_KEY, "1"),) if context and context.is_deferred else ()
    return (*metadata, *inject_trace(), *request_id, *urgency)


async def call(
    method: grpc.aio.UnaryUnaryMultiCallable[Request, Response],
    request: Request,
    *,
    timeout_s: float,
    metadata: tuple[tuple[str, str], ...] = (),
) -> Response:
    """Call `method` within `timeout_s` and within what is left of the current call's deadline.

    Passes request id, urgency and trace on. Raises the MatteworksError that the other side raised;
    DeadlineExceeded at once when too little time is left.
    """
    context = current_call.get()
    remaining_s = context.remaining_s() if context else None
    if remaining_s is not None:
        timeout_s = min(timeout_s, remaining_s - DEADLINE_MARGIN_S)
    if timeout_s <= 0:
        raise DeadlineExceeded()
    try:
        return await method(request, timeout=timeout_s, metadata=carried_metadata(metadata))
    except grpc.aio.AioRpcError as error:
        raise from_rpc_error(error) from error


async def probe(
    method: grpc.aio.UnaryUnaryMultiCallable[Request, Response], request: Request, *, timeout_s: float
) -> Response:
    """As `call`, for a readiness check: the other side does not write it into its log.

    For checks through the internal listener, which routes by service name: `grpc.health.v1` has the same
    name everywhere.
    """
    return await call(method, request, timeout_s=timeout_s, metadata=((PROBE_KEY, "1"),))
