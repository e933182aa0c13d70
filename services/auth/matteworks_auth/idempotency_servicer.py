"""IdempotencyService: the first answer again, for a request that is sent twice."""

from __future__ import annotations

import base64
from typing import Any

from matteworks.auth.v1 import idempotency_pb2, idempotency_pb2_grpc
from matteworks_auth.stores.idempotency import CallId, IdempotencyStore
from matteworks_auth.wire import checked_id
from matteworks_common.errors import InvalidField

MAX_KEY_LENGTH = 255
MAX_BODY_BYTES = 16 * 1024
MAX_HEADER_BYTES = 8 * 1024
MAX_REFERENCE_LENGTH = 512
DEFAULT_LEASE_S = 120
MAX_LEASE_S = 24 * 3600


class IdempotencyServicer(idempotency_pb2_grpc.IdempotencyServiceServicer):
    """Proto in, store call, proto out."""

    def __init__(self, store: IdempotencyStore) -> None:
        self._store = store

    async def BeginCall(
        self, request: idempotency_pb2.BeginCallRequest, context: Any
    ) -> idempotency_pb2.BeginCallResponse:
        lease_us = DEFAULT_LEASE_S * 1_000_000
        if request.HasField("lease_time"):
            lease_us = request.lease_time.ToMicroseconds()
        if not 0 < lease_us <= MAX_LEASE_S * 1_000_000:
            raise InvalidField("lease_time", "Give more than 0 and at most 24 hours.")
        fingerprint = checked_id("fingerprint", request.fingerprint)
        answer = await self._store.begin(_call_of(request), fingerprint, lease_us)
        response = idempotency_pb2.BeginCallResponse()
        if answer is not None:
            response.answer.ParseFromString(base64.b64decode(answer))
        return response

    async def CompleteCall(
        self, request: idempotency_pb2.CompleteCallRequest, context: Any
    ) -> idempotency_pb2.CompleteCallResponse:
        _check_answer(request.answer)
        # As text: the store's connection reads every reply as text.
        text = base64.b64encode(request.answer.SerializeToString()).decode()
        is_stored = await self._store.complete(_call_of(request), text)
        return idempotency_pb2.CompleteCallResponse(is_stored=is_stored)

    async def AbandonCall(
        self, request: idempotency_pb2.AbandonCallRequest, context: Any
    ) -> idempotency_pb2.AbandonCallResponse:
        await self._store.abandon(_call_of(request))
        return idempotency_pb2.AbandonCallResponse()


def _call_of(
    request: idempotency_pb2.BeginCallRequest
    | idempotency_pb2.CompleteCallRequest
    | idempotency_pb2.AbandonCallRequest,
) -> CallId:
    if not 0 < len(request.idempotency_key) <= MAX_KEY_LENGTH:
        raise InvalidField("idempotency_key", f"Give 1 to {MAX_KEY_LENGTH} characters.")
    return CallId(
        checked_id("account_id", request.account_id),
        request.idempotency_key,
        checked_id("lease_id", request.lease_id),
    )


def _check_answer(answer: idempotency_pb2.StoredAnswer) -> None:
    if not 100 <= answer.status <= 599:
        raise InvalidField("answer.status", "Give an HTTP status, 100 to 599.")
    if len(answer.body) > MAX_BODY_BYTES:
        raise InvalidField("answer.body", f"Give at most {MAX_BODY_BYTES} bytes, or a body_reference.")
    if len(answer.body_reference) > MAX_REFERENCE_LENGTH:
        raise InvalidField("answer.body_reference", f"Give at most {MAX_REFERENCE_LENGTH} characters.")
    header_bytes = sum(len(header.name) + len(header.value) for header in answer.headers)
    if header_bytes > MAX_HEADER_BYTES:
        raise InvalidField("answer.headers", f"Give at most {MAX_HEADER_BYTES} characters in all.")
