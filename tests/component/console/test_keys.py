"""Keys are made, shown once, replaced, restricted and ended; a reload makes nothing twice."""

from __future__ import annotations

import csv
import html
import io
import logging
import re

import pytest

from matteworks.auth.v1 import auth_pb2
from matteworks_common.channels import call
from matteworks_common.errors import Forbidden, Unauthenticated
from tests.component.console.site import Person, Site

KEYS = "/console/accounts/a/keys"


def shown_key(page: str) -> str:
    found = re.search(r'id="new-key"[^>]*>([^<]+)<', page)
    assert found is not None, page
    return html.unescape(found[1])


async def make(person: Person, **fields: str) -> str:
    await person.get(KEYS)
    answer = await person.post(KEYS, **{"display_name": "web shop", "kind": "live", **fields})
    assert answer.status_code == 200, answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    return shown_key(answer.text)


async def whose(site: Site, key: str, **told: str) -> auth_pb2.AuthenticateResponse:
    return await call(site.auth.Authenticate, auth_pb2.AuthenticateRequest(api_key=key, **told), timeout_s=5)


async def test_a_made_key_works_and_is_shown_once(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    person = await site.signed_in("a")
    key = await make(person)

    assert (await whose(site, key)).account_id == "a"
    assert key not in (await person.get(KEYS)).text
    assert key not in caplog.text
    assert "web shop" in (await person.get(KEYS)).text


async def test_a_form_sent_twice_makes_one_key(site: Site) -> None:
    person = await site.signed_in("a")
    await person.get(KEYS)
    form_id = person.form_id
    first = await person.post(KEYS, display_name="x", kind="live", form_id=form_id)
    second = await person.post(KEYS, display_name="x", kind="live", form_id=form_id)

    assert (first.status_code, second.status_code) == (200, 409)
    assert len(await site.live_keys("a")) == 2


async def test_a_revoked_key_is_refused_at_once(site: Site) -> None:
    person = await site.signed_in("a")
    key = await make(person)
    key_id = (await whose(site, key)).key_id
    answer = await person.post(f"{KEYS}/{key_id}/revoke")

    assert answer.status_code == 303
    with pytest.raises(Unauthenticated):
        await whose(site, key)


async def test_a_replaced_key_works_until_the_overlap_ends(site: Site) -> None:
    person = await site.signed_in("a")
    key = await make(person)
    old_id = (await whose(site, key)).key_id
    await person.get(KEYS)
    successor = shown_key((await person.post(f"{KEYS}/{old_id}/rotate", overlap_hours="2")).text)

    assert (await whose(site, key)).account_id == (await whose(site, successor)).account_id == "a"
    site.clock.advance(2 * 3600 + 1)
    with pytest.raises(Unauthenticated):
        await whose(site, key)
    assert (await whose(site, successor)).account_id == "a"


async def test_restrictions_are_kept_and_shown(site: Site) -> None:
    person = await site.signed_in("a")
    key_id = (await whose(site, await make(person))).key_id
    answer = await person.post(
        f"{KEYS}/{key_id}/restrict",
        allowed_origins="https://shop.example\n\nhttps://*.shop.example",
        allowed_networks="203.0.113.0/24",
        allowed_dialects="",
    )
    assert answer.status_code == 303

    kept = next(key for key in await site.live_keys("a") if key.key_id == key_id)
    assert list(kept.restrictions.allowed_origins) == ["https://shop.example", "https://*.shop.example"]
    assert list(kept.restrictions.allowed_networks) == ["203.0.113.0/24"]
    assert "Pages: https://shop.example" in (await person.get(KEYS)).text


async def test_a_key_is_refused_from_where_and_in_what_and_after_when_it_may_not_be_used(site: Site) -> None:
    """Each restriction of the form, by what auth then says of the key."""
    person = await site.signed_in("a")
    key = await make(person)
    key_id = (await whose(site, key)).key_id
    restrict = f"{KEYS}/{key_id}/restrict"

    await person.post(restrict, allowed_networks="203.0.113.0/24")
    inside = await whose(site, key, client_address="203.0.113.9")
    with pytest.raises(Forbidden):
        await whose(site, key, client_address="198.51.100.1")
    await person.post(restrict, allowed_dialects="removebg")
    with pytest.raises(Forbidden):
        await whose(site, key, dialect="photoroom")
    await person.post(restrict, allowed_origins="https://shop.example")
    with pytest.raises(Forbidden):
        await whose(site, key, origin="https://evil.example")
    await person.post(restrict, days="2")
    free = await whose(site, key)
    later = await person.post(restrict, days="3")
    site.clock.advance(2 * 86_400)

    assert inside.key_id == free.key_id == key_id
    assert later.status_code == 400
    with pytest.raises(Unauthenticated):
        await whose(site, key)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"days": "0"}, "days"),
        ({"days": "1e9"}, "days"),
        ({"allowed_origins": "not an origin"}, "origin"),
        ({"allowed_networks": "300.1.1.1"}, "network"),
    ],
)
async def test_a_wrong_field_is_named_and_makes_nothing(
    site: Site, fields: dict[str, str], named: str
) -> None:
    person = await site.signed_in("a")
    await person.get(KEYS)
    answer = await person.post(KEYS, display_name="x", kind="live", **fields)

    assert answer.status_code == 400
    assert named in answer.text.lower()
    assert len(await site.live_keys("a")) == 1


async def test_the_audit_log_tells_who_made_and_ended_a_key(site: Site) -> None:
    person, operator = await site.signed_in("a"), await site.signed_in()
    await make(person)
    page = (await operator.get("/console/audit?account=a")).text
    table = (await operator.get("/console/audit.csv?account=a")).text

    assert f"console: key {site.keys['a'].key.key_id}" in page
    assert "key.create" in page
    assert f"console: key {site.keys['a'].key.key_id},key.create,a," in table


async def test_the_whole_audit_log_is_exported_and_no_cell_is_a_formula(site: Site) -> None:
    """More than a page of it, with a name that a spreadsheet would run."""
    operator = await site.signed_in()
    await operator.get(KEYS)
    for number in range(510):
        await site.make_key("a", is_test=bool(number % 2))
    await operator.post(KEYS, display_name="=HYPERLINK(1)", kind="live")
    rows = list(csv.DictReader(io.StringIO((await operator.get("/console/audit.csv")).text)))

    assert len([row for row in rows if row["action"] == "key.create"]) == 513
    assert [row["time"] for row in rows] == sorted((row["time"] for row in rows), reverse=True)
    assert rows[0]["details"] == "name==HYPERLINK(1)"
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row.values())
