"""Batches and stored results as plain Python: what both clients send and give back."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from matteworks.auth.v1 import auth_pb2
from matteworks.jobs.v1 import jobs_pb2, removal_pb2
from matteworks_client.choices import (
    Picture,
    QualityName,
    RenderChoices,
    picture_bytes,
    quality,
    render_options,
)
from matteworks_client.results import Size
from matteworks_common.errors import MatteworksError, Unavailable

# A file's bytes, where it lies, or an http(s) URL that the worker fetches; perhaps with choices of its own.
Source: TypeAlias = Picture | str
BatchPicture: TypeAlias = Source | tuple[Source, RenderChoices]

# How often a broken stream of progress is opened again, and after how long.
WATCH_PAUSE_S: Final = 1.0
MAX_WATCH_FAILURES: Final = 60
PAGE_ITEMS: Final = 1000
_STATES: Final = {
    removal_pb2.ITEM_STATE_PENDING: "pending",
    removal_pb2.ITEM_STATE_SUCCEEDED: "succeeded",
    removal_pb2.ITEM_STATE_FAILED: "failed",
    removal_pb2.ITEM_STATE_CANCELLED: "cancelled",
}


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch and how far it has come. `estimated_s`: until it ends, by the measured rate; 0 when it has."""

    batch_id: str
    item_count: int
    succeeded_count: int
    failed_count: int
    cancelled_count: int
    is_ended: bool
    estimated_s: float
    create_time: datetime

    @property
    def ended_count(self) -> int:
        """Pictures of which one way or the other nothing more will come."""
        return self.succeeded_count + self.failed_count + self.cancelled_count


@dataclass(frozen=True, slots=True)
class StoredResult:
    """A result in the store. Whoever has `url` may read it until `url_expire_time`."""

    result_id: str
    url: str
    url_expire_time: datetime
    expire_time: datetime
    content_type: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Item:
    """A picture of a batch, numbered from 0. `state`: pending, succeeded, failed or cancelled.

    `result` is there after success, until it is deleted or expires; `error_reason`, as in the errors of
    the services, and `error_message` after failure.
    """

    item_id: str
    index: int
    state: str
    result: StoredResult | None = field(repr=False)
    size: Size | None
    charged_credits_milli: int
    processing_s: float
    error_reason: str
    error_message: str


def caller_of(owner: auth_pb2.AuthenticateResponse) -> removal_pb2.Caller:
    """Whose work it is, from the answer to a key."""
    retention_s = owner.plan_details.result_retention.ToSeconds()
    caller = removal_pb2.Caller(
        account_id=owner.account_id, key_id=owner.key_id, is_test=owner.is_test, dialect="grpc"
    )
    if retention_s:
        caller.result_retention.CopyFrom(Duration(seconds=retention_s))
    return caller


def batch_parts(
    caller: removal_pb2.Caller,
    pictures: Iterable[BatchPicture],
    webhook_url: str,
    choices: RenderChoices,
    model: str = "",
    quality_name: QualityName | None = None,
) -> Iterator[jobs_pb2.CreateBatchRequest]:
    """The stream of CreateBatch. Files are read one by one, as the service takes them.

    Raises OSError for a file that cannot be read, ValueError for a choice that cannot be meant.
    """
    defaults = _spec(None, choices)
    defaults.model, defaults.quality = model, quality(quality_name)
    header = jobs_pb2.BatchHeader(caller=caller, webhook_url=webhook_url, defaults=defaults)
    yield jobs_pb2.CreateBatchRequest(header=header)
    for picture in pictures:
        source, own = picture if isinstance(picture, tuple) else (picture, RenderChoices())
        yield jobs_pb2.CreateBatchRequest(item=_spec(source, own))


def _spec(source: Source | None, choices: RenderChoices) -> removal_pb2.RemovalSpec:
    options = render_options(choices)
    spec = removal_pb2.RemovalSpec(options=options)
    if options.bg_image:
        spec.bg_image = options.bg_image
        spec.options.ClearField("bg_image")
    if not choices:
        spec.ClearField("options")
    if isinstance(source, str):
        if urlsplit(source).scheme not in ("http", "https"):
            raise ValueError(f"{source!r} is no http or https URL; give a Path for a file")
        spec.image_url = source
    elif source is not None:
        spec.image = picture_bytes(source)
    return spec


def batch_of(message: jobs_pb2.Batch) -> Batch:
    """A batch."""
    return Batch(
        batch_id=message.batch_id,
        item_count=message.item_count,
        succeeded_count=message.succeeded_count,
        failed_count=message.failed_count,
        cancelled_count=message.cancelled_count,
        is_ended=message.is_ended,
        estimated_s=message.estimated_time.ToMicroseconds() / 1e6,
        create_time=_time(message.create_time),
    )


def item_of(message: removal_pb2.Item) -> Item:
    """A picture of a batch."""
    size = message.rendering.size
    return Item(
        item_id=message.item_id,
        index=message.index,
        state=_STATES.get(message.state, "pending"),
        result=result_of(message.result) if message.HasField("result") else None,
        size=Size(size.width_px, size.height_px) if message.HasField("rendering") else None,
        charged_credits_milli=message.charged_credits_milli,
        processing_s=message.processing_time.ToMicroseconds() / 1e6,
        error_reason=message.error.reason,
        error_message=message.error.message,
    )


def result_of(message: removal_pb2.StoredResult) -> StoredResult:
    """A result in the store."""
    return StoredResult(
        result_id=message.result_id,
        url=message.url,
        url_expire_time=_time(message.url_expire_time),
        expire_time=_time(message.expire_time),
        content_type=message.content_type,
        size_bytes=message.size_bytes,
    )


def may_watch_on(error: MatteworksError, failure_count: int) -> bool:
    """Whether a stream of progress that broke with `error` is opened again."""
    return isinstance(error, Unavailable) and failure_count < MAX_WATCH_FAILURES


def partial_of(path: Path) -> Path:
    """Where a file is written until it is complete: beside `path`, under a name that nobody has."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")


def _time(time: Timestamp) -> datetime:
    return time.ToDatetime(tzinfo=UTC)
