"""From an open connection to a caller and a form: authenticated first, then read, bounded in time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import Any, TypeVar

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import Message

from matteworks.auth.v1 import auth_pb2
from matteworks_common.context import CallContext, current_call, new_request_id
from matteworks_common.errors import MatteworksError
from matteworks_edge.errors import CallerGone, request_timeout
from matteworks_edge.exchange import exchange_of
from matteworks_edge.intake.admission import Slot
from matteworks_edge.intake.body import MAX_FIELDS, RawForm, read_body
from matteworks_edge.intake.credentials import has_key, read_key
from matteworks_edge.metrics import EdgeMetrics
from matteworks_removal.clients import AuthClient

T = TypeVar("T")


async def authenticate(
    request: Request, auth: AuthClient, dialect: str | None = None, body_key: str = ""
) -> auth_pb2.AuthenticateResponse:
    """Whose request it is, by its headers and its query; `body_key` is a key that the body brought.

    `dialect` None: the path's; "": the key's own.

    Raises Unauthenticated, Forbidden, Unavailable.
    """
    exchange = exchange_of(request)
    with exchange.stages.measure("authenticate"):
        caller = await auth.authenticate(
            read_key(request.headers, exchange.dialect.key_header, query_key(request) or body_key),
            origin=request.headers.get("origin", ""),
            client_address=_client_address(request),
            dialect=(exchange.dialect.provider or exchange.dialect.name) if dialect is None else dialect,
            rate_unit=exchange.dialect.rate_unit,
            rate_scope=exchange.dialect.rate_scope,
        )
    exchange.account_id = caller.account_id
    exchange.key_id = caller.key_id
    limit_bytes = exchange.dialect.max_file_bytes
    exchange.max_file_bytes = min(limit_bytes, caller.plan_details.max_file_bytes or limit_bytes)
    if caller.HasField("rate_limit"):
        exchange.rate_limit = caller.rate_limit
    return caller


def query_key(request: Request) -> str:
    """The key in the query, where the dialect reads one there; else empty."""
    name = exchange_of(request).dialect.key_parameter
    return request.query_params.get(name, "") if name else ""


def is_key_in_body(request: Request) -> bool:
    """Whether a key can be nowhere but in the JSON body, which the dialect allows."""
    dialect = exchange_of(request).dialect
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return (
        bool(dialect.key_parameter)
        and kind == "application/json"
        and not query_key(request)
        and not has_key(request.headers, dialect.key_header)
    )


async def account_of(caller: auth_pb2.AuthenticateResponse, auth: AuthClient) -> auth_pb2.Account | None:
    """The balances after a charge. The work is paid for, so what cannot be read now is None, not an error."""
    try:
        return (await auth.get_account(caller.account_id)).account
    except MatteworksError:
        return None


async def count_call(request: Request, auth: AuthClient, caller: auth_pb2.AuthenticateResponse) -> None:
    """Take one request of the rate limit for work that is reserved later. Raises LimitExceeded
    (RATE_LIMIT_EXCEEDED).
    """
    exchange = exchange_of(request)
    counted = await auth.count_call(
        auth_pb2.CountCallRequest(
            request_id=new_request_id(),
            account_id=caller.account_id,
            key_id=caller.key_id,
            dialect=exchange.dialect.name,
            rate_scope=exchange.dialect.rate_scope,
        )
    )
    exchange.rate_limit = counted.rate_limit


async def read_form(
    request: Request, slot: Slot, metrics: EdgeMetrics, timeout_s: float, max_bytes: int = 0
) -> RawForm:
    """The fields of the request, complete within `timeout_s`. `max_bytes` is of the whole body; 0: as the
    dialect and the plan allow.

    Raises InvalidField, InvalidPicture, LimitExceeded, CallerGone, and a REQUEST_TIMEOUT error.
    """
    rules = exchange_of(request).body_rules
    if max_bytes:
        rules = replace(rules, max_file_bytes=max_bytes, body_limit_bytes=max_bytes)
    form = await read_request(
        request,
        slot,
        metrics,
        timeout_s,
        lambda headers, chunks, account_for: read_body(headers, chunks, account_for, rules),
    )
    if form.is_raw:
        for name, value in request.query_params.multi_items()[:MAX_FIELDS]:
            form.put_text(rules.names.get(name, name), value)
    return form


async def read_request(
    request: Request,
    slot: Slot,
    metrics: EdgeMetrics,
    timeout_s: float,
    read: Callable[[Headers, AsyncIterator[bytes], Callable[[int], None]], Awaitable[T]],
) -> T:
    """What `read` makes of the body, bounded as `read_form`."""

    def account_for(byte_count: int) -> None:
        slot.take(byte_count)
        metrics.received_bytes.inc(byte_count)

    with exchange_of(request).stages.measure("receive"):
        try:
            async with asyncio.timeout(timeout_s):
                return await read(request.headers, _chunks(request), account_for)
        except TimeoutError as error:
            raise request_timeout() from error


def start_deadline(request: Request, timeout_s: float) -> None:
    """From now on everything that runs for the request shares `timeout_s`."""
    current_call.set(CallContext(exchange_of(request).request_id, time.monotonic() + timeout_s))


async def while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """What `work` returns; cancels it, and raises CallerGone, when the caller closes the connection.

    The whole body must have been read.
    """
    working = asyncio.create_task(work)
    watching = asyncio.create_task(_disconnection(request.receive))
    try:
        await asyncio.wait((working, watching), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise CallerGone
    finally:
        for task in (working, watching):
            task.cancel()
        await asyncio.gather(working, watching, return_exceptions=True)


def _client_address(request: Request) -> str:
    # The proxy adds the address that it saw; what stands before it came with the request.
    forwarded = request.headers.get("x-forwarded-for", "").rpartition(",")[2].strip()
    return forwarded or (request.client.host if request.client else "")


async def _disconnection(receive: Callable[[], Awaitable[Message]]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise CallerGone
        body: bytes = message.get("body", b"")
        if body:
            yield body
        if not message.get("more_body", False):
            return
