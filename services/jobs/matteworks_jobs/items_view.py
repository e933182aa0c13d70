"""Items and batches as their readers see them."""

from __future__ import annotations

from typing import Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from matteworks.jobs.v1 import jobs_pb2, removal_pb2
from matteworks_common.errors import NotFound
from matteworks_jobs.results.keeper import ResultKeeper
from matteworks_jobs.stores.items import ItemStore
from matteworks_jobs.stores.records import BatchRecord, ItemRecord

_STATES: Final = {
    "pending": removal_pb2.ITEM_STATE_PENDING,
    "charging": removal_pb2.ITEM_STATE_PENDING,
    "succeeded": removal_pb2.ITEM_STATE_SUCCEEDED,
    "failed": removal_pb2.ITEM_STATE_FAILED,
    "cancelled": removal_pb2.ITEM_STATE_CANCELLED,
}


class ItemView:
    """Puts records, outcomes and fresh URLs together."""

    def __init__(self, items: ItemStore, keeper: ResultKeeper) -> None:
        self._items = items
        self._keeper = keeper

    async def to_proto(self, record: ItemRecord) -> removal_pb2.Item:
        """An item with its result, unless that was deleted or has expired."""
        item = removal_pb2.Item.FromString(record.outcome)
        item.item_id = record.item_id
        item.batch_id = record.batch_id
        item.index = record.index
        item.state = _STATES[record.state]
        item.create_time.CopyFrom(timestamp(record.created_us))
        if record.ended_us:
            item.end_time.CopyFrom(timestamp(record.ended_us))
        if record.state == "succeeded":
            try:
                result = await self._keeper.get(record.account_id, record.item_id)
            except NotFound:
                return item
            item.result.CopyFrom(await self._keeper.to_proto(result))
        return item

    async def batch_to_proto(self, record: BatchRecord) -> jobs_pb2.Batch:
        """A batch, with the time until it ends when it has not."""
        batch = jobs_pb2.Batch(
            batch_id=record.batch_id,
            item_count=record.item_count,
            succeeded_count=record.succeeded_count,
            failed_count=record.failed_count,
            cancelled_count=record.cancelled_count,
            is_ended=bool(record.ended_us),
            create_time=timestamp(record.created_us),
        )
        if record.ended_us:
            batch.end_time.CopyFrom(timestamp(record.ended_us))
            batch.estimated_time.CopyFrom(Duration())
        else:
            batch.estimated_time.CopyFrom(await self.estimate())
        return batch

    async def estimate(self) -> Duration:
        """Until everything that waits now has ended, by the measured rate."""
        duration = Duration()
        duration.FromMicroseconds(await self._items.waiting_count() * await self._items.mean_gap_us())
        return duration


def timestamp(time_us: int) -> Timestamp:
    """The wire form of a time in microseconds since 1970."""
    stamp = Timestamp()
    stamp.FromMicroseconds(time_us)
    return stamp
