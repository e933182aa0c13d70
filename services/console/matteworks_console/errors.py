"""Failures in words for people: the status of a page, its title, what to do."""

from __future__ import annotations

from typing import Final

import grpc
from starlette.exceptions import HTTPException

from matteworks_common.errors import MatteworksError

_STATUS: Final = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.FAILED_PRECONDITION: 409,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    grpc.StatusCode.UNAVAILABLE: 503,
}
_TITLES: Final = {
    400: "That cannot be done",
    401: "Please sign in again",
    403: "That is not allowed",
    404: "There is nothing here",
    405: "That cannot be done here",
    409: "That cannot be done now",
    413: "That is too large",
    429: "Too many attempts",
    503: "Not available at the moment",
    504: "That took too long",
}
_REMEDIES: Final = {
    404: "Check the address, or go back to where you came from.",
    405: "Go back and try again.",
    500: "The fault is on our side and has been noted. Try again in a moment.",
}


class PageError(Exception):
    """A page cannot be shown. `remedy` is a sentence for a person."""

    def __init__(self, status: int, remedy: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(remedy)
        self.status = status
        self.remedy = remedy
        self.retry_after_s = retry_after_s

    @property
    def title(self) -> str:
        return _TITLES.get(self.status, "Something went wrong")


def to_page_error(error: Exception) -> PageError:
    """What a person is told of `error`. Faults of ours become status 500 with fixed words."""
    if isinstance(error, PageError):
        return error
    if isinstance(error, MatteworksError) and error.code in _STATUS:
        return PageError(_STATUS[error.code], error.message, retry_after_s=error.retry_after_s)
    if isinstance(error, HTTPException):
        return PageError(error.status_code, _REMEDIES.get(error.status_code, str(error.detail)))
    return PageError(500, _REMEDIES[500])
