"""What a key tells of its plan, and where it may be used, over gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from matteworks.auth.v1 import auth_pb2, key_restrictions_pb2, plan_pb2
from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_common.errors import Forbidden, InvalidField, NotFound, Unauthenticated
from tests.component.auth.harness import Auth, serving
from tests.support.clock import ManualClock


@pytest.fixture
async def auth(clock: ManualClock) -> AsyncIterator[Auth]:
    async with serving(clock=clock) as running:
        await running.make_account("bgremover-pro")
        yield running


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


async def create(auth: Auth, dialect: str = "", **restrictions: list[str]) -> auth_pb2.CreateKeyResponse:
    request = auth_pb2.CreateKeyRequest(
        account_id="a",
        dialect=dialect,
        restrictions=key_restrictions_pb2.KeyRestrictions(**restrictions),
    )
    made: auth_pb2.CreateKeyResponse = await auth.administer(auth.admin.CreateKey, request)
    return made


async def test_a_key_tells_what_its_plan_allows(auth: Auth) -> None:
    plan = (await auth.authenticate((await auth.make_key()).api_key)).plan_details
    assert (plan.name, plan.display_name) == ("bgremover-pro", "Pro")
    assert (plan.requests_per_minute, plan.requests_per_day, plan.max_batch_items) == (60, 1000, 20)
    assert (plan.max_file_bytes, plan.result_retention.ToSeconds()) == (25 * 1024 * 1024, 7 * 86_400)
    assert plan.monthly_credits_milli == 1_000_000


async def test_the_rate_limit_is_told_when_asked_for_and_not_taken(auth: Auth) -> None:
    key = (await auth.make_key()).api_key
    assert not (await auth.authenticate(key)).HasField("rate_limit")
    await auth.reserve("r1", rate_unit=plan_pb2.RATE_UNIT_REQUESTS)
    for _ in range(3):
        told = (await auth.authenticate(key, rate_unit=plan_pb2.RATE_UNIT_REQUESTS)).rate_limit
        assert (told.unit, told.limit_units, told.remaining_units) == (plan_pb2.RATE_UNIT_REQUESTS, 60, 59)
        assert told.reset_time.ToSeconds() == 1_800_000_001
    of_key = await auth.authenticate(
        key, rate_unit=plan_pb2.RATE_UNIT_REQUESTS, rate_scope=plan_pb2.RATE_SCOPE_KEY
    )
    assert of_key.rate_limit.remaining_units == 60
    megapixels = (await auth.authenticate(key, rate_unit=plan_pb2.RATE_UNIT_MEGAPIXELS)).rate_limit
    assert (megapixels.limit_megapixels, megapixels.remaining_megapixels) == (500, 500)


@pytest.mark.parametrize(
    ("field", "restrictions", "allowed", "refused"),
    [
        (
            "origin",
            {"allowed_origins": ["https://shop.example"]},
            {"origin": "https://shop.example"},
            {"origin": "https://evil.example"},
        ),
        (
            "client_address",
            {"allowed_networks": ["203.0.113.0/24"]},
            {"client_address": "203.0.113.9"},
            {"client_address": "198.51.100.1"},
        ),
        ("dialect", {"allowed_dialects": ["bgremover"]}, {"dialect": "bgremover"}, {"dialect": "removebg"}),
    ],
)
async def test_a_restricted_key_says_what_is_wrong(
    auth: Auth,
    field: str,
    restrictions: dict[str, list[str]],
    allowed: dict[str, str],
    refused: dict[str, str],
) -> None:
    key = (await create(auth, **restrictions)).api_key
    assert (await auth.authenticate(key, **allowed)).account_id == "a"
    with pytest.raises(Forbidden) as caught:
        await auth.authenticate(key, **refused)
    assert (caught.value.reason, caught.value.field) == (reasons.ERROR_REASON_KEY_RESTRICTED, field)


async def test_restrictions_are_not_told_to_who_has_not_the_key(auth: Auth) -> None:
    made = await create(auth, allowed_origins=["https://shop.example"])
    forged = made.api_key[:-7] + ("a" if made.api_key[-7] != "a" else "b") + made.api_key[-6:]
    with pytest.raises(Unauthenticated):
        await auth.authenticate(forged, origin="https://evil.example")


async def test_the_dialect_is_the_keys_else_its_accounts(auth: Auth) -> None:
    own, plain = await create(auth, dialect="bgeraser"), await create(auth)
    assert (await auth.authenticate(own.api_key)).dialect == "bgeraser"
    assert (await auth.authenticate(plain.api_key)).dialect == ""
    request = auth_pb2.UpdateAccountRequest(account_id="a", dialect="bgremover", email="dev@shop.example")
    account = (await auth.administer(auth.admin.UpdateAccount, request)).account
    assert (account.dialect, account.email) == ("bgremover", "dev@shop.example")


async def test_a_change_of_the_accounts_dialect_reaches_its_keys(auth: Auth, clock: ManualClock) -> None:
    key = (await create(auth)).api_key
    await auth.authenticate(key)
    request = auth_pb2.UpdateAccountRequest(account_id="a", dialect="bgremover")
    await auth.administer(auth.admin.UpdateAccount, request)
    clock.advance(2)
    assert (await auth.authenticate(key)).dialect == "bgremover"


async def test_an_update_restricts_a_key_at_once_and_leaves_the_rest(auth: Auth) -> None:
    made = await create(auth, dialect="bgremover")
    await auth.authenticate(made.api_key)
    request = auth_pb2.UpdateKeyRequest(key_id=made.key.key_id, display_name="shop")
    request.restrictions.allowed_origins.append("https://shop.example")
    updated = (await auth.administer(auth.admin.UpdateKey, request)).key
    assert (updated.display_name, updated.dialect) == ("shop", "bgremover")
    assert list(updated.restrictions.allowed_origins) == ["https://shop.example"]
    with pytest.raises(Forbidden):
        await auth.authenticate(made.api_key)


async def test_an_update_can_end_a_key_earlier(auth: Auth, clock: ManualClock) -> None:
    made = await create(auth)
    request = auth_pb2.UpdateKeyRequest(key_id=made.key.key_id)
    request.expire_time.FromSeconds(round(clock.unix_s()) + 60)
    await auth.administer(auth.admin.UpdateKey, request)
    request.expire_time.FromSeconds(round(clock.unix_s()) + 600)
    updated = (await auth.administer(auth.admin.UpdateKey, request)).key
    assert updated.expire_time.ToSeconds() == round(clock.unix_s()) + 60
    await auth.authenticate(made.api_key)
    clock.advance(60)
    with pytest.raises(Unauthenticated):
        await auth.authenticate(made.api_key)


async def test_a_successor_keeps_dialect_and_restrictions(auth: Auth) -> None:
    made = await create(auth, dialect="bgremover", allowed_dialects=["bgremover"])
    rotated = await auth.administer(auth.admin.RotateKey, auth_pb2.RotateKeyRequest(key_id=made.key.key_id))
    assert rotated.key.dialect == "bgremover"
    assert list(rotated.key.restrictions.allowed_dialects) == ["bgremover"]


@pytest.mark.parametrize(
    ("field", "dialect", "restrictions"),
    [
        ("dialect", "Bad Dialect", {}),
        ("dialect", "removebg", {"allowed_dialects": ["bgremover"]}),
        ("allowed_origins", "", {"allowed_origins": ["shop.example"]}),
        ("allowed_networks", "", {"allowed_networks": ["203.0.113.7/24"]}),
    ],
)
async def test_a_restriction_that_cannot_hold_is_refused_by_name(
    auth: Auth, field: str, dialect: str, restrictions: dict[str, list[str]]
) -> None:
    with pytest.raises(InvalidField) as caught:
        await create(auth, dialect, **restrictions)
    assert caught.value.field == field


async def test_the_time_of_the_last_use_is_listed(auth: Auth, clock: ManualClock) -> None:
    made = await auth.make_key()
    listing = auth_pb2.ListKeysRequest(account_id="a")
    (key,) = (await auth.administer(auth.admin.ListKeys, listing)).keys
    assert not key.HasField("last_use_time")
    await auth.reserve("r1", key_id=made.key.key_id)
    (key,) = (await auth.administer(auth.admin.ListKeys, listing)).keys
    assert key.last_use_time.ToSeconds() == round(clock.unix_s())


async def test_an_unknown_key_cannot_be_changed(auth: Auth) -> None:
    with pytest.raises(NotFound):
        await auth.administer(auth.admin.UpdateKey, auth_pb2.UpdateKeyRequest(key_id="nothing"))
