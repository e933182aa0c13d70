"""Who gets in, how a session begins, and how it ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from matteworks.auth.v1.key_restrictions_pb2 import KeyRestrictions
from matteworks_console.security.access import ATTEMPTS_PER_MINUTE
from matteworks_console.security.sessions import SESSION_S, Sessions
from tests.component.console.conftest import Serve
from tests.component.console.site import ADMIN_TOKEN, Site, running_site


async def test_a_key_leads_to_its_account_and_the_admin_token_to_all(site: Site) -> None:
    customer, operator = await site.signed_in("a"), await site.signed_in()

    assert (await customer.get("/console")).headers["location"] == "/console/accounts/a"
    assert (await operator.get("/console")).headers["location"] == "/console/accounts"


async def test_the_cookie_is_for_this_site_and_not_for_scripts(site: Site) -> None:
    answer = await site.person().sign_in(site.keys["a"].api_key)

    cookie = next(
        header for header in answer.headers.get_list("set-cookie") if header.startswith("console=")
    ).lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "domain" not in cookie


async def test_behind_https_the_cookie_never_travels_in_the_clear() -> None:
    async with running_site(public_url="https://cutouts.example") as site:
        person = site.person()
        page = await person.get("/console/sign-in")
        # The client is on http and so keeps no such cookie.
        form_cookie = page.headers["set-cookie"].partition(";")[0]
        answer = await person.post("/console/sign-in", {"Cookie": form_cookie}, secret=ADMIN_TOKEN)

    cookie = next(
        header for header in answer.headers.get_list("set-cookie") if header.startswith("__Host-console=")
    ).lower()
    assert "secure" in page.headers["set-cookie"].lower()
    assert "secure" in cookie
    assert "path=/;" in cookie


@pytest.mark.parametrize("secret", ["", "x", ADMIN_TOKEN + "x", "mw_live_0000_" + "0" * 49])
async def test_a_wrong_secret_is_refused_in_words(site: Site, secret: str) -> None:
    person = site.person()
    answer = await person.sign_in(secret)

    assert answer.status_code == 401
    assert "neither a valid key nor" in answer.text
    assert (await person.get("/console/accounts")).status_code == 303


async def test_a_session_gets_a_token_that_the_browser_never_had(site: Site) -> None:
    """Session fixation: somebody plants a cookie, waits for the sign-in, and uses it."""
    person = site.person()
    person.http.cookies.set("console", "planted")
    answer = await person.sign_in(site.keys["a"].api_key)
    token = answer.cookies["console"]
    thief = site.person()
    thief.http.cookies.set("console", "planted")

    assert token != "planted"
    assert (await thief.get("/console/accounts/a")).status_code == 303


async def test_signing_in_again_ends_the_former_session(site: Site) -> None:
    person = await site.signed_in("a")
    former = person.http.cookies["console"]
    await person.sign_in(site.keys["a"].api_key)
    other = site.person()
    other.http.cookies.set("console", former)

    assert (await other.get("/console/accounts/a")).status_code == 303


async def test_signing_out_ends_this_browser_only_and_everywhere_ends_all(site: Site) -> None:
    first, second, third = [await site.signed_in("a") for _ in range(3)]
    stranger = await site.signed_in("b")
    await first.get("/console/accounts/a")
    assert (await first.post("/console/sign-out")).status_code == 303
    assert (await first.get("/console/accounts/a")).status_code == 303
    assert (await second.get("/console/accounts/a")).status_code == 200

    assert (await second.post("/console/sign-out-everywhere")).status_code == 303

    assert (await third.get("/console/accounts/a")).status_code == 303
    assert (await stranger.get("/console/accounts/b")).status_code == 200
    again = await site.signed_in("a")
    assert (await again.get("/console/accounts/a")).status_code == 200


async def test_a_session_ends_by_itself(site: Site) -> None:
    person = await site.signed_in("a")
    site.clock.advance(SESSION_S + 1)

    assert (await person.get("/console/accounts/a")).status_code == 303


async def test_a_revoked_key_ends_the_sessions_that_began_with_it(site: Site) -> None:
    person, operator = await site.signed_in("a"), await site.signed_in()
    await operator.get("/console/accounts/a/keys")
    await operator.post(f"/console/accounts/a/keys/{site.keys['a'].key.key_id}/revoke")

    assert (await person.get("/console/accounts/a")).status_code == 303


async def test_a_key_that_becomes_one_for_browsers_ends_its_sessions(site: Site) -> None:
    person, operator = await site.signed_in("a"), await site.signed_in()
    await operator.get("/console/accounts/a/keys")
    path = f"/console/accounts/a/keys/{site.keys['a'].key.key_id}/restrict"
    await operator.post(path, allowed_origins="https://shop.example")

    assert (await person.get("/console/accounts/a")).status_code == 303


async def test_another_admin_token_ends_the_sessions_of_the_former(site: Site) -> None:
    token = await Sessions(site.store).begin("operator", key_id="of another token")
    person = site.person()
    person.http.cookies.set("console", token)

    assert (await person.get("/console/accounts")).status_code == 303


async def test_test_keys_and_keys_for_browsers_do_not_sign_in(site: Site) -> None:
    test = await site.make_key("a", is_test=True)
    browser = await site.make_key("a", restrictions=KeyRestrictions(allowed_origins=[site.url]))

    assert (await site.person().sign_in(test.api_key)).status_code == 403
    assert (await site.person().sign_in(browser.api_key)).status_code in (401, 403)


async def test_the_key_that_the_page_to_try_shows_does_not_sign_in(tmp_path: Path) -> None:
    file = tmp_path / "key"
    async with running_site(browser_key_file=str(file)) as site:
        file.write_text(site.keys["a"].api_key)
        answer = await site.person().sign_in(site.keys["a"].api_key)

    assert answer.status_code == 403


async def test_guessing_is_slowed_down_for_the_guesser_alone(site: Site) -> None:
    guesser = site.person("203.0.113.1")
    for _ in range(ATTEMPTS_PER_MINUTE):
        assert (await guesser.sign_in("wrong")).status_code == 401

    answer = await guesser.sign_in(ADMIN_TOKEN)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "60")
    assert (await site.person("203.0.113.2").sign_in(ADMIN_TOKEN)).status_code == 303
    site.clock.advance(61)
    assert (await guesser.sign_in(ADMIN_TOKEN)).status_code == 303


async def test_a_forwarded_address_of_the_callers_own_making_does_not_help(site: Site) -> None:
    """Only the last entry was written by our proxy."""
    for number in range(ATTEMPTS_PER_MINUTE):
        person = site.person("203.0.113.1")
        person.http.headers["X-Forwarded-For"] = f"10.0.0.{number}, 203.0.113.1"
        await person.sign_in("wrong")

    assert (await site.person("203.0.113.1").sign_in(ADMIN_TOKEN)).status_code == 429


@pytest.mark.parametrize(
    "wanted",
    ["https://evil.example", "//evil.example", "/console/../..//evil.example", "/console\\evil", "x"],
)
async def test_after_signing_in_nobody_is_sent_to_another_site(site: Site, wanted: str) -> None:
    answer = await site.person().sign_in(ADMIN_TOKEN, next=wanted)

    assert answer.headers["location"] == "/console"


async def test_after_signing_in_one_is_where_one_wanted_to_be(site: Site) -> None:
    answer = await site.person().sign_in(ADMIN_TOKEN, next="/console/accounts/a/keys")

    assert answer.headers["location"] == "/console/accounts/a/keys"


async def test_a_sign_in_form_of_another_site_is_refused(site: Site) -> None:
    """Otherwise somebody could sign a victim in to an account of their own."""
    person = site.person()
    await person.get("/console/sign-in")
    foreign = await person.post("/console/sign-in", {"Origin": "https://evil.example"}, secret=ADMIN_TOKEN)
    without_token = await person.post("/console/sign-in", csrf="", secret=ADMIN_TOKEN)

    assert (foreign.status_code, without_token.status_code) == (403, 403)
    assert "console" not in person.http.cookies or (await person.get("/console")).status_code == 303


async def test_without_an_admin_token_there_is_no_console(serve: Serve) -> None:
    async with serve() as client:
        assert (await client.get("/console/sign-in")).status_code == 404
