"""Stored results: read by those who may, whole or in part, until they are deleted or expire."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from google.protobuf.duration_pb2 import Duration

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_common.errors import Forbidden, InvalidField, NotFound
from matteworks_jobs.app import JobsDependencies
from tests.support.clock import ManualClock
from tests.support.jobs_harness import JobsStack, jobs_stack, signature_of
from tests.support.valkey import ValkeyProcess

CONTENT = bytes(range(256)) * 10_000


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest_asyncio.fixture
async def stack(valkey: ValkeyProcess, tmp_path: Path, clock: ManualClock) -> AsyncIterator[JobsStack]:
    deps = JobsDependencies(clock=clock, does_upkeep=False)
    async with jobs_stack(valkey, tmp_path / "objects", deps) as running:
        yield running


async def test_whoever_has_the_signed_url_reads_the_bytes_with_their_fixed_type(stack: JobsStack) -> None:
    result = await stack.store(CONTENT)

    facts, content = await stack.read(result.result_id, signature=signature_of(result.url))

    assert result.url.startswith(f"https://api.example.com/results/{result.result_id}?expires=")
    assert content == CONTENT
    assert (facts.content_type, facts.size_bytes) == ("image/png", len(CONTENT))


@pytest.mark.parametrize(
    ("first", "count", "expected"),
    [
        (0, 0, CONTENT),
        (5, 10, CONTENT[5:15]),
        (-3, 0, CONTENT[-3:]),
        (len(CONTENT) - 1, 100, CONTENT[-1:]),
        (1_000_000, 1_500_000, CONTENT[1_000_000:2_500_000]),
    ],
)
async def test_a_range_gives_just_these_bytes(
    stack: JobsStack, first: int, count: int, expected: bytes
) -> None:
    result = await stack.store(CONTENT)

    facts, content = await stack.read(result.result_id, first_byte=first, max_byte_count=count)

    assert content == expected
    assert (facts.byte_count, facts.size_bytes) == (len(expected), len(CONTENT))


async def test_a_range_behind_the_end_is_refused_with_the_size(stack: JobsStack) -> None:
    result = await stack.store(b"12345")

    with pytest.raises(InvalidField) as caught:
        await stack.read(result.result_id, first_byte=5)

    assert (caught.value.field, caught.value.metadata["size_bytes"]) == ("range", "5")


@pytest.mark.parametrize("altered", ["id", "expires", "signature", "empty"])
async def test_an_altered_url_is_refused(stack: JobsStack, altered: str) -> None:
    result, other = await stack.store(b"one"), await stack.store(b"two")
    signature = signature_of(result.url)
    result_id = result.result_id
    match altered:
        case "id":
            result_id = other.result_id
        case "expires":
            signature.expires += 1
        case "signature":
            signature.signature = signature.signature[::-1]
        case _:
            signature.signature = ""

    with pytest.raises(Forbidden) as caught:
        await stack.read(result_id, signature=signature)

    assert caught.value.reason == reasons.ERROR_REASON_RESULT_URL_INVALID


async def test_a_url_ends_with_its_lifetime_and_the_bytes_with_their_retention(
    stack: JobsStack, clock: ManualClock
) -> None:
    day = Duration(seconds=86_400)
    result = await stack.store(
        b"bytes",
        url_lifetime=Duration(seconds=3600),
    )
    assert result.expire_time.seconds - result.create_time.seconds == day.seconds
    assert result.url_expire_time.seconds - result.create_time.seconds == 3600

    clock.advance(3599)
    await stack.read(result.result_id, signature=signature_of(result.url))
    clock.advance(1)
    with pytest.raises(Forbidden):
        await stack.read(result.result_id, signature=signature_of(result.url))
    assert (await stack.read(result.result_id))[1] == b"bytes"
    clock.advance(86_400 - 3600)
    with pytest.raises(NotFound):
        await stack.read(result.result_id)
    assert await stack.listed() == []
    assert stack.files() != []
    await stack.swept()

    assert stack.files() == []


async def test_a_url_never_outlives_the_retention(stack: JobsStack) -> None:
    result = await stack.store(b"bytes", url_lifetime=Duration(seconds=10 * 86_400))

    assert result.url_expire_time == result.expire_time


async def test_a_deleted_result_is_gone_everywhere_when_the_call_returns(stack: JobsStack) -> None:
    result = await stack.store(CONTENT)
    assert await stack.listed() == [result.result_id]

    await stack.delete(result.result_id)

    assert stack.files() == []
    assert await stack.listed() == []
    with pytest.raises(NotFound):
        await stack.read(result.result_id, signature=signature_of(result.url))
    with pytest.raises(NotFound):
        await stack.delete(result.result_id)


async def test_nobody_deletes_another_tenants_result(stack: JobsStack) -> None:
    result = await stack.store(CONTENT)

    with pytest.raises(NotFound):
        await stack.delete(result.result_id, "b")

    assert (await stack.read(result.result_id))[1] == CONTENT


async def test_bytes_whose_storer_died_before_indexing_them_are_swept(
    stack: JobsStack, clock: ManualClock, valkey: ValkeyProcess
) -> None:
    """Stored, doomed for later, never indexed: what a killed process leaves."""
    result = await stack.store(b"bytes")
    (stack.objects / "results" / "img_orphan").write_bytes(b"orphan")
    from redis import Redis

    with Redis.from_url(valkey.url) as client:
        client.zadd("mw:jobs:doomed", {"results/img_orphan": (clock.unix_s() + 3600) * 1e6})

    await stack.swept()
    assert len(stack.files()) == 2
    clock.advance(3601)
    await stack.swept()

    assert stack.files() == [f"results/{result.result_id}"]
