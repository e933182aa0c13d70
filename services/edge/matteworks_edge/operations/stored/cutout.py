"""What dialects tell of a result that lies in the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks.compositor.v1 import compositor_pb2
from matteworks.jobs.v1 import removal_pb2
from matteworks_common.errors import MatteworksError


@dataclass(frozen=True, slots=True)
class StoredSubject:
    """The cut-out of one subject by its number, and its matte."""

    number: int
    result: removal_pb2.StoredResult
    mask: removal_pb2.StoredResult
    width_px: int
    height_px: int


@dataclass(frozen=True, slots=True)
class StoredCutout:
    """A result with its URL and what was measured on the way to it. The source's size is the upright one."""

    result: removal_pb2.StoredResult
    format: compositor_pb2.OutputFormat.ValueType
    width_px: int
    height_px: int
    source_width_px: int
    source_height_px: int
    charged_credits_milli: int
    processing_time_ms: int
    # Of a selection: its matte.
    mask: removal_pb2.StoredResult | None = None
    # Of a selection of each subject: all of them.
    subjects: Sequence[StoredSubject] = ()


def cutout_of(item: removal_pb2.Item) -> StoredCutout:
    """A picture of the queue that has succeeded."""
    facts = item.rendering
    return StoredCutout(
        result=item.result,
        format=facts.format,
        width_px=facts.size.width_px,
        height_px=facts.size.height_px,
        source_width_px=facts.source_size.width_px,
        source_height_px=facts.source_size.height_px,
        charged_credits_milli=item.charged_credits_milli,
        processing_time_ms=item.processing_time.ToMilliseconds(),
    )


def error_of(item: removal_pb2.Item) -> MatteworksError:
    """Why a picture of the queue has none."""
    if item.state == removal_pb2.ITEM_STATE_CANCELLED:
        return MatteworksError(reasons.ERROR_REASON_CANCELLED, "The picture was cancelled.")
    name = f"ERROR_REASON_{item.error.reason}"
    is_known = name in reasons.ErrorReason.keys()  # noqa: SIM118 - the enum is no mapping
    reason = reasons.ErrorReason.Value(name) if is_known else reasons.ERROR_REASON_INTERNAL
    return MatteworksError(
        reason, item.error.message, field=item.error.field, metadata=dict(item.error.metadata)
    )
