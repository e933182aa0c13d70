"""`GET /results/{id}`: a stored result by its signed URL. Whoever has the URL may read it, without a key."""

from __future__ import annotations

import re
from datetime import UTC
from email.utils import format_datetime
from typing import Final

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks.jobs.v1 import results_pb2
from matteworks_common.errors import Forbidden, InvalidField
from matteworks_edge.exchange import exchange_of
from matteworks_edge.jobs_client import JobsClient

PATH: Final = "/results/{result_id}"
_RANGE: Final = re.compile(r"bytes=(?:([0-9]{1,15})-([0-9]{0,15})|-([0-9]{1,15}))")
_LARGEST_EXPIRY: Final = 2**40


class ResultEndpoint:
    """Bytes as they come from the store; a range of them, or only what is told of them."""

    def __init__(self, jobs: JobsClient) -> None:
        self._jobs = jobs

    async def __call__(self, request: Request) -> Response:
        exchange_of(request).route = "result"
        asked = _asked(request)
        is_partial = _ask_for_range(asked, request)
        try:
            result = await self._jobs.read(asked)
        except InvalidField as error:
            if error.field != "range":
                raise
            # What lies behind the end is the client's mistake about this file, not a broken request.
            return Response(
                status_code=416, headers={"Content-Range": f"bytes */{error.metadata['size_bytes']}"}
            )
        facts = result.facts
        headers = _headers(facts)
        if request.headers.get("if-none-match", "") == facts.etag:
            result.close()
            return Response(status_code=304, headers=headers)
        headers["Content-Length"] = str(facts.byte_count)
        if is_partial:
            last = facts.first_byte + facts.byte_count - 1
            headers["Content-Range"] = f"bytes {facts.first_byte}-{last}/{facts.size_bytes}"
        status = 206 if is_partial else 200
        if asked.is_facts_only:
            result.close()
            return Response(None, status, headers, facts.content_type)
        return StreamingResponse(result.pieces(), status, headers, facts.content_type)


def _asked(request: Request) -> results_pb2.ReadResultRequest:
    expires = request.query_params.get("expires", "")
    if not (
        expires.isascii() and expires.isdecimal() and len(expires) < 13 and int(expires) < _LARGEST_EXPIRY
    ):
        raise Forbidden(
            reasons.ERROR_REASON_RESULT_URL_INVALID, "The URL of a result carries expires and signature."
        )
    return results_pb2.ReadResultRequest(
        result_id=request.path_params["result_id"],
        signature=results_pb2.UrlSignature(
            expires=int(expires), signature=request.query_params.get("signature", "")
        ),
        is_facts_only=request.method == "HEAD",
    )


def _ask_for_range(asked: results_pb2.ReadResultRequest, request: Request) -> bool:
    """Whether the request names one range of bytes. Several, or what is none, get the whole, as RFC 9110
    allows.
    """
    found = _RANGE.fullmatch(request.headers.get("range", ""))
    if found is None or "if-range" in request.headers:
        return False
    first, last, suffix = found.groups()
    if suffix is not None:
        asked.first_byte = -int(suffix)
        return asked.first_byte < 0
    if last and int(last) < int(first):
        return False
    asked.first_byte = int(first)
    if last:
        asked.max_byte_count = int(last) - int(first) + 1
    return True


def _headers(facts: results_pb2.ResultFacts) -> dict[str, str]:
    return {
        "Accept-Ranges": "bytes",
        "ETag": facts.etag,
        "Last-Modified": format_datetime(facts.create_time.ToDatetime(UTC), usegmt=True),
        # Whoever has the URL has the picture; nobody in between keeps it.
        "Cache-Control": "private, max-age=3600, immutable",
        "Content-Disposition": "inline",
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }
