"""Requests of known callers are told to auth after their end, failed ones too, and nothing of pictures."""

from __future__ import annotations

import time

import pytest

from matteworks.auth.v1 import request_log_pb2
from tests.support.edge_harness import EdgeStack, picture

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_removal_is_told_with_its_charge_its_network_and_its_stages(edge: EdgeStack) -> None:
    before_s = time.time()
    answer = await edge.remove(size="auto", headers={"X-Request-Id": "one-that-went-well"})
    record = await edge.logged("one-that-went-well")

    assert answer.status_code == 200
    assert (record.dialect, record.route, record.status, record.outcome) == (
        "remove.bg",
        "removebg",
        200,
        "ok",
    )
    assert (record.charged_credits_milli, record.model, record.field) == (250, "test", "")
    assert record.key_id in edge.key
    assert before_s - 1 <= record.start_time.ToNanoseconds() / 1e9 <= time.time()
    stages = {stage.stage: stage.duration.ToNanoseconds() for stage in record.stages}
    assert {"authenticate", "receive", "reserve", "render", "render.decode", "commit"} <= set(stages)
    assert stages["render.decode"] == 2_000_000
    assert stages["render"] <= record.duration.ToNanoseconds()


@pytest.mark.parametrize(
    ("fields", "credits_milli", "outcome", "field", "status"),
    [
        ({"size": "gigantic"}, 10_000, "INVALID_SIZE", "size", 400),
        ({"size": "full"}, 0, "INSUFFICIENT_CREDITS", "", 402),
    ],
)
async def test_what_was_refused_is_told_with_its_reason(
    edge: EdgeStack, fields: dict[str, str], credits_milli: int, outcome: str, field: str, status: int
) -> None:
    edge.key = edge.accounts.new_key(credits_milli=credits_milli)
    answer = await edge.remove(headers={"X-Request-Id": "one-refused"}, **fields)
    record = await edge.logged("one-refused")

    assert answer.status_code == status
    assert (record.outcome, record.field, record.status) == (outcome, field, status)
    assert record.charged_credits_milli == 0


async def test_nothing_that_was_in_a_request_is_in_its_record(edge: EdgeStack) -> None:
    """Neither the key's secret, nor a file's name, nor an address that was asked for."""
    address = "http://127.0.0.1:9/secret-path?token=secret-token"
    await edge.http.post(
        "/v1.0/removebg",
        headers={"X-Api-Key": edge.key, "X-Request-Id": "one-with-secrets"},
        data={"image_url": address},
    )
    await edge.http.post(
        "/v1.0/removebg",
        headers={"X-Api-Key": edge.key, "X-Request-Id": "another-with-secrets"},
        files={"image_file": ("secret-name.jpg", picture())},
    )
    records = [await edge.logged(name) for name in ("one-with-secrets", "another-with-secrets")]

    assert records[0].outcome != "ok"
    written = b"".join(record.SerializeToString() for record in records)
    assert b"secret" not in written.replace(b"with-secrets", b"")
    assert edge.key.rpartition("_")[2].encode() not in written


async def test_reads_that_went_well_and_strangers_are_not_told(edge: EdgeStack) -> None:
    await edge.http.get("/v1.0/account", headers={"X-Api-Key": edge.key, "X-Request-Id": "a-read"})
    await edge.http.post("/v1.0/removebg", headers={"X-Api-Key": "nobodys", "X-Request-Id": "a-stranger"})
    await edge.remove(headers={"X-Request-Id": "the-last"})
    await edge.logged("the-last")
    asked = request_log_pb2.ListRequestsRequest(account_id=edge.books.account_id)
    listed = await edge.request_log.ListRequests(asked, None)

    assert [record.request_id for record in listed.records] == ["the-last"]
