"""Results in a bucket, over HTTP, on a real S3 server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from google.protobuf.duration_pb2 import Duration

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks.jobs.v1 import removal_pb2
from matteworks_common.errors import LimitExceeded, NotFound, Unavailable
from matteworks_jobs.app import JobsDependencies
from tests.support.clock import ManualClock
from tests.support.jobs_harness import jobs_stack, signature_of
from tests.support.s3_server import BUCKET, ObjectServer, s3_server
from tests.support.valkey import ValkeyProcess
from tests.support.webhook_receiver import receiving, status

CONTENT = bytes(range(256)) * 10_000
PREFIX = "results-of-tests"
STORE = {"object_store_url": f"s3://{BUCKET}/{PREFIX}"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectServer]:
    with s3_server(tmp_path_factory.mktemp("s3")) as running:
        yield running


@pytest.fixture
def s3(server: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> ObjectServer:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return server


async def status_of(s3: ObjectServer, result_id: str) -> int:
    """What the server itself says of the bytes, asked past us."""
    async with httpx.AsyncClient() as http:
        return (await http.get(f"{s3.endpoint}/{BUCKET}/{PREFIX}/results/{result_id}")).status_code


async def test_a_result_is_stored_read_by_its_signed_url_and_in_parts(
    valkey: ValkeyProcess, tmp_path: Path, s3: ObjectServer
) -> None:
    async with jobs_stack(valkey, tmp_path, **STORE) as stack:
        stored = await stack.store(CONTENT)
        signature = signature_of(stored.url)
        facts, content = await stack.read(stored.result_id, signature=signature)
        _, part = await stack.read(
            stored.result_id, signature=signature, first_byte=1_000_000, max_byte_count=1_500_000
        )
        _, end = await stack.read(stored.result_id, signature=signature, first_byte=-5)

        assert s3.names(PREFIX) == [f"results/{stored.result_id}"]
        assert (facts.content_type, facts.size_bytes) == ("image/png", len(CONTENT))
        assert content == CONTENT
        assert part == CONTENT[1_000_000:2_500_000]
        assert end == CONTENT[-5:]
        await stack.delete(stored.result_id)


async def test_deleted_bytes_are_gone_from_the_bucket_and_listed_nowhere_when_the_call_returns(
    valkey: ValkeyProcess, tmp_path: Path, s3: ObjectServer
) -> None:
    async with jobs_stack(valkey, tmp_path, **STORE) as stack:
        stored = await stack.store(CONTENT)
        before = await status_of(s3, stored.result_id)

        await stack.delete(stored.result_id)

        assert (before, await status_of(s3, stored.result_id)) == (200, 404)
        assert s3.names(PREFIX) == []
        assert await stack.listed() == []
        with pytest.raises(NotFound):
            await stack.read(stored.result_id, signature=signature_of(stored.url))
        with pytest.raises(NotFound):
            await stack.delete(stored.result_id)


async def test_native_urls_lead_to_the_bucket_and_end_with_the_bytes(
    valkey: ValkeyProcess, tmp_path: Path, s3: ObjectServer
) -> None:
    async with jobs_stack(valkey, tmp_path, native_urls=True, **STORE) as stack, httpx.AsyncClient() as http:
        stored = await stack.store(CONTENT)
        whole = await http.get(stored.url)
        part = await http.get(stored.url, headers={"Range": "bytes=5-14"})
        await stack.delete(stored.result_id)
        deleted = await http.get(stored.url)

    assert stored.url.startswith(s3.endpoint)
    assert (whole.status_code, whole.content) == (200, CONTENT)
    assert (part.status_code, part.content) == (206, CONTENT[5:15])
    assert part.headers["content-type"] == "image/png"
    assert deleted.status_code == 404


async def test_a_batch_leaves_only_its_results_and_its_deletion_nothing(
    valkey: ValkeyProcess, tmp_path: Path, s3: ObjectServer
) -> None:
    async with jobs_stack(valkey, tmp_path, **STORE) as stack:
        async with stack.working():
            accepted = await stack.submit([stack.spec(), stack.spec()])
            await stack.watch(accepted.batch.batch_id)
        items = (await stack.batch(accepted.batch.batch_id)).items
        await stack.swept()
        kept = s3.names(PREFIX)
        for item in items:
            await stack.delete(item.item_id)

    assert [item.state for item in items] == [removal_pb2.ITEM_STATE_SUCCEEDED] * 2
    assert kept == sorted(f"results/{item.item_id}" for item in items)
    assert s3.names(PREFIX) == []


async def test_what_expires_while_nobody_runs_is_swept_by_whoever_starts_next(
    valkey: ValkeyProcess, tmp_path: Path, s3: ObjectServer
) -> None:
    clock = ManualClock()
    deps = JobsDependencies(clock=clock, does_upkeep=False)
    async with jobs_stack(valkey, tmp_path, deps, **STORE) as stack:
        short = await stack.store(
            b"short",
            caller=removal_pb2.Caller(account_id="a", result_retention=Duration(seconds=3600)),
        )
        long = await stack.store(b"long")
    clock.advance(3601)

    async with jobs_stack(valkey, tmp_path, deps, **STORE) as stack:
        assert await status_of(s3, short.result_id) == 200
        await stack.swept()

        assert await status_of(s3, short.result_id) == 404
        assert s3.names(PREFIX) == [f"results/{long.result_id}"]
        assert await stack.listed() == [long.result_id]
        clock.advance(86_400)
        await stack.swept()
        assert s3.names(PREFIX) == []


async def test_a_bucket_that_is_away_is_told_before_the_caller_gives_up(
    valkey: ValkeyProcess, tmp_path: Path, s3: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client library's own patience is three minutes."""
    monkeypatch.setenv("AWS_ENDPOINT", "http://127.0.0.1:1")
    async with jobs_stack(valkey, tmp_path, **STORE) as stack:
        with pytest.raises(Unavailable):
            await stack.store(b"bytes", timeout_s=30)


@pytest.mark.parametrize(
    ("code", "said"), [(507, "507 Insufficient Storage"), (403, "<Error><Code>QuotaExceeded</Code></Error>")]
)
async def test_a_bucket_that_is_full_is_told_as_full(
    valkey: ValkeyProcess,
    tmp_path: Path,
    s3: ObjectServer,
    monkeypatch: pytest.MonkeyPatch,
    code: int,
    said: str,
) -> None:
    """A server that refuses as those that are full do: a real one cannot be filled in a test."""
    async with receiving() as full:
        full.answer = status(code, said)
        monkeypatch.setenv("AWS_ENDPOINT", full.url(""))
        async with jobs_stack(valkey, tmp_path, **STORE) as stack:
            with pytest.raises(LimitExceeded) as caught:
                await stack.store(b"bytes", timeout_s=30)
            with pytest.raises(LimitExceeded):
                await stack.submit([stack.spec()])

            assert caught.value.reason == reasons.ERROR_REASON_RESULT_STORE_FULL
            assert await stack.listed() == []
            assert (await stack.account()).spent_credits_milli == 0
