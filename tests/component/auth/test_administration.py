"""What operators see: accounts, plans, counters and who changed what, over gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from google.protobuf.duration_pb2 import Duration

from matteworks.auth.v1 import audit_pb2, auth_pb2, plan_pb2, usage_pb2
from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_auth import servicer
from matteworks_common.channels import call
from matteworks_common.errors import Forbidden, InvalidField, LimitExceeded, NotFound
from tests.component.auth.harness import Auth, serving
from tests.support.clock import ManualClock


@pytest.fixture
async def auth() -> AsyncIterator[Auth]:
    async with serving(clock=ManualClock()) as running:
        yield running


async def test_every_call_of_administration_needs_the_token(auth: Auth) -> None:
    service = auth_pb2.DESCRIPTOR.services_by_name["KeyAdminService"]
    for method in service.methods:
        request_type = getattr(
            audit_pb2 if method.input_type.file.name.endswith("audit.proto") else auth_pb2,
            method.input_type.name,
        )
        with pytest.raises(Forbidden):
            await call(getattr(auth.admin, method.name), request_type(), timeout_s=5)


async def test_accounts_are_listed_in_pages(auth: Auth) -> None:
    names = [f"acc-{i}" for i in range(5)] + ["zoo"]
    for name in names:
        await auth.make_account(account_id=name)
    found, token = [], ""
    while True:
        page = await auth.administer(
            auth.admin.ListAccounts, auth_pb2.ListAccountsRequest(page_size=2, page_token=token)
        )
        found += [account.account_id for account in page.accounts]
        token = page.next_page_token
        if not token:
            break
    assert found == names
    page = await auth.administer(
        auth.admin.ListAccounts, auth_pb2.ListAccountsRequest(account_id_prefix="acc-", page_size=4)
    )
    assert [account.account_id for account in page.accounts] == names[:4]
    assert page.next_page_token == "acc-3"
    rest = await auth.administer(
        auth.admin.ListAccounts,
        auth_pb2.ListAccountsRequest(account_id_prefix="acc-", page_token=page.next_page_token),
    )
    assert [account.account_id for account in rest.accounts] == ["acc-4"]


async def test_plans_are_listed_with_the_default(auth: Auth) -> None:
    listed = await auth.administer(auth.admin.ListPlans, auth_pb2.ListPlansRequest())
    assert listed.default_plan in {plan.name for plan in listed.plans}
    assert {"bgremover-free", "bgeraser-business-10k"} <= {plan.name for plan in listed.plans}


async def test_who_did_what_is_listed_with_the_request_that_did_it(auth: Auth) -> None:
    request = auth_pb2.CreateAccountRequest(account_id="a", plan="free")
    await auth.administer(auth.admin.CreateAccount, request, actor="alice")
    await auth.administer(auth.admin.SetPlan, auth_pb2.SetPlanRequest(account_id="a", plan="team"))
    await auth.make_account(account_id="b")
    listed = await auth.administer(
        auth.admin.ListAuditEvents, audit_pb2.ListAuditEventsRequest(account_id="a")
    )
    latest, first = listed.events
    assert (latest.action, latest.actor) == ("plan.set", "administrator")
    assert dict(latest.details) == {"plan": "team", "former_plan": "free"}
    assert (first.action, first.actor, first.time.ToSeconds()) == ("account.create", "alice", 1_800_000_000)
    assert first.request_id
    assert first.request_id != latest.request_id
    page = await auth.administer(auth.admin.ListAuditEvents, audit_pb2.ListAuditEventsRequest(page_size=2))
    assert [event.account_id for event in page.events] == ["b", "a"]
    rest = await auth.administer(
        auth.admin.ListAuditEvents, audit_pb2.ListAuditEventsRequest(page_token=page.next_page_token)
    )
    assert [event.action for event in rest.events] == ["account.create"]


@pytest.mark.parametrize(
    ("field", "request_"),
    [
        ("page_size", auth_pb2.ListAccountsRequest(page_size=201)),
        ("page_token", auth_pb2.ListAccountsRequest(page_token="[x")),
        ("account_id_prefix", auth_pb2.ListAccountsRequest(account_id_prefix="A b")),
        ("page_size", audit_pb2.ListAuditEventsRequest(page_size=-1)),
        ("page_token", audit_pb2.ListAuditEventsRequest(page_token="-")),
        ("email", auth_pb2.CreateAccountRequest(email="nobody")),
        ("dialect", auth_pb2.CreateAccountRequest(dialect="Remove bg")),
    ],
)
async def test_a_wrong_field_of_administration_is_named(auth: Auth, field: str, request_: object) -> None:
    name = type(request_).__name__.removesuffix("Request")
    with pytest.raises(InvalidField) as caught:
        await auth.administer(getattr(auth.admin, name), request_)
    assert caught.value.field == field


async def test_usage_tells_rows_by_key_and_dialect(auth: Auth) -> None:
    await auth.make_account()
    for i, (key_id, dialect) in enumerate([("k1", "removebg"), ("k1", "bgremover"), ("k2", "bgremover")]):
        held = await auth.reserve(f"r{i}", key_id=key_id, dialect=dialect, megapixels=i + 1)
        commit = auth_pb2.CommitRequest(reservation_id=held.reservation_id, request_id=f"r{i}")
        commit.processing_time.FromMilliseconds(100 * (i + 1))
        charged = await call(auth.auth.Commit, commit, timeout_s=5)
        assert charged.available_credits_milli == 1_000_000_000 - 1000 * (i + 1)

    async def usage(**asked: object) -> auth_pb2.GetUsageResponse:
        request = auth_pb2.GetUsageRequest(account_id="a", **asked)  # type: ignore[arg-type]
        return await call(auth.auth.GetUsage, request, timeout_s=5)

    plain = await usage()
    (day,) = plain.days
    assert (day.day, day.committed_request_count, day.megapixel_count) == ("2027-01-15", 3, 6)
    assert (day.counts.call_count, day.counts.timed_request_count) == (3, 3)
    assert day.counts.processing_time_ms == 600
    assert not plain.rows
    rows = (await usage(detail=usage_pb2.USAGE_DETAIL_ROWS, dialect="bgremover")).rows
    assert [(row.key_id, row.dialect, row.counts.megapixel_count) for row in rows] == [
        ("k1", "bgremover", 2),
        ("k2", "bgremover", 3),
    ]
    (of_key,) = (await usage(key_id="k1")).days
    assert of_key.charged_credits_milli == 2000


async def test_rows_that_do_not_fit_into_one_answer_come_in_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servicer, "MAX_USAGE_ROWS", 5)
    clock = ManualClock()
    async with serving(clock=clock) as auth:
        await auth.make_account()
        for day in range(4):
            for key_id in ("k1", "k2"):
                request = auth_pb2.CountCallRequest(
                    request_id=f"{day}{key_id}", account_id="a", key_id=key_id
                )
                await call(auth.auth.CountCall, request, timeout_s=5)
            clock.advance(86_400)
        asked = auth_pb2.GetUsageRequest(account_id="a", detail=usage_pb2.USAGE_DETAIL_ROWS)
        first = await call(auth.auth.GetUsage, asked, timeout_s=5)
        asked.first_day = first.next_first_day
        second = await call(auth.auth.GetUsage, asked, timeout_s=5)
    assert (first.next_first_day, second.next_first_day) == ("2027-01-17", "")
    assert [(len(page.days), len(page.rows)) for page in (first, second)] == [(2, 4), (2, 4)]
    assert [row.day for row in second.rows] == ["2027-01-17"] * 2 + ["2027-01-18"] * 2


async def test_a_batch_is_counted_once_and_its_pictures_take_no_rate(auth: Auth) -> None:
    await auth.make_account("bgremover-pro")
    request = auth_pb2.CountCallRequest(request_id="batch", account_id="a", key_id="k", dialect="bgremover")
    counted = (await call(auth.auth.CountCall, request, timeout_s=5)).rate_limit
    assert (counted.unit, counted.limit_units, counted.remaining_units) == (
        plan_pb2.RATE_UNIT_REQUESTS,
        60,
        59,
    )
    for i in range(30):
        held = await auth.reserve(
            f"item{i}", rate_unit=plan_pb2.RATE_UNIT_NONE, urgency=auth_pb2.URGENCY_DEFERRED
        )
        assert not held.HasField("rate_limit")
    assert (await auth.account()).account.held_credits_milli == 30_000


async def test_too_many_calls_are_told_when_to_come_back(auth: Auth) -> None:
    await auth.make_account("bgremover-free")
    requests = [auth_pb2.CountCallRequest(request_id=f"c{i}", account_id="a") for i in range(11)]
    for request in requests[:10]:
        await call(auth.auth.CountCall, request, timeout_s=5)
    with pytest.raises(LimitExceeded) as caught:
        await call(auth.auth.CountCall, requests[10], timeout_s=5)
    assert caught.value.reason == reasons.ERROR_REASON_RATE_LIMIT_EXCEEDED
    assert (caught.value.retry_after_s, caught.value.metadata["limit_units"]) == (6, "10")


async def test_work_that_somebody_waits_for_is_not_held_for_days(auth: Auth) -> None:
    await auth.make_account()
    two_days = Duration(seconds=2 * 86_400)
    with pytest.raises(InvalidField) as caught:
        await auth.reserve("r1", time_to_live=two_days)
    assert caught.value.field == "time_to_live"
    await auth.reserve("r2", time_to_live=two_days, urgency=auth_pb2.URGENCY_DEFERRED)


@pytest.mark.parametrize(
    ("field", "told"),
    [
        ("key_id", {"key_id": "a/b"}),
        ("key_id", {"rate_scope": plan_pb2.RATE_SCOPE_KEY}),
        ("dialect", {"dialect": "a/b"}),
        ("rate_unit", {"rate_unit": 9}),
        ("rate_scope", {"rate_scope": 9}),
        ("urgency", {"urgency": 9}),
    ],
)
async def test_a_wrong_field_of_a_reservation_is_named(
    auth: Auth, field: str, told: dict[str, object]
) -> None:
    await auth.make_account()
    with pytest.raises(InvalidField) as caught:
        await auth.reserve("r1", **told)
    assert caught.value.field == field


async def test_an_account_tells_its_plan(auth: Auth) -> None:
    await auth.make_account("bgremover-free")
    told = await auth.account()
    assert (told.plan_details.name, told.account.free_call_count) == ("bgremover-free", 50)


async def test_usage_of_nobody_is_not_found(auth: Auth) -> None:
    with pytest.raises(NotFound):
        await call(auth.auth.GetUsage, auth_pb2.GetUsageRequest(account_id="nobody"), timeout_s=5)
