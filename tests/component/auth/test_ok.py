"""The whole life of a request's credits, over gRPC."""

from __future__ import annotations

from matteworks.auth.v1 import auth_pb2
from matteworks_common.channels import call
from tests.component.auth.harness import ADMIN, serving


async def test_a_key_leads_to_its_account() -> None:
    async with serving() as auth:
        await auth.make_account()
        made = await auth.make_key()
        found = await auth.authenticate(made.api_key)
    assert (found.account_id, found.key_id, found.plan, found.is_test) == (
        "a",
        made.key.key_id,
        "development",
        False,
    )


async def test_reserve_then_commit_shows_in_account_and_usage() -> None:
    async with serving() as auth:
        await auth.make_account()
        reserved = await auth.reserve("r1")
        commit = auth_pb2.CommitRequest(reservation_id=reserved.reservation_id, request_id="r1")
        assert (await call(auth.auth.Commit, commit, timeout_s=5)).charged_credits_milli == 1000
        account = await call(auth.auth.GetAccount, auth_pb2.GetAccountRequest(account_id="a"), timeout_s=5)
        usage = await call(auth.auth.GetUsage, auth_pb2.GetUsageRequest(account_id="a"), timeout_s=5)
    assert account.account.spent_credits_milli == 1000
    assert [day.charged_credits_milli for day in usage.days] == [1000]


async def test_a_charge_tells_whether_the_account_runs_low() -> None:
    """Below the 10 credits of the default."""
    async with serving() as auth:
        await auth.make_account("starter")
        await auth.grant("g", 11_000)
        told = []
        for number in range(3):
            request_id = f"r{number}"
            reserved = await auth.reserve(request_id, credits_milli=1000 if number < 2 else 0)
            commit = auth_pb2.CommitRequest(reservation_id=reserved.reservation_id, request_id=request_id)
            told.append(await call(auth.auth.Commit, commit, timeout_s=5))
    assert [charge.available_credits_milli for charge in told] == [10_000, 9_000, 9_000]
    assert [charge.is_low for charge in told] == [False, True, False], "what was free needs no warning"
    assert {charge.granted_credits_milli for charge in told} == {11_000}


async def test_a_rotated_key_ends_after_its_overlap() -> None:
    async with serving() as auth:
        await auth.make_account()
        old = await auth.make_key()
        request = auth_pb2.RotateKeyRequest(key_id=old.key.key_id)
        request.overlap.FromSeconds(600)
        new = await call(auth.admin.RotateKey, request, timeout_s=5, metadata=ADMIN)
        for key in (old.api_key, new.api_key):
            assert (await auth.authenticate(key)).account_id == "a"
        listed = await call(
            auth.admin.ListKeys, auth_pb2.ListKeysRequest(account_id="a"), timeout_s=5, metadata=ADMIN
        )
    assert [key.key_id for key in listed.keys] == [old.key.key_id, new.key.key_id]
    assert listed.keys[0].HasField("expire_time")
    assert not listed.keys[1].HasField("expire_time")


async def test_a_plan_change_shows_at_the_next_look() -> None:
    async with serving() as auth:
        await auth.make_account("starter")
        request = auth_pb2.SetPlanRequest(account_id="a", plan="team")
        changed = await call(auth.admin.SetPlan, request, timeout_s=5, metadata=ADMIN)
    assert changed.account.plan == "team"
