"""Batches and stored results for asyncio programs; part of `AsyncMatteworksClient`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Unpack, cast

import grpc

import matteworks_client.jobs as jobs
from matteworks.auth.v1 import auth_pb2, auth_pb2_grpc
from matteworks.jobs.v1 import jobs_pb2, jobs_pb2_grpc, results_pb2, results_pb2_grpc
from matteworks_client.choices import QualityName, RenderChoices
from matteworks_common.errors import from_rpc_error


class AsyncJobs:
    """The methods of `SyncJobs`, awaited. Files are read and written in threads."""

    _timeout_s: float
    _call: Callable[..., Any]

    def _open_jobs(self, channel: grpc.aio.Channel) -> None:
        self._keys = auth_pb2_grpc.AuthServiceStub(channel)
        self._jobs = jobs_pb2_grpc.JobServiceStub(channel)
        self._results = results_pb2_grpc.ResultServiceStub(channel)

    async def submit_batch(
        self,
        pictures: Iterable[jobs.BatchPicture],
        *,
        key: str,
        webhook_url: str = "",
        model: str = "",
        quality: QualityName | None = None,
        timeout_s: float = 600.0,
        **choices: Unpack[RenderChoices],
    ) -> jobs.Batch:
        """Hand in 1 to 10,000 pictures; all are accepted or none. They are read as they are sent.

        A picture is bytes, a Path, an http(s) URL, or a pair of one of these and choices of its own, which
        replace those of the batch. `model` and `quality` are as of `remove_background`. Raises OSError,
        ValueError too.
        """
        caller = jobs.caller_of(await self._owner(key))
        parts = jobs.batch_parts(caller, pictures, webhook_url, choices, model, quality)
        answering = self._jobs.CreateBatch(timeout=timeout_s)
        try:
            while (part := await asyncio.to_thread(_next_of, parts)) is not None:
                await answering.write(part)
            await answering.done_writing()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            # The service refused before it had everything; its answer says why.
            pass
        except BaseException:
            answering.cancel()
            raise
        try:
            answer = await answering
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        return jobs.batch_of(answer.batch)

    async def batch(self, batch_id: str, *, key: str) -> jobs.Batch:
        """How far a batch has come. Raises NotFound (BATCH_NOT_FOUND)."""
        account_id = (await self._owner(key)).account_id
        request = jobs_pb2.GetBatchRequest(account_id=account_id, batch_id=batch_id, max_item_count=1)
        return jobs.batch_of((await self._call(self._jobs.GetBatch, request, None)).batch)

    async def batches(self, *, key: str, limit: int = 100) -> list[jobs.Batch]:
        """The latest batches of the account, the newest first; `limit` 1 to 1000."""
        account_id = (await self._owner(key)).account_id
        request = jobs_pb2.ListBatchesRequest(account_id=account_id, page_size=limit)
        found = await self._call(self._jobs.ListBatches, request, None)
        return [jobs.batch_of(batch) for batch in found.batches]

    async def items(self, batch_id: str, *, key: str) -> AsyncIterator[jobs.Item]:
        """The pictures of a batch in order, fetched page by page."""
        account_id, first = (await self._owner(key)).account_id, 0
        while True:
            request = jobs_pb2.GetBatchRequest(
                account_id=account_id,
                batch_id=batch_id,
                first_index=first,
                max_item_count=jobs.PAGE_ITEMS,
            )
            page = (await self._call(self._jobs.GetBatch, request, None)).items
            for message in page:
                yield jobs.item_of(message)
            first += len(page)
            if len(page) < jobs.PAGE_ITEMS:
                return

    async def watch(self, batch_id: str, *, key: str) -> AsyncIterator[jobs.Batch]:
        """Every change of a batch until it has ended. A broken connection is opened again for a minute."""
        account_id = (await self._owner(key)).account_id
        request = jobs_pb2.WatchBatchRequest(account_id=account_id, batch_id=batch_id)
        failure_count = 0
        while True:
            try:
                async for answer in self._jobs.WatchBatch(request):
                    failure_count = 0
                    batch = jobs.batch_of(answer.batch)
                    yield batch
                    if batch.is_ended:
                        return
            except grpc.aio.AioRpcError as failure:
                error = from_rpc_error(failure)
                failure_count += 1
                if not jobs.may_watch_on(error, failure_count):
                    raise error from failure
            await asyncio.sleep(jobs.WATCH_PAUSE_S)

    async def cancel_batch(self, batch_id: str, *, key: str) -> jobs.Batch:
        """End what has not begun; what is under way ends as it does."""
        account_id = (await self._owner(key)).account_id
        request = jobs_pb2.CancelBatchRequest(account_id=account_id, batch_id=batch_id)
        return jobs.batch_of((await self._call(self._jobs.CancelBatch, request, None)).batch)

    async def download(self, result_id: str, path: Path, *, key: str, timeout_s: float = 600.0) -> Path:
        """Write a stored result to `path`, piece by piece; the file appears when it is complete.

        Raises NotFound (RESULT_NOT_FOUND), OSError.
        """
        account_id = (await self._owner(key)).account_id
        request = results_pb2.ReadResultRequest(account_id=account_id, result_id=result_id)
        partial = jobs.partial_of(path)
        try:
            with await asyncio.to_thread(partial.open, "xb") as file:
                async for answer in self._results.ReadResult(request, timeout=timeout_s):
                    await asyncio.to_thread(file.write, answer.content)
            await asyncio.to_thread(partial.replace, path)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        finally:
            partial.unlink(missing_ok=True)
        return path

    async def delete_result(self, result_id: str, *, key: str) -> None:
        """Delete a stored result: it is gone when this returns. Raises NotFound (RESULT_NOT_FOUND)."""
        account_id = (await self._owner(key)).account_id
        request = results_pb2.DeleteResultRequest(account_id=account_id, result_id=result_id)
        await self._call(self._results.DeleteResult, request, None)

    async def _owner(self, key: str) -> auth_pb2.AuthenticateResponse:
        request = auth_pb2.AuthenticateRequest(api_key=key)
        return cast(auth_pb2.AuthenticateResponse, await self._call(self._keys.Authenticate, request, None))


def _next_of(parts: Iterator[jobs_pb2.CreateBatchRequest]) -> jobs_pb2.CreateBatchRequest | None:
    return next(parts, None)
