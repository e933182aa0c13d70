"""Bad input: a clear error, nothing charged, nothing kept."""

from __future__ import annotations

import pytest

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks.jobs.v1 import removal_pb2
from matteworks_common.errors import InvalidField, LimitExceeded, MatteworksError, NotFound
from tests.support.jobs_harness import JobsStack, jobs_stack
from tests.support.valkey import ValkeyProcess

PICTURE_URL = "https://pictures.example.com/a.jpg"


@pytest.mark.parametrize("count", [0, 21])
async def test_a_batch_of_none_or_of_too_many_is_refused_and_leaves_nothing(
    stack: JobsStack, count: int
) -> None:
    with pytest.raises(InvalidField) as caught:
        await stack.submit([stack.spec()] * count, max_item_count=20)

    await stack.swept()
    assert caught.value.reason == reasons.ERROR_REASON_INVALID_BATCH_SIZE
    assert caught.value.metadata == {"max_items": "20"}
    assert stack.files() == []


async def test_a_wrong_item_refuses_the_whole_batch_and_names_it(stack: JobsStack) -> None:
    wrong = removal_pb2.RemovalSpec(image_url="ftp://example.com/a.jpg")

    with pytest.raises(InvalidField) as caught:
        await stack.submit([stack.spec(), wrong])

    assert (caught.value.field, caught.value.reason) == (
        "items[1].image_url",
        reasons.ERROR_REASON_INVALID_IMAGE_URL,
    )
    assert stack.files() == []


async def test_an_item_without_a_picture_is_refused(stack: JobsStack) -> None:
    with pytest.raises(InvalidField) as caught:
        await stack.submit([removal_pb2.RemovalSpec()])

    assert caught.value.reason == reasons.ERROR_REASON_MISSING_SOURCE


async def test_only_the_item_whose_picture_is_none_fails_and_costs_nothing(stack: JobsStack) -> None:
    items = [stack.spec(), removal_pb2.RemovalSpec(image=b"this is no picture"), stack.spec()]

    async with stack.working():
        accepted = await stack.submit(items)
        await stack.watch(accepted.batch.batch_id)

    found = (await stack.batch(accepted.batch.batch_id)).items
    assert [item.state for item in found] == [
        removal_pb2.ITEM_STATE_SUCCEEDED,
        removal_pb2.ITEM_STATE_FAILED,
        removal_pb2.ITEM_STATE_SUCCEEDED,
    ]
    assert (found[1].error.reason, found[1].charged_credits_milli) == ("INVALID_FILE_TYPE", 0)
    assert (await stack.account()).spent_credits_milli == 2000
    await stack.swept()
    assert stack.files() == sorted(f"results/{found[n].item_id}" for n in (0, 2))


async def test_an_unreachable_url_fails_its_item_with_the_words_of_a_synchronous_call(
    stack: JobsStack,
) -> None:
    async with stack.working():
        item = await stack.ended(
            await stack.remove(removal_pb2.RemovalSpec(image_url="http://127.0.0.1:1/a.jpg"))
        )

    assert item.error.reason == "FAILED_IMAGE_DOWNLOAD"
    assert item.error.field == "image_url"
    account = await stack.account()
    assert (account.spent_credits_milli, account.held_credits_milli) == (0, 0)


@pytest.mark.parametrize(
    "url",
    [
        "http://10.0.0.1/hook",
        "http://[::1]/hook",
        "http://localhost/hook",
        "http://169.254.169.254/",
        "ftp://example.com/",
        "https://user:secret@example.com/",
    ],
)
async def test_a_webhook_on_a_private_address_is_refused_when_it_is_named(
    valkey: ValkeyProcess, tmp_path_factory: pytest.TempPathFactory, url: str
) -> None:
    async with jobs_stack(valkey, tmp_path_factory.mktemp("objects"), internal_receivers="") as stack:
        with pytest.raises(InvalidField) as batch_refusal:
            await stack.submit([stack.spec()], webhook_url=url)
        with pytest.raises(MatteworksError) as removal_refusal:
            await stack.remove(stack.spec(), webhook_url=url)

        for refusal in (batch_refusal, removal_refusal):
            assert refusal.value.reason == reasons.ERROR_REASON_INVALID_WEBHOOK_URL
            assert refusal.value.field == "webhook_url"
        assert stack.files() == []


async def test_a_full_store_refuses_the_batch(
    valkey: ValkeyProcess, tmp_path_factory: pytest.TempPathFactory
) -> None:
    objects = tmp_path_factory.mktemp("objects")
    async with jobs_stack(valkey, objects, min_free_mb=10**9) as stack:
        with pytest.raises(LimitExceeded) as caught:
            await stack.submit([stack.spec()])
        with pytest.raises(LimitExceeded) as caught_result:
            await stack.store()

        assert caught.value.reason == reasons.ERROR_REASON_RESULT_STORE_FULL
        assert caught_result.value.reason == reasons.ERROR_REASON_RESULT_STORE_FULL
        assert stack.files() == []


async def test_an_item_whose_result_finds_no_room_fails_and_costs_nothing(stack: JobsStack) -> None:
    async with stack.working(min_free_mb=10**9):
        item = await stack.ended(await stack.remove(stack.spec()))

    account = await stack.account()
    assert item.error.reason == "RESULT_STORE_FULL"
    assert (account.spent_credits_milli, account.held_credits_milli) == (0, 0)


async def test_more_items_than_may_wait_are_refused_with_a_time_to_come_back(
    valkey: ValkeyProcess, tmp_path_factory: pytest.TempPathFactory
) -> None:
    objects = tmp_path_factory.mktemp("objects")
    async with jobs_stack(valkey, objects, max_waiting_items=2) as stack:
        await stack.submit([stack.spec(), stack.spec()])
        files = stack.files()
        with pytest.raises(LimitExceeded) as caught:
            await stack.submit([stack.spec()])

        await stack.swept()
        assert caught.value.reason == reasons.ERROR_REASON_OVERLOADED
        assert caught.value.retry_after_s
        assert stack.files() == files


async def test_another_tenants_batch_item_and_result_are_not_found(stack: JobsStack) -> None:
    accepted = await stack.submit([stack.spec()], account_id="b")
    result = await stack.store()

    with pytest.raises(NotFound) as batch:
        await stack.batch(accepted.batch.batch_id)
    with pytest.raises(NotFound) as item:
        await stack.item(accepted.item_ids[0])
    with pytest.raises(NotFound) as read:
        await stack.read(result.result_id, account_id="b")

    assert batch.value.reason == reasons.ERROR_REASON_BATCH_NOT_FOUND
    assert item.value.reason == reasons.ERROR_REASON_ITEM_NOT_FOUND
    assert read.value.reason == reasons.ERROR_REASON_RESULT_NOT_FOUND
