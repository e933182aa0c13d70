"""What a webhook says: `{"type", "timestamp", "data"}`, with `data` as the poll would tell it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Final

from matteworks.compositor.v1 import compositor_pb2
from matteworks.jobs.v1 import removal_pb2
from matteworks_jobs.items_view import ItemView
from matteworks_jobs.stores.items import ItemStore
from matteworks_jobs.stores.records import BatchRecord, Delivery, Event

# A longer batch is told by its counts alone: a payload stays below 20 kB.
MAX_LISTED_ITEMS: Final = 20
_FORMATS: Final = {
    compositor_pb2.OUTPUT_FORMAT_PNG: "png",
    compositor_pb2.OUTPUT_FORMAT_JPEG: "jpeg",
    compositor_pb2.OUTPUT_FORMAT_WEBP: "webp",
    compositor_pb2.OUTPUT_FORMAT_ZIP: "zip",
}


class Payloads:
    """Writes the text of a delivery from what is stored."""

    def __init__(self, items: ItemStore, view: ItemView) -> None:
        self._items = items
        self._view = view

    async def write(self, delivery: Delivery) -> str | None:
        """The text; None when what it is about has been forgotten. Raises Unavailable."""
        data = await self._data(delivery)
        return None if data is None else _text(delivery.event, delivery.created_us, data)

    async def _data(self, delivery: Delivery) -> dict[str, Any] | None:
        account_id, subject = delivery.account_id, delivery.subject
        if delivery.event == "batch.completed":
            batch = await self._items.batch(account_id, subject)
            return None if batch is None else await self._batch(account_id, batch)
        item = await self._items.item(account_id, subject)
        return None if item is None else _item(await self._view.to_proto(item))

    async def _batch(self, account_id: str, batch: BatchRecord) -> dict[str, Any]:
        data: dict[str, Any] = {
            "batch_id": batch.batch_id,
            "status": batch_status(batch),
            "total_images": batch.item_count,
            "completed": batch.succeeded_count,
            "failed": batch.failed_count,
            "cancelled": batch.cancelled_count,
        }
        if batch.item_count <= MAX_LISTED_ITEMS:
            records = await self._items.items(account_id, batch.batch_id, 0, MAX_LISTED_ITEMS)
            data["results"] = [_item(await self._view.to_proto(record)) for record in records]
        return data


def low_credits_text(now_us: int, available_milli: int) -> str:
    """The text of `credits.low`, which is about this moment and so is written at once."""
    return _text("credits.low", now_us, {"credits_remaining": available_milli / 1000})


def batch_status(batch: BatchRecord) -> str:
    """`processing`; `completed`, with failures too; `cancelled` and `failed` when no picture came of it."""
    if not batch.ended_us:
        return "processing"
    if batch.succeeded_count:
        return "completed"
    return "failed" if batch.failed_count else "cancelled"


def _item(item: removal_pb2.Item) -> dict[str, Any]:
    data: dict[str, Any] = {"id": item.item_id}
    if item.batch_id:
        data["batch_id"] = item.batch_id
    match item.state:
        case removal_pb2.ITEM_STATE_SUCCEEDED:
            facts, result = item.rendering, item.result
            data |= {
                "status": "completed",
                "output_url": result.url or None,
                "format": _FORMATS.get(facts.format, "png"),
                "width": facts.size.width_px,
                "height": facts.size.height_px,
                "original_width": facts.source_size.width_px,
                "original_height": facts.source_size.height_px,
                "file_size_bytes": result.size_bytes,
                "processing_time_ms": round(item.processing_time.ToMilliseconds()),
                "credits_used": item.charged_credits_milli / 1000,
                "expires_at": _iso(result.expire_time.ToMicroseconds()) if result.url else None,
            }
        case removal_pb2.ITEM_STATE_FAILED:
            data |= {
                "status": "failed",
                "error": {"code": item.error.reason.lower(), "message": item.error.message},
            }
        case removal_pb2.ITEM_STATE_CANCELLED:
            data["status"] = "cancelled"
        case _:
            data["status"] = "processing"
    return data


def _text(event: Event, time_us: int, data: dict[str, Any]) -> str:
    return json.dumps({"type": event, "timestamp": _iso(time_us), "data": data}, separators=(",", ":"))


def _iso(time_us: int) -> str:
    return datetime.fromtimestamp(time_us // 1_000_000, UTC).isoformat().replace("+00:00", "Z")
