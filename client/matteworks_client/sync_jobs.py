"""Batches and stored results for ordinary programs; part of `MatteworksClient`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar, Unpack, cast

import grpc

import matteworks_client.jobs as jobs
from matteworks.auth.v1 import auth_pb2, auth_pb2_grpc
from matteworks.jobs.v1 import jobs_pb2, jobs_pb2_grpc, results_pb2, results_pb2_grpc
from matteworks_client.choices import QualityName, RenderChoices
from matteworks_common.errors import MatteworksError, from_rpc_error

T = TypeVar("T")


class SyncJobs:
    """Every method takes the API key of the account whose work it is, and raises the MatteworksError of the
    services.
    """

    _timeout_s: float
    _call: Callable[..., Any]

    def _open_jobs(self, channel: grpc.Channel) -> None:
        self._keys = auth_pb2_grpc.AuthServiceStub(channel)
        self._jobs = jobs_pb2_grpc.JobServiceStub(channel)
        self._results = results_pb2_grpc.ResultServiceStub(channel)

    def submit_batch(
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
        caller = jobs.caller_of(self._owner(key))
        failures: list[Exception] = []

        def parts() -> Iterator[jobs_pb2.CreateBatchRequest]:
            # The library reads this in a thread of its own, and would tell only that the call broke.
            try:
                yield from jobs.batch_parts(caller, pictures, webhook_url, choices, model, quality)
            except Exception as error:
                failures.append(error)
                raise

        try:
            answer = self._jobs.CreateBatch(parts(), timeout=timeout_s)
        except grpc.RpcError as error:
            raise failures[0] if failures else _error_of(error) from error
        return jobs.batch_of(answer.batch)

    def batch(self, batch_id: str, *, key: str) -> jobs.Batch:
        """How far a batch has come. Raises NotFound (BATCH_NOT_FOUND)."""
        request = jobs_pb2.GetBatchRequest(
            account_id=self._owner(key).account_id, batch_id=batch_id, max_item_count=1
        )
        return jobs.batch_of(self._call(self._jobs.GetBatch, request, None).batch)

    def batches(self, *, key: str, limit: int = 100) -> list[jobs.Batch]:
        """The latest batches of the account, the newest first; `limit` 1 to 1000."""
        request = jobs_pb2.ListBatchesRequest(account_id=self._owner(key).account_id, page_size=limit)
        return [jobs.batch_of(batch) for batch in self._call(self._jobs.ListBatches, request, None).batches]

    def items(self, batch_id: str, *, key: str) -> Iterator[jobs.Item]:
        """The pictures of a batch in order, fetched page by page."""
        account_id, first = self._owner(key).account_id, 0
        while True:
            request = jobs_pb2.GetBatchRequest(
                account_id=account_id,
                batch_id=batch_id,
                first_index=first,
                max_item_count=jobs.PAGE_ITEMS,
            )
            page = self._call(self._jobs.GetBatch, request, None).items
            yield from map(jobs.item_of, page)
            first += len(page)
            if len(page) < jobs.PAGE_ITEMS:
                return

    def watch(self, batch_id: str, *, key: str) -> Iterator[jobs.Batch]:
        """Every change of a batch until it has ended. A broken connection is opened again for a minute."""
        request = jobs_pb2.WatchBatchRequest(account_id=self._owner(key).account_id, batch_id=batch_id)
        failure_count = 0
        while True:
            try:
                for answer in self._jobs.WatchBatch(request):
                    failure_count = 0
                    batch = jobs.batch_of(answer.batch)
                    yield batch
                    if batch.is_ended:
                        return
            except grpc.RpcError as failure:
                error = _error_of(failure)
                failure_count += 1
                if not jobs.may_watch_on(error, failure_count):
                    raise error from failure
            time.sleep(jobs.WATCH_PAUSE_S)

    def cancel_batch(self, batch_id: str, *, key: str) -> jobs.Batch:
        """End what has not begun; what is under way ends as it does."""
        request = jobs_pb2.CancelBatchRequest(account_id=self._owner(key).account_id, batch_id=batch_id)
        return jobs.batch_of(self._call(self._jobs.CancelBatch, request, None).batch)

    def download(self, result_id: str, path: Path, *, key: str, timeout_s: float = 600.0) -> Path:
        """Write a stored result to `path`, piece by piece; the file appears when it is complete.

        Raises NotFound (RESULT_NOT_FOUND), OSError.
        """
        request = results_pb2.ReadResultRequest(account_id=self._owner(key).account_id, result_id=result_id)

        partial = jobs.partial_of(path)
        try:
            with partial.open("xb") as file:
                for answer in self._results.ReadResult(request, timeout=timeout_s):
                    file.write(answer.content)
            partial.replace(path)
        except grpc.RpcError as error:
            raise _error_of(error) from error
        finally:
            partial.unlink(missing_ok=True)
        return path

    def delete_result(self, result_id: str, *, key: str) -> None:
        """Delete a stored result: it is gone when this returns. Raises NotFound (RESULT_NOT_FOUND)."""
        request = results_pb2.DeleteResultRequest(account_id=self._owner(key).account_id, result_id=result_id)
        self._call(self._results.DeleteResult, request, None)

    def _owner(self, key: str) -> auth_pb2.AuthenticateResponse:
        request = auth_pb2.AuthenticateRequest(api_key=key)
        return cast(auth_pb2.AuthenticateResponse, self._call(self._keys.Authenticate, request, None))


def _error_of(failure: grpc.RpcError) -> MatteworksError:
    # Both kinds of failed calls offer the code and the trailing metadata that are read here.
    return from_rpc_error(cast(Any, failure))
