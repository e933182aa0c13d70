"""What is remembered. Times are microseconds since 1970; 0: not yet, or never."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ItemState = Literal["pending", "charging", "succeeded", "failed", "cancelled"]
DeliveryState = Literal["pending", "delivered", "failed"]
Event = Literal["image.completed", "image.failed", "batch.completed", "credits.low"]


@dataclass(frozen=True, slots=True)
class NewItem:
    """`request` is a serialised CreateRemovalRequest, its picture taken out when `has_input`."""

    item_id: str
    index: int
    request: bytes
    webhook_url: str
    has_input: bool


@dataclass(frozen=True, slots=True)
class ItemRecord:
    """`request` is empty once it has ended; `outcome` is a serialised Item, empty until then.

    `charge_number` grows when a charge was given back, so that the next try needs another id. `starts`
    counts the tries that were never ended: their workers died. `traceparent` is that of the request that
    brought it, or empty.
    """

    account_id: str
    item_id: str
    batch_id: str
    index: int
    state: ItemState
    request: bytes
    outcome: bytes
    has_input: bool
    created_us: int
    ended_us: int
    charge_number: int
    starts: int
    traceparent: str = ""


@dataclass(frozen=True, slots=True)
class BatchRecord:
    """How far a batch is."""

    batch_id: str
    item_count: int
    succeeded_count: int
    failed_count: int
    cancelled_count: int
    created_us: int
    ended_us: int


@dataclass(frozen=True, slots=True)
class ResultRecord:
    """Bytes in the object store, under `results/{result_id}`."""

    account_id: str
    result_id: str
    content_type: str
    size_bytes: int
    created_us: int
    expires_us: int
    url_until_us: int


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where an account wants to be told of `events`."""

    endpoint_id: str
    url: str
    events: tuple[Event, ...]
    created_us: int
    is_disabled: bool


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event for one receiver. `endpoint_id` empty: the URL came with a request. `traceparent` is that of
    the request that it tells of, or empty.
    """

    account_id: str
    delivery_id: str
    endpoint_id: str
    url: str
    event: Event
    subject: str
    state: DeliveryState
    attempts: int
    status: int
    created_us: int
    next_us: int
    body: str
    traceparent: str = ""
