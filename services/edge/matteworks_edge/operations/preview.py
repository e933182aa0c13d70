"""What a removal would cost, as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matteworks.compositor.v1 import compositor_pb2
from matteworks_edge.operations.outputs import renderings_of
from matteworks_removal.preview import Preview

__all__ = ["preview_document"]


def preview_document(preview: Preview, names: Sequence[str]) -> dict[str, Any]:
    """`names` are of several outputs; empty: there is one, without a name."""
    account = preview.account
    left_milli = (
        account.subscription_credits_milli + account.payg_credits_milli + account.enterprise_credits_milli
    )
    results = renderings_of(preview.response)
    return {
        "data": {
            "dry_run": True,
            "credits": _credits(preview.credits_milli),
            "free_call": preview.is_paid_by_free_call,
            "repeat": preview.is_repeat,
            **_extent(results[0]),
            "outputs": [
                {"name": name, **_extent(result)} for name, result in zip(names, results, strict=False)
            ],
            "balance": {"credits": _credits(left_milli), "free_calls": account.free_call_count},
        }
    }


def _extent(rendering: compositor_pb2.Rendering) -> dict[str, int | None]:
    """Width and height; null where they follow the subject."""
    is_known = rendering.HasField("size")
    return {
        "width": rendering.size.width_px if is_known else None,
        "height": rendering.size.height_px if is_known else None,
    }


def _credits(milli: int) -> float | int:
    return milli // 1000 if milli % 1000 == 0 else milli / 1000
