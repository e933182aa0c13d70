"""Every call that moves credits may be sent again."""

from __future__ import annotations

import pytest

from matteworks_common.errors import Conflict, FailedPrecondition
from tests.component.auth.harness import serving
from tests.support.clock import ManualClock


async def test_a_repeated_reserve_gets_the_same_bytes() -> None:
    async with serving() as auth:
        await auth.make_account()
        first = await auth.reserve("r1")
        assert (await auth.reserve("r1")).SerializeToString() == first.SerializeToString()


async def test_an_id_with_other_parameters_is_refused() -> None:
    async with serving() as auth:
        await auth.make_account()
        await auth.reserve("r1")
        with pytest.raises(Conflict):
            await auth.reserve("r1", credits_milli=250)


async def test_a_repeated_commit_charges_once_and_answers_alike() -> None:
    async with serving() as auth:
        await auth.make_account()
        held = await auth.reserve("r1")
        assert [await auth.commit(held.reservation_id, "r1") for _ in range(3)] == [1000] * 3
        assert (await auth.account()).account.spent_credits_milli == 1000


async def test_a_repeated_release_gives_back_once() -> None:
    async with serving() as auth:
        await auth.make_account()
        held = await auth.reserve("r1")
        assert [await auth.release(held.reservation_id, "r1") for _ in range(2)] == [1000, 0]


async def test_a_repeated_grant_adds_once() -> None:
    async with serving() as auth:
        await auth.make_account()
        for _ in range(2):
            account = await auth.grant("g1", 500)
        assert account.payg_credits_milli == 500


async def test_an_equal_upload_shares_the_charge() -> None:
    async with serving() as auth:
        await auth.make_account()
        first = await auth.reserve("r1", fingerprint="f")
        again = await auth.reserve("r2", fingerprint="f")
        assert (again.is_repeat, again.reservation_id) == (True, first.reservation_id)
        charges = [await auth.commit(again.reservation_id, r) for r in ("r2", "r1")]
    assert charges == [1000, 0]


async def test_an_abandoned_reservation_comes_back_after_its_time() -> None:
    clock = ManualClock()
    async with serving(clock=clock) as auth:
        await auth.make_account()
        held = await auth.reserve("r1")
        clock.advance(60)
        assert (await auth.account()).account.held_credits_milli == 0
        with pytest.raises(FailedPrecondition):
            await auth.commit(held.reservation_id, "r1")
