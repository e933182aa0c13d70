"""One item from the queue to its end: the same paid removal as a synchronous call, ended exactly once.

The result is stored first, then the item is claimed, which ends its chance to be cancelled, then it is
charged, idempotently by its id, then it ends. Whoever dies in between leaves a state from which the next
worker goes on to the same end.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

import structlog
from google.protobuf.duration_pb2 import Duration
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind, StatusCode, get_current_span

from matteworks.auth.v1 import auth_pb2, request_log_pb2
from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks.compositor.v1 import compositor_pb2
from matteworks.jobs.v1 import jobs_pb2, removal_pb2
from matteworks_common.clock import Clock
from matteworks_common.context import CallContext, current_call
from matteworks_common.errors import (
    DeadlineExceeded,
    Internal,
    LimitExceeded,
    MatteworksError,
    Unavailable,
)
from matteworks_common.stages import Stages
from matteworks_common.tracing import link_to, span
from matteworks_jobs.metrics import WorkerMetrics
from matteworks_jobs.results.objects import ObjectBox
from matteworks_jobs.stores.items import ItemStore
from matteworks_jobs.stores.records import ItemRecord
from matteworks_jobs.stores.results import ResultIndex
from matteworks_jobs.work.queue import TryLater
from matteworks_jobs.work.requests import caller_of, removal_request
from matteworks_removal.content_types import CONTENT_TYPES
from matteworks_removal.request_log import request_record
from matteworks_removal.service import Progress, Removal, RemovalRequest

# A worker died over this item so often that the item is to blame.
MAX_STARTS: Final = 10
_LONGEST_DELAY_S: Final = 60.0
# What waiting may mend. A quota, and a store without room, are told to the caller instead.
_PASSING: Final = (
    reasons.ERROR_REASON_OVERLOADED,
    reasons.ERROR_REASON_RATE_LIMIT_EXCEEDED,
    reasons.ERROR_REASON_CONCURRENCY_LIMIT_EXCEEDED,
)
log = structlog.get_logger()


class PaidRemoval(Protocol):
    """What a worker needs of `RemovalService`."""

    async def remove(
        self,
        caller: auth_pb2.AuthenticateResponse,
        request: RemovalRequest,
        progress: Progress,
        *,
        request_id: str,
        charge_id: str = "",
        keep: Callable[[compositor_pb2.RemoveBackgroundResponse], Awaitable[None]],
    ) -> Removal:
        """See RemovalService."""


class _Cancelled(Exception):
    """The item was cancelled, or ended, while it was worked on."""


class ItemRunner:
    """`timeout_s` bounds a try; `max_age_s` how long tries are repeated. `note` is told what became of an
    item, for its account's list of requests.
    """

    def __init__(
        self,
        items: ItemStore,
        index: ResultIndex,
        box: ObjectBox,
        removals: PaidRemoval,
        clock: Clock,
        metrics: WorkerMetrics,
        *,
        timeout_s: float,
        max_age_s: float,
        note: Callable[[request_log_pb2.RequestRecord], None],
    ) -> None:
        self._items = items
        self._index = index
        self._box = box
        self._removals = removals
        self._clock = clock
        self._metrics = metrics
        self._timeout_s = timeout_s
        self._max_age_s = max_age_s
        self._note = note

    async def run(self, account_id: str, item_id: str) -> None:
        """Bring an item to its end. Raises TryLater when that must wait."""
        try:
            item = await self._items.item(account_id, item_id)
            if item is None:
                return
            if item.state not in ("pending", "charging"):
                # Its worker may have died after storing the result of an item that was then cancelled.
                if item.state != "succeeded":
                    await self._doom(item)
                return
            starts = await self._items.start(account_id, item_id)
        except Unavailable as error:
            raise TryLater(error.retry_after_s or 1.0) from error
        # Every call below is bounded by the time of this try, and goes behind those that somebody waits for.
        current_call.set(CallContext(item_id, time.monotonic() + self._timeout_s, is_deferred=True))
        start_s = self._clock.monotonic_s()
        if starts == 1:
            self._metrics.waited.observe(max(0.0, self._clock.unix_s() - item.created_us / 1e6))
        # A trace of its own, tied to that of the request that brought the item: hours may lie between.
        with (
            self._metrics.in_flight.track_inprogress(),
            span(
                "item",
                kind=SpanKind.CONSUMER,
                context=Context(),
                links=link_to(item.traceparent),
                attributes={"matteworks.request_id": item_id, "matteworks.attempt": starts},
            ),
        ):
            await self._bring_to_an_end(item, starts)
        self._metrics.duration.observe(self._clock.monotonic_s() - start_s)

    async def _bring_to_an_end(self, item: ItemRecord, starts: int) -> None:
        try:
            if starts > MAX_STARTS:
                raise Internal(item.item_id)
            await self._remove(item)
        except _Cancelled:
            self._metrics.items.labels("cancelled").inc()
            await self._doom(item)
        except MatteworksError as error:
            get_current_span().set_status(StatusCode.ERROR, error.reason_name)
            await self._fail_or_put_off(item, error)
        except Exception:
            # A bug must end the item, not the worker.
            log.exception("item_failed", item_id=item.item_id)
            await self._fail_or_put_off(item, Internal(item.item_id))

    async def _remove(self, item: ItemRecord) -> None:
        request = jobs_pb2.CreateRemovalRequest.FromString(item.request)
        image = await self._box.get(f"inputs/{item.item_id}") if item.has_input else b""
        start_s = self._clock.monotonic_s()

        stages = Stages()
        stages.add("wait", max(0.0, self._clock.unix_s() - item.created_us / 1e6))
        model = ""

        def on_charged(_: int, made_by: str) -> None:
            nonlocal model
            model = made_by

        async def keep(response: compositor_pb2.RemoveBackgroundResponse) -> None:
            content_type = CONTENT_TYPES[response.rendering.format]
            await self._box.put(f"results/{item.item_id}", response.rendering.image, content_type)
            if not await self._items.claim(item.account_id, item.item_id):
                raise _Cancelled

        removal = await self._removals.remove(
            caller_of(request.caller),
            removal_request(request, item.item_id, image),
            Progress(stages, on_charged=on_charged),
            request_id=item.item_id,
            charge_id=_charge_id(item),
            keep=keep,
        )
        rendering = removal.response.rendering
        outcome = removal_pb2.Item(
            charged_credits_milli=removal.charged_credits_milli,
            processing_time=_duration(self._clock.monotonic_s() - start_s),
            rendering=removal_pb2.RenderingFacts(
                format=rendering.format,
                size=rendering.size,
                source_size=rendering.source_size,
                foreground=rendering.foreground,
                subject=removal.response.subject,
                max_pixel_count=removal.max_pixels,
                matte_confidence=_confidence(removal.response),
            ),
        )
        retention_us = request.caller.result_retention.ToMicroseconds()
        expires_us = round(self._clock.unix_s() * 1e6) + retention_us
        await self._items.succeed(
            item,
            outcome.SerializeToString(),
            CONTENT_TYPES[rendering.format],
            len(rendering.image),
            expires_us,
            request.url_lifetime.ToMicroseconds(),
        )
        self._metrics.items.labels("succeeded").inc()
        self._tell(item, stages, "ok", charged_credits_milli=removal.charged_credits_milli, model=model)

    async def _fail_or_put_off(self, item: ItemRecord, error: MatteworksError) -> None:
        age_s = self._clock.unix_s() - item.created_us / 1e6
        needs_new_charge = error.reason == reasons.ERROR_REASON_RESERVATION_RELEASED
        if age_s < self._max_age_s and (needs_new_charge or _is_passing(error)):
            delay_s = min(_LONGEST_DELAY_S, max(error.retry_after_s or 1.0, age_s * 0.2))
            self._metrics.items.labels("put_off").inc()
            log.info("item_put_off", item_id=item.item_id, reason=error.reason_name, delay_s=delay_s)
            try:
                await self._items.put_off(item.account_id, item.item_id, needs_new_charge=needs_new_charge)
            except Unavailable:
                log.warning("item_put_off_unnoted", item_id=item.item_id)
            raise TryLater(0.0 if needs_new_charge else delay_s) from error
        outcome = removal_pb2.Item(
            error=removal_pb2.ItemError(
                reason=error.reason_name, message=error.message, field=error.field, metadata=error.metadata
            )
        )
        try:
            await self._items.fail(item, outcome.SerializeToString())
        except Unavailable as away:
            raise TryLater(1.0) from away
        self._metrics.items.labels("failed").inc()
        self._tell(item, Stages(), error.reason_name, field=error.field[:128])

    def _tell(self, item: ItemRecord, stages: Stages, outcome: str, **facts: Any) -> None:
        caller = jobs_pb2.CreateRemovalRequest.FromString(item.request).caller
        created_s = item.created_us / 1e6
        self._note(
            request_record(
                item.item_id,
                item.account_id,
                caller.key_id,
                created_s,
                max(0.0, self._clock.unix_s() - created_s),
                stages,
                dialect=caller.dialect,
                route="batch-item",
                outcome=outcome,
                **facts,
            )
        )

    async def _doom(self, item: ItemRecord) -> None:
        try:
            await self._index.doom(f"results/{item.item_id}", round(self._clock.unix_s() * 1e6))
        except Unavailable as error:
            raise TryLater(1.0) from error


def _is_passing(error: MatteworksError) -> bool:
    if isinstance(error, LimitExceeded):
        return error.reason in _PASSING
    return isinstance(error, Unavailable | DeadlineExceeded)


def _charge_id(item: ItemRecord) -> str:
    return f"{item.item_id}.{item.charge_number}" if item.charge_number else item.item_id


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromNanoseconds(round(seconds * 1e9))
    return duration


def _confidence(response: compositor_pb2.RemoveBackgroundResponse) -> float | None:
    return response.matte_confidence if response.HasField("matte_confidence") else None
