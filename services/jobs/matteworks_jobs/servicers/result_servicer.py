"""ResultService: bytes in, signed URLs out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

from google.protobuf.timestamp_pb2 import Timestamp

from matteworks.jobs.v1 import results_pb2, results_pb2_grpc
from matteworks_common.clock import Clock
from matteworks_common.errors import InvalidField
from matteworks_jobs.items_view import timestamp
from matteworks_jobs.results.keeper import ResultKeeper
from matteworks_jobs.results.objects import ObjectBox
from matteworks_jobs.servicers.wire import (
    checked_account,
    checked_count,
    checked_result_id,
    lifetime_us,
    new_id,
    retention_s,
)
from matteworks_jobs.stores.records import ResultRecord
from matteworks_jobs.stores.results import ResultIndex
from matteworks_removal.content_types import CONTENT_TYPES

_CONTENT_TYPES: Final = frozenset({*CONTENT_TYPES.values(), "application/json"})


class ResultServicer(results_pb2_grpc.ResultServiceServicer):
    """Proto in, keeper, proto out."""

    def __init__(self, keeper: ResultKeeper, index: ResultIndex, box: ObjectBox, clock: Clock) -> None:
        self._keeper = keeper
        self._index = index
        self._box = box
        self._clock = clock

    async def StoreResult(
        self, request: results_pb2.StoreResultRequest, context: Any
    ) -> results_pb2.StoreResultResponse:
        account_id = checked_account(request.caller.account_id)
        result_id = checked_result_id(request.result_id) if request.result_id else new_id("img")
        if not request.content:
            raise InvalidField("content", "Send the bytes to keep.")
        if request.content_type not in _CONTENT_TYPES:
            raise InvalidField("content_type", f"Give one of {', '.join(sorted(_CONTENT_TYPES))}.")
        expires_us = round((self._clock.unix_s() + retention_s(request.caller)) * 1e6)
        earlier = await self._index.get(result_id)
        if earlier is not None and earlier.account_id != account_id:
            raise InvalidField("result_id", "This id is taken; give a random one.")
        record = await self._keeper.store(
            account_id,
            result_id,
            request.content,
            request.content_type,
            expires_us,
            lifetime_us("url_lifetime", request.url_lifetime),
        )
        return results_pb2.StoreResultResponse(result=await self._keeper.to_proto(record))

    async def GetResult(
        self, request: results_pb2.GetResultRequest, context: Any
    ) -> results_pb2.GetResultResponse:
        record = await self._keeper.get(checked_account(request.account_id), request.result_id)
        return results_pb2.GetResultResponse(result=await self._keeper.to_proto(record))

    async def ReadResult(
        self, request: results_pb2.ReadResultRequest, context: Any
    ) -> AsyncIterator[results_pb2.ReadResultResponse]:
        record = await self._permitted(request)
        first, count = _range(request, record.size_bytes)
        yield results_pb2.ReadResultResponse(
            facts=results_pb2.ResultFacts(
                content_type=record.content_type,
                size_bytes=record.size_bytes,
                first_byte=first,
                byte_count=count,
                # Bytes under one id change only when they are stored anew.
                etag=f'"{record.result_id}-{record.created_us:x}"',
                create_time=timestamp(record.created_us),
                expire_time=timestamp(record.expires_us),
            )
        )
        if not request.is_facts_only:
            async for piece in self._box.stream(f"results/{record.result_id}", first, count):
                yield results_pb2.ReadResultResponse(content=piece)

    async def DeleteResult(
        self, request: results_pb2.DeleteResultRequest, context: Any
    ) -> results_pb2.DeleteResultResponse:
        await self._keeper.delete(checked_account(request.account_id), request.result_id)
        now = Timestamp()
        now.FromMicroseconds(round(self._clock.unix_s() * 1e6))
        return results_pb2.DeleteResultResponse(delete_time=now)

    async def ListResults(
        self, request: results_pb2.ListResultsRequest, context: Any
    ) -> results_pb2.ListResultsResponse:
        account_id = checked_account(request.account_id)
        count = checked_count("page_size", request.page_size, 100, 1000)
        records = await self._index.latest(account_id, count)
        return results_pb2.ListResultsResponse(
            results=[await self._keeper.to_proto(record) for record in records]
        )

    async def _permitted(self, request: results_pb2.ReadResultRequest) -> ResultRecord:
        match request.WhichOneof("permission"):
            case "signature":
                signature = request.signature
                return await self._keeper.get_signed(
                    request.result_id, signature.expires, signature.signature
                )
            case "account_id":
                return await self._keeper.get(checked_account(request.account_id), request.result_id)
            case _:
                raise InvalidField("permission", "Name the account, or send the URL's signature.")


def _range(request: results_pb2.ReadResultRequest, size_bytes: int) -> tuple[int, int]:
    """First byte and count."""
    first = request.first_byte
    if first < 0:
        first = max(0, size_bytes + first)
    if first >= size_bytes or request.max_byte_count < 0:
        raise InvalidField(
            "range",
            "The range starts behind the end of the result.",
            metadata={"size_bytes": str(size_bytes)},
        )
    count = size_bytes - first
    return first, min(count, request.max_byte_count) if request.max_byte_count else count
