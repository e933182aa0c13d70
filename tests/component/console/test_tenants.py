"""One tenant never sees or changes what is another's, and no other site speaks for a tenant."""

from __future__ import annotations

import re

import pytest

from tests.component.console.site import Site

PAGES = (
    "",
    "/keys",
    "/usage",
    "/usage.csv",
    "/balance",
    "/events",
    "/requests",
    "/requests/list",
    "/requests/events",
    "/request/r1",
)
OPERATOR_PAGES = (
    "/console/accounts",
    "/console/plans",
    "/console/models",
    "/console/services",
    "/console/services/list",
    "/console/load",
    "/console/load/list",
    "/console/instances/events",
    "/console/settings",
    "/console/audit",
    "/console/audit.csv",
)
FORMS = (
    "/console/accounts/{account}/keys",
    "/console/accounts/{account}/keys/{key}/rotate",
    "/console/accounts/{account}/keys/{key}/restrict",
    "/console/accounts/{account}/keys/{key}/revoke",
    "/console/accounts/{account}/plan",
    "/console/accounts/{account}/grants",
)
FIELDS = {"overlap_hours": "0", "plan": "unlimited", "credits": "5", "balance": "payg", "display_name": "x"}


@pytest.mark.parametrize("page", PAGES)
async def test_another_tenants_pages_do_not_exist(site: Site, page: str) -> None:
    person = await site.signed_in("a")

    others = await person.get(f"/console/accounts/b{page}")
    nobodys = await person.get(f"/console/accounts/nobody{page}")

    assert others.status_code == nobodys.status_code == 404
    assert re.sub("b|nobody", "", others.text) == re.sub("b|nobody", "", nobodys.text)


@pytest.mark.parametrize("page", OPERATOR_PAGES)
async def test_operators_pages_do_not_exist_for_a_tenant(site: Site, page: str) -> None:
    person = await site.signed_in("a")

    assert (await person.get(page)).status_code == 404


@pytest.mark.parametrize(
    ("account", "form"), [("b", form) for form in FORMS] + [("a", form) for form in FORMS if "{key}" in form]
)
async def test_a_tenant_changes_nothing_of_another(site: Site, account: str, form: str) -> None:
    """Neither under the other's account nor under one's own with the other's key."""
    person = await site.signed_in("a")
    await person.get("/console/accounts/a/keys")
    path = form.format(account=account, key=site.keys["b"].key.key_id)
    before = await site.live_keys("b"), await site.credits_milli("b")

    answer = await person.post(path, **FIELDS)

    assert answer.status_code == 404
    assert (await site.live_keys("b"), await site.credits_milli("b")) == before


@pytest.mark.parametrize("form", ["/plan", "/grants"])
async def test_a_tenant_gives_itself_nothing(site: Site, form: str) -> None:
    person = await site.signed_in("a")
    await person.get("/console/accounts/a/keys")

    assert (await person.post(f"/console/accounts/a{form}", **FIELDS)).status_code == 404
    assert await site.credits_milli("a") == 0


@pytest.mark.parametrize(
    "form", [*FORMS, "/console/accounts", "/console/sign-out", "/console/sign-out-everywhere"]
)
async def test_a_form_that_did_not_come_from_our_page_does_nothing(site: Site, form: str) -> None:
    operator, other = await site.signed_in(), await site.signed_in()
    await operator.get("/console/accounts/a/keys")
    await other.get("/console/accounts/a/keys")
    path = form.format(account="a", key=site.keys["a"].key.key_id)
    token, before = operator.csrf, await site.live_keys("a")

    answers = {
        "no token": await operator.post(path, **{**FIELDS, "csrf": ""}),
        "token of another session": await operator.post(path, **{**FIELDS, "csrf": other.csrf}),
        "another origin": await operator.post(path, {"Origin": "https://evil.example"}, csrf=token, **FIELDS),
        "an origin unknown": await operator.post(path, {"Origin": "null"}, csrf=token, **FIELDS),
        "another site": await operator.post(path, {"Sec-Fetch-Site": "cross-site"}, csrf=token, **FIELDS),
    }

    assert {trick: answer.status_code for trick, answer in answers.items()} == dict.fromkeys(answers, 403)
    assert await site.live_keys("a") == before
    assert await site.credits_milli("a") == 0
    assert (await operator.get("/console/accounts/a")).status_code == 200


@pytest.mark.parametrize("form", FORMS)
async def test_without_a_session_a_form_does_nothing(site: Site, form: str) -> None:
    person = site.person()
    answer = await person.post(form.format(account="a", key=site.keys["a"].key.key_id), csrf="x", **FIELDS)

    assert (answer.status_code, answer.headers["location"][:16]) == (303, "/console/sign-in")
    assert len(await site.live_keys("a")) == 1


@pytest.mark.parametrize("path", ["/console/accounts/a/keys/x/revoke", "/console/sign-out"])
async def test_changes_are_no_links(site: Site, path: str) -> None:
    person = await site.signed_in("a")

    assert (await person.get(path)).status_code == 405


async def test_what_people_write_is_text_and_never_markup(site: Site) -> None:
    """Stored XSS: an account's name is seen by operators, a key's name by everybody of the account."""
    attack = '"><script>alert(1)</script><img src=x onerror=alert(1)>'
    await site.make_account("evil", display_name=attack)
    operator = await site.signed_in()
    await operator.get("/console/accounts/evil/keys")
    await operator.post("/console/accounts/evil/keys", display_name=attack, kind="live")

    for path in (
        "/console/accounts",
        "/console/accounts/evil",
        "/console/accounts/evil/keys",
        "/console/accounts/evil/usage",
        "/console/audit",
        "/console/accounts?prefix=" + attack,
    ):
        page = (await operator.get(path)).text
        assert "<script>alert" not in page
        assert "<img src=x" not in page


async def test_a_form_has_bounds(site: Site) -> None:
    person = await site.signed_in("a")
    await person.get("/console/accounts/a/keys")

    too_large = await person.post("/console/accounts/a/keys", display_name="x" * 100_000)
    too_many = await person.post("/console/accounts/a/keys", **{f"f{number}": "" for number in range(100)})
    too_long = await person.post("/console/accounts/a/keys", display_name="x" * 201)

    assert (too_large.status_code, too_many.status_code, too_long.status_code) == (413, 400, 400)
    assert len(await site.live_keys("a")) == 1
