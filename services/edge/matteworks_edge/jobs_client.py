"""The service of batches and stored results, as the gateway calls it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import grpc
from google.protobuf.duration_pb2 import Duration

from matteworks.auth.v1 import auth_pb2
from matteworks.jobs.v1 import (
    jobs_pb2,
    jobs_pb2_grpc,
    removal_pb2,
    results_pb2,
    results_pb2_grpc,
    webhooks_pb2,
    webhooks_pb2_grpc,
)
from matteworks_common.channels import call, carried_metadata
from matteworks_common.errors import from_rpc_error

__all__ = ["JobsClient", "caller_for", "duration"]

# A result goes out as fast as its reader takes it.
_READ_S: Final = 600.0


def duration(seconds: float) -> Duration:
    """The wire form of a number of seconds."""
    message = Duration()
    message.FromMicroseconds(round(seconds * 1e6))
    return message


def caller_for(
    caller: auth_pb2.AuthenticateResponse, dialect: str, max_retention_s: float | None = None
) -> removal_pb2.Caller:
    """Whose work it is. Results stay as long as the plan says, or `max_retention_s` where that is less."""
    retention_s = caller.plan_details.result_retention.ToSeconds() or 86_400
    return removal_pb2.Caller(
        account_id=caller.account_id,
        key_id=caller.key_id,
        is_test=caller.is_test,
        dialect=dialect,
        result_retention=duration(min(retention_s, max_retention_s or retention_s)),
    )


@dataclass(frozen=True, slots=True)
class OpenResult:
    """What is told of a result, and its bytes. Read `pieces` to the end, or call `close`."""

    facts: results_pb2.ResultFacts
    stream: AsyncIterator[results_pb2.ReadResultResponse]
    close: Callable[[], object]

    async def pieces(self) -> AsyncIterator[bytes]:
        """The bytes as they come. Raises the MatteworksError of the service."""
        try:
            async for answer in self.stream:
                yield answer.content
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        finally:
            self.close()


class JobsClient:
    """Every method raises the MatteworksError of the service; Unavailable when it does not answer."""

    def __init__(self, channel: grpc.aio.Channel, timeout_s: float) -> None:
        self._jobs = jobs_pb2_grpc.JobServiceStub(channel)
        self._results = results_pb2_grpc.ResultServiceStub(channel)
        self._webhooks = webhooks_pb2_grpc.WebhookServiceStub(channel)
        self._timeout_s = timeout_s

    async def create_batch(
        self, header: jobs_pb2.BatchHeader, items: Iterable[removal_pb2.RemovalSpec]
    ) -> jobs_pb2.CreateBatchResponse:
        """Hand in a batch; all of it or nothing."""

        async def parts() -> AsyncIterator[jobs_pb2.CreateBatchRequest]:
            yield jobs_pb2.CreateBatchRequest(header=header)
            for item in items:
                yield jobs_pb2.CreateBatchRequest(item=item)

        try:
            return await self._jobs.CreateBatch(parts(), timeout=self._timeout_s, metadata=carried_metadata())
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error

    async def create_removal(self, request: jobs_pb2.CreateRemovalRequest) -> jobs_pb2.CreateRemovalResponse:
        """Hand in one picture."""
        return await call(self._jobs.CreateRemoval, request, timeout_s=self._timeout_s)

    async def get_item(self, account_id: str, item_id: str) -> removal_pb2.Item:
        """One picture. Raises NotFound (ITEM_NOT_FOUND)."""
        request = jobs_pb2.GetItemRequest(account_id=account_id, item_id=item_id)
        return (await call(self._jobs.GetItem, request, timeout_s=self._timeout_s)).item

    async def get_batch(self, account_id: str, batch_id: str) -> jobs_pb2.GetBatchResponse:
        """A batch with its first thousand pictures. Raises NotFound (BATCH_NOT_FOUND)."""
        request = jobs_pb2.GetBatchRequest(account_id=account_id, batch_id=batch_id)
        return await call(self._jobs.GetBatch, request, timeout_s=self._timeout_s)

    async def store(
        self,
        caller: removal_pb2.Caller,
        content: bytes,
        content_type: str,
        *,
        url_lifetime_s: float = 0,
    ) -> removal_pb2.StoredResult:
        """Keep bytes. Raises LimitExceeded (RESULT_STORE_FULL)."""
        request = results_pb2.StoreResultRequest(
            caller=caller, content=content, content_type=content_type, url_lifetime=duration(url_lifetime_s)
        )
        return (await call(self._results.StoreResult, request, timeout_s=self._timeout_s)).result

    async def read(self, request: results_pb2.ReadResultRequest) -> OpenResult:
        """A result whose bytes come as they are read. Raises NotFound (RESULT_NOT_FOUND), Forbidden
        (RESULT_URL_INVALID), InvalidField (a range behind the end).
        """
        answers = self._results.ReadResult(request, timeout=_READ_S, metadata=carried_metadata())
        stream = aiter(answers)
        try:
            first = await anext(stream)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        return OpenResult(first.facts, stream, answers.cancel)

    async def read_whole(self, account_id: str, result_id: str) -> bytes:
        """The bytes of an account's own result. Raises NotFound (RESULT_NOT_FOUND)."""
        request = results_pb2.ReadResultRequest(account_id=account_id, result_id=result_id)
        result = await self.read(request)
        return b"".join([piece async for piece in result.pieces()])

    async def delete(self, account_id: str, result_id: str) -> datetime:
        """When it was deleted: it is gone. Raises NotFound (RESULT_NOT_FOUND)."""
        request = results_pb2.DeleteResultRequest(account_id=account_id, result_id=result_id)
        answer = await call(self._results.DeleteResult, request, timeout_s=self._timeout_s)
        return answer.delete_time.ToDatetime(UTC)

    async def report_low_credits(self, account_id: str, available_milli: int, granted_milli: int) -> None:
        """Tell the account's webhooks, once for each `granted_milli`."""
        request = webhooks_pb2.ReportLowCreditsRequest(
            account_id=account_id,
            available_credits_milli=available_milli,
            granted_credits_milli=granted_milli,
        )
        await call(self._webhooks.ReportLowCredits, request, timeout_s=self._timeout_s)
