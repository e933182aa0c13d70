"""`Idempotency-Key`: a request that is sent twice is worked on, and charged, once.

The first answer is kept for 24 hours and given again, with `X-Repeated-Request: true`. A request that fails
is not charged, so its key is free again. Answers too large for the books lie among the stored results of
the account.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import grpc
import structlog
from starlette.requests import Request
from starlette.responses import Response

from matteworks.auth.v1 import auth_pb2, idempotency_pb2, idempotency_pb2_grpc
from matteworks_common.channels import call
from matteworks_common.context import new_request_id
from matteworks_common.errors import InvalidField, MatteworksError
from matteworks_edge.intake.body import RawForm
from matteworks_edge.jobs_client import JobsClient, caller_for, duration

_HEADER: Final = "Idempotency-Key"
_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")
_INLINE_BYTES: Final = 16 * 1024
_KEPT_S: Final = 86_400.0
_IN_LOOP_BYTES: Final = 256 * 1024
# Written anew with every answer.
_FRESH_HEADERS: Final = frozenset({"content-length", "x-ratelimit-limit", "x-ratelimit-remaining"})
log = structlog.get_logger()


class IdempotencyClient:
    """The first answers of an account, through `IdempotencyService`."""

    def __init__(self, channel: grpc.aio.Channel, timeout_s: float) -> None:
        self._stub = idempotency_pb2_grpc.IdempotencyServiceStub(channel)
        self._timeout_s = timeout_s

    async def begin(self, request: idempotency_pb2.BeginCallRequest) -> idempotency_pb2.StoredAnswer | None:
        """The first answer; None: there is none, do the work."""
        answer = await call(self._stub.BeginCall, request, timeout_s=self._timeout_s)
        return answer.answer if answer.HasField("answer") else None

    async def complete(self, request: idempotency_pb2.CompleteCallRequest) -> None:
        """Keep the answer."""
        await call(self._stub.CompleteCall, request, timeout_s=self._timeout_s)

    async def abandon(self, request: idempotency_pb2.AbandonCallRequest) -> None:
        """Free the key."""
        await call(self._stub.AbandonCall, request, timeout_s=self._timeout_s)


@dataclass(frozen=True, slots=True)
class FirstAnswers:
    """`lease_s`: how long a request may be at work until its key is free for a repeat."""

    client: IdempotencyClient
    jobs: JobsClient
    lease_s: float

    async def once(
        self,
        request: Request,
        caller: auth_pb2.AuthenticateResponse,
        form: RawForm,
        work: Callable[[], Awaitable[Response]],
    ) -> Response:
        """What `work` answers, or answered to the first request with this key.

        Without the header it is just `work`. Raises InvalidField for a malformed key, and the errors
        IDEMPOTENCY_KEY_REUSED (another request) and IDEMPOTENCY_KEY_IN_USE (the first one still runs).
        """
        key = request.headers.get(_HEADER, "").strip()
        if not key:
            return await work()
        if not _KEY.fullmatch(key):
            raise InvalidField(_HEADER, f"Give 1 to 255 visible ASCII characters in {_HEADER}.")
        lease = _Lease(caller.account_id, key, new_request_id())
        first = await self.client.begin(
            idempotency_pb2.BeginCallRequest(
                account_id=lease.account_id,
                idempotency_key=lease.key,
                fingerprint=await _fingerprint(request, form),
                lease_id=lease.lease_id,
                lease_time=duration(self.lease_s),
            )
        )
        if first is not None:
            return await self._again(caller.account_id, first)
        try:
            response = await work()
        except BaseException:
            await asyncio.shield(self._abandon(lease))
            raise
        await asyncio.shield(self._keep(lease, caller, response))
        return response

    async def _again(self, account_id: str, first: idempotency_pb2.StoredAnswer) -> Response:
        body = first.body
        if first.body_reference:
            body = await self.jobs.read_whole(account_id, first.body_reference)
        headers = {header.name: header.value for header in first.headers}
        return Response(body, first.status, {**headers, "X-Repeated-Request": "true"})

    async def _keep(self, lease: _Lease, caller: auth_pb2.AuthenticateResponse, response: Response) -> None:
        """The caller has paid, so an answer that cannot be kept is still given."""
        body = bytes(response.body)
        answer = idempotency_pb2.StoredAnswer(
            status=response.status_code,
            headers=[
                idempotency_pb2.AnswerHeader(name=name, value=value)
                for name, value in response.headers.items()
                if name.lower() not in _FRESH_HEADERS
            ],
        )
        try:
            if len(body) <= _INLINE_BYTES:
                answer.body = body
            else:
                content_type = response.headers.get("content-type", "").partition(";")[0]
                stored = await self.jobs.store(caller_for(caller, "", _KEPT_S), body, content_type)
                answer.body_reference = stored.result_id
            await self.client.complete(
                idempotency_pb2.CompleteCallRequest(
                    account_id=lease.account_id,
                    idempotency_key=lease.key,
                    lease_id=lease.lease_id,
                    answer=answer,
                )
            )
        except MatteworksError as error:
            log.warning("answer_not_kept", reason=error.reason_name)

    async def _abandon(self, lease: _Lease) -> None:
        try:
            await self.client.abandon(
                idempotency_pb2.AbandonCallRequest(
                    account_id=lease.account_id, idempotency_key=lease.key, lease_id=lease.lease_id
                )
            )
        except MatteworksError as error:
            log.warning("idempotency_key_not_freed", reason=error.reason_name)


@dataclass(frozen=True, slots=True)
class _Lease:
    account_id: str
    key: str
    lease_id: str


async def _fingerprint(request: Request, form: RawForm) -> str:
    """Equal for equal requests. The order of fields and the form's encoding do not count."""
    parts = [
        f"{request.method} {request.url.path}?{request.url.query}".encode(),
        request.headers.get("accept", "").encode(),
    ]
    for name, text in sorted(form.texts.items()):
        parts += [name.encode(), text.encode("utf-8", "replace")]
    for name, content in sorted(form.files.items()):
        parts += [name.encode(), content]

    def digest() -> str:
        state = hashlib.sha256()
        for part in parts:
            state.update(len(part).to_bytes(8, "big"))
            state.update(part)
        return state.hexdigest()

    if sum(map(len, parts)) > _IN_LOOP_BYTES:
        return await asyncio.to_thread(digest)
    return digest()
