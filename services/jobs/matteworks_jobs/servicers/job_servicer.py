"""JobService: batches and single removals."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import structlog

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks.jobs.v1 import jobs_pb2, jobs_pb2_grpc, removal_pb2
from matteworks_common.errors import InvalidField, LimitExceeded, MatteworksError, NotFound, Unavailable
from matteworks_jobs.items_view import ItemView
from matteworks_jobs.results.objects import ObjectBox
from matteworks_jobs.results.uploads import Uploads
from matteworks_jobs.servicers.wire import (
    checked_account,
    checked_count,
    checked_spec,
    checked_webhook_url,
    lifetime_us,
    new_id,
    retention_s,
)
from matteworks_jobs.stores.changes import ChangeFeed
from matteworks_jobs.stores.items import PART_ITEMS, ItemStore
from matteworks_jobs.stores.records import BatchRecord, NewItem
from matteworks_jobs.work.queue import LARGE_BATCH_ITEMS, ItemQueue
from matteworks_outbound.addresses import AddressJudge

MAX_BATCH_ITEMS: Final = 10_000
_RETRY_S: Final = 30.0
# A message of the store may be lost with its connection; then a watcher sees a change this much later.
_LOOK_AGAIN_S: Final = 2.0
log = structlog.get_logger()


class JobServicer(jobs_pb2_grpc.JobServiceServicer):
    """Accepts and tells; the work is the workers'."""

    def __init__(
        self,
        items: ItemStore,
        queue: ItemQueue,
        box: ObjectBox,
        view: ItemView,
        feed: ChangeFeed,
        judge: AddressJudge,
    ) -> None:
        self._items = items
        self._queue = queue
        self._box = box
        self._view = view
        self._feed = feed
        self._judge = judge

    async def CreateBatch(
        self, request_iterator: AsyncIterator[jobs_pb2.CreateBatchRequest], context: Any
    ) -> jobs_pb2.CreateBatchResponse:
        requests = aiter(request_iterator)
        first = await anext(requests, None)
        if first is None or first.WhichOneof("part") != "header":
            raise InvalidField("header", "Send the batch's header first.")
        header = first.header
        account_id = checked_account(header.caller.account_id)
        max_items = checked_count(
            "header.max_item_count", header.max_item_count, MAX_BATCH_ITEMS, MAX_BATCH_ITEMS
        )
        webhook_url = checked_webhook_url(header.webhook_url, "webhook_url", self._judge)
        retention_us = retention_s(header.caller) * 1_000_000
        lifetime_us("header.url_lifetime", header.url_lifetime)
        batch_id = new_id("batch")
        ids: list[str] = []
        part: list[NewItem] = []
        uploads = Uploads(self._box)

        async def send(*, is_last: bool) -> None:
            if not await self._items.accept_part(
                account_id, batch_id, webhook_url, retention_us, part, is_last=is_last
            ):
                raise _too_many_waiting()
            part.clear()

        try:
            async for request in requests:
                if request.WhichOneof("part") != "item":
                    raise InvalidField(f"items[{len(ids)}]", "Send items after the header.")
                if len(ids) >= max_items:
                    raise _wrong_size(max_items)
                spec = removal_pb2.RemovalSpec()
                spec.CopyFrom(header.defaults)
                spec.MergeFrom(request.item)
                item = await self._new_item(
                    jobs_pb2.CreateRemovalRequest(
                        caller=header.caller, removal=spec, url_lifetime=header.url_lifetime
                    ),
                    len(ids),
                    f"items[{len(ids)}]",
                    uploads,
                )
                ids.append(item.item_id)
                part.append(item)
                if len(part) == PART_ITEMS:
                    await send(is_last=False)
            if not ids:
                raise _wrong_size(max_items)
            await uploads.finish()
            await send(is_last=True)
        except BaseException:
            # Refused, or the caller went away: nothing of it may stay.
            await asyncio.shield(self._discard(account_id, batch_id, part, uploads))
            raise
        await self._enqueue([(account_id, item_id) for item_id in ids], is_large=len(ids) > LARGE_BATCH_ITEMS)
        batch = await self._batch(account_id, batch_id)
        return jobs_pb2.CreateBatchResponse(batch=await self._view.batch_to_proto(batch), item_ids=ids)

    async def CreateRemoval(
        self, request: jobs_pb2.CreateRemovalRequest, context: Any
    ) -> jobs_pb2.CreateRemovalResponse:
        account_id = checked_account(request.caller.account_id)
        webhook_url = checked_webhook_url(request.webhook_url, "webhook_url", self._judge)
        retention_us = retention_s(request.caller) * 1_000_000
        lifetime_us("url_lifetime", request.url_lifetime)
        uploads = Uploads(self._box)
        item = await self._new_item(request, 0, "removal", uploads, webhook_url)
        try:
            await uploads.finish()
            if not await self._items.accept_one(account_id, item, retention_us):
                raise _too_many_waiting()
        except MatteworksError:
            await self._discard(account_id, "", [item], uploads)
            raise
        await self._enqueue([(account_id, item.item_id)])
        return jobs_pb2.CreateRemovalResponse(
            item=await self._item(account_id, item.item_id), estimated_time=await self._view.estimate()
        )

    async def GetBatch(self, request: jobs_pb2.GetBatchRequest, context: Any) -> jobs_pb2.GetBatchResponse:
        account_id = checked_account(request.account_id)
        count = checked_count("max_item_count", request.max_item_count, 1000, 1000)
        if request.first_index < 0:
            raise InvalidField("first_index", "Give an index of 0 or more.")
        batch = await self._batch(account_id, request.batch_id)
        records = await self._items.items(account_id, batch.batch_id, request.first_index, count)
        return jobs_pb2.GetBatchResponse(
            batch=await self._view.batch_to_proto(batch),
            items=await asyncio.gather(*map(self._view.to_proto, records)),
        )

    async def WatchBatch(
        self, request: jobs_pb2.WatchBatchRequest, context: Any
    ) -> AsyncIterator[jobs_pb2.WatchBatchResponse]:
        account_id = checked_account(request.account_id)
        told: BatchRecord | None = None
        with self._feed.watching(account_id, request.batch_id) as changed:
            while True:
                changed.clear()
                batch = await self._batch(account_id, request.batch_id)
                if batch != told:
                    yield jobs_pb2.WatchBatchResponse(batch=await self._view.batch_to_proto(batch))
                    told = batch
                if batch.ended_us:
                    return
                try:
                    async with asyncio.timeout(_LOOK_AGAIN_S):
                        await changed.wait()
                except TimeoutError:
                    continue

    async def CancelBatch(
        self, request: jobs_pb2.CancelBatchRequest, context: Any
    ) -> jobs_pb2.CancelBatchResponse:
        account_id = checked_account(request.account_id)
        if await self._items.cancel(account_id, request.batch_id) is None:
            raise _batch_not_found()
        batch = await self._batch(account_id, request.batch_id)
        return jobs_pb2.CancelBatchResponse(batch=await self._view.batch_to_proto(batch))

    async def ListBatches(
        self, request: jobs_pb2.ListBatchesRequest, context: Any
    ) -> jobs_pb2.ListBatchesResponse:
        account_id = checked_account(request.account_id)
        count = checked_count("page_size", request.page_size, 50, 200)
        batches = await self._items.batches(account_id, count)
        return jobs_pb2.ListBatchesResponse(
            batches=[await self._view.batch_to_proto(batch) for batch in batches]
        )

    async def GetItem(self, request: jobs_pb2.GetItemRequest, context: Any) -> jobs_pb2.GetItemResponse:
        account_id = checked_account(request.account_id)
        return jobs_pb2.GetItemResponse(item=await self._item(account_id, request.item_id))

    async def _new_item(
        self,
        request: jobs_pb2.CreateRemovalRequest,
        index: int,
        field: str,
        uploads: Uploads,
        webhook_url: str = "",
    ) -> NewItem:
        """Checked; a picture that was sent along is on its way into the object store."""
        spec = request.removal
        checked_spec(spec, field)
        item_id = new_id("img")
        stored = jobs_pb2.CreateRemovalRequest()
        has_input = spec.WhichOneof("source") == "image"
        if has_input:
            await uploads.add(f"inputs/{item_id}", spec.image, "application/octet-stream")
        stored.CopyFrom(request)
        if has_input:
            stored.removal.ClearField("image")
        if not stored.caller.HasField("result_retention"):
            stored.caller.result_retention.FromSeconds(retention_s(request.caller))
        return NewItem(item_id, index, stored.SerializeToString(), webhook_url, has_input)

    async def _enqueue(self, items: list[tuple[str, str]], *, is_large: bool = False) -> None:
        try:
            await self._queue.put(items, is_large=is_large)
        except Unavailable:
            # They are accepted all the same: the reminder puts them into the queue.
            log.warning("queue_unavailable", item_count=len(items))

    async def _discard(self, account_id: str, batch_id: str, unsent: list[NewItem], uploads: Uploads) -> None:
        await uploads.give_up()
        try:
            for item in unsent:
                if item.has_input:
                    await self._box.delete(f"inputs/{item.item_id}")
            if batch_id:
                await self._items.discard(account_id, batch_id)
        except Unavailable:
            log.warning("discard_failed", batch_id=batch_id)

    async def _batch(self, account_id: str, batch_id: str) -> BatchRecord:
        batch = await self._items.batch(account_id, batch_id)
        if batch is None:
            raise _batch_not_found()
        return batch

    async def _item(self, account_id: str, item_id: str) -> removal_pb2.Item:
        item = await self._items.item(account_id, item_id)
        if item is None:
            raise NotFound(reasons.ERROR_REASON_ITEM_NOT_FOUND, "There is no such item.", field="item_id")
        return await self._view.to_proto(item)


def _batch_not_found() -> NotFound:
    return NotFound(reasons.ERROR_REASON_BATCH_NOT_FOUND, "There is no such batch.", field="batch_id")


def _wrong_size(max_items: int) -> InvalidField:
    return InvalidField(
        "images",
        f"Send 1 to {max_items} pictures in one batch.",
        reason=reasons.ERROR_REASON_INVALID_BATCH_SIZE,
        metadata={"max_items": str(max_items)},
    )


def _too_many_waiting() -> LimitExceeded:
    return LimitExceeded(
        reasons.ERROR_REASON_OVERLOADED,
        "Too many pictures wait already; send the batch again later.",
        retry_after_s=_RETRY_S,
    )
