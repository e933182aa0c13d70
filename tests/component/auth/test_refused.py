"""Every way to be refused, and what it says."""

from __future__ import annotations

import pytest

from matteworks.auth.v1 import auth_pb2
from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_common.channels import call
from matteworks_common.errors import (
    FailedPrecondition,
    Forbidden,
    InvalidField,
    NotFound,
    Unauthenticated,
)
from tests.component.auth.harness import ADMIN, Auth, serving
from tests.support.clock import ManualClock


@pytest.mark.parametrize("token", [(), (("authorization", "Bearer wrong"),), (("authorization", "x"),)])
async def test_administration_needs_the_token(token: tuple[tuple[str, str], ...]) -> None:
    async with serving() as auth:
        with pytest.raises(Forbidden):
            await call(auth.admin.CreateAccount, auth_pb2.CreateAccountRequest(), timeout_s=5, metadata=token)


async def refusal_of(auth: Auth, key: str) -> Unauthenticated:
    with pytest.raises(Unauthenticated) as caught:
        await auth.authenticate(key)
    return caught.value


async def test_unknown_wrong_revoked_and_malformed_keys_look_alike() -> None:
    async with serving() as auth, serving() as other:
        for service in (auth, other):
            await service.make_account()
        foreign = (await other.make_key()).api_key
        mine = await auth.make_key()
        await call(
            auth.admin.RevokeKey,
            auth_pb2.RevokeKeyRequest(key_id=mine.key.key_id),
            timeout_s=5,
            metadata=ADMIN,
        )
        refusals = [await refusal_of(auth, key) for key in (foreign, mine.api_key, "nonsense")]
    assert {(error.reason, error.message) for error in refusals} == {
        (reasons.ERROR_REASON_KEY_INVALID, refusals[0].message)
    }


async def test_no_key_is_told_apart() -> None:
    async with serving() as auth:
        assert (await refusal_of(auth, "")).reason == reasons.ERROR_REASON_KEY_MISSING


async def test_a_revocation_takes_effect_within_the_cache_time() -> None:
    clock = ManualClock()
    async with serving(clock=clock) as auth:
        await auth.make_account()
        made = await auth.make_key()
        await auth.authenticate(made.api_key)
        request = auth_pb2.RevokeKeyRequest(key_id=made.key.key_id)
        await call(auth.admin.RevokeKey, request, timeout_s=5, metadata=ADMIN)
        clock.advance(2)
        assert (await refusal_of(auth, made.api_key)).reason == reasons.ERROR_REASON_KEY_INVALID


async def test_an_empty_balance_is_told() -> None:
    async with serving() as auth:
        await auth.make_account("starter")
        with pytest.raises(FailedPrecondition) as caught:
            await auth.reserve("r1")
    assert caught.value.reason == reasons.ERROR_REASON_INSUFFICIENT_CREDITS
    assert caught.value.metadata["limit_megapixels"] == "500"


@pytest.mark.parametrize(
    ("field", "request_"),
    [
        ("prices", auth_pb2.ReserveRequest(request_id="r", account_id="a", megapixels=1)),
        (
            "megapixels",
            auth_pb2.ReserveRequest(request_id="r", account_id="a", megapixels=51, prices=[auth_pb2.Price()]),
        ),
        ("request_id", auth_pb2.ReserveRequest(account_id="a", megapixels=1, prices=[auth_pb2.Price()])),
    ],
)
async def test_a_wrong_field_is_named(field: str, request_: auth_pb2.ReserveRequest) -> None:
    async with serving() as auth:
        with pytest.raises(InvalidField) as caught:
            await call(auth.auth.Reserve, request_, timeout_s=5)
    assert caught.value.field == field


@pytest.mark.parametrize("reservation_id", ["", "no-colon", "a:unknown"])
async def test_an_unknown_reservation_is_not_found(reservation_id: str) -> None:
    async with serving() as auth:
        await auth.make_account()
        request = auth_pb2.CommitRequest(reservation_id=reservation_id, request_id="r")
        with pytest.raises(NotFound):
            await call(auth.auth.Commit, request, timeout_s=5)


async def test_an_account_id_is_checked() -> None:
    async with serving() as auth:
        with pytest.raises(InvalidField) as caught:
            await auth.make_account(account_id="../etc")
    assert caught.value.field == "account_id"
