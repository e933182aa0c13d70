"""What a removal would cost and give, with the errors of the removal itself; nothing is held or charged."""

from __future__ import annotations

from dataclasses import dataclass

from matteworks.auth.v1 import auth_pb2
from matteworks.compositor.v1 import compositor_pb2

__all__ = ["Preview"]


@dataclass(frozen=True, slots=True)
class Preview:
    """`response` has sizes and no files. `is_repeat`: an equal upload was paid a moment ago."""

    response: compositor_pb2.RemoveBackgroundResponse
    credits_milli: int
    is_paid_by_free_call: bool
    is_repeat: bool
    max_pixels: int
    account: auth_pb2.Account
