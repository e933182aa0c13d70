"""The latest requests: what became of each, where its time went, and no word of another account's."""

from __future__ import annotations

import asyncio
import re

from tests.component.console.site import Site


def shown(page: str) -> list[str]:
    return re.findall(r'/request/([^"]+)">', page)


async def test_an_account_sees_what_became_of_its_requests_and_where_their_time_went(site: Site) -> None:
    await site.note("a", "went-well", charged_credits_milli=250, model="isnet")
    await site.note("a", "went-wrong", status=429, outcome="RATE_LIMIT_EXCEEDED")
    await site.note("b", "of-another")
    person = await site.signed_in("a")

    listed = (await person.get("/console/accounts/a/requests")).text
    failed = (await person.get("/console/accounts/a/requests?outcome=failed")).text
    found = (await person.get("/console/accounts/a/requests?id=went-well")).text
    one = (await person.get("/console/accounts/a/request/went-well")).text

    assert shown(listed) == ["went-wrong", "went-well"]
    assert "rate limit exceeded" in listed
    assert shown(failed) == ["went-wrong"]
    assert shown(found) == ["went-well"]
    assert [name in one for name in ("0.25", "isnet", "100 ms")] == [True] * 3
    assert re.findall(r'class="depth-(\d)">(\w+)<', one) == [
        ("0", "reserve"),
        ("0", "render"),
        ("1", "decode"),
    ]
    assert re.findall(r'x="([\d.]+)" y="2" width="([\d.]+)"', one) == [
        ("0.0", "100.0"),
        ("100.0", "800.0"),
        ("100.0", "200.0"),
    ]


async def test_the_id_of_another_accounts_request_is_nobodys(site: Site) -> None:
    await site.note("b", "of-another")
    person = await site.signed_in("a")

    others = await person.get("/console/accounts/a/request/of-another")
    nobodys = await person.get("/console/accounts/a/request/nobodys")

    assert others.status_code == nobodys.status_code == 404
    assert others.text == nobodys.text
    assert shown((await person.get("/console/accounts/a/requests?id=of-another")).text) == []


async def test_pages_of_requests_keep_what_was_asked_for(site: Site) -> None:
    for number in range(60):
        await site.note("a", f"r{number}", outcome="ok" if number % 2 else "CANCELLED")
    person = await site.signed_in("a")
    await site.note("a", "one-more", outcome="CANCELLED")

    first = (await person.get("/console/accounts/a/requests?outcome=ok")).text
    whole = (await person.get("/console/accounts/a/requests")).text
    link = re.search(r'href="(\?page=[^"]+)"', whole)
    assert link is not None
    second = (await person.get("/console/accounts/a/requests" + link[1])).text

    assert shown(first) == [f"r{number}" for number in range(59, 0, -2)]
    assert shown(whole) + shown(second) == ["one-more", *(f"r{number}" for number in range(59, -1, -1))]


async def test_an_open_list_hears_of_another_request(site: Site) -> None:
    person = await site.signed_in("a")
    async with (
        asyncio.timeout(10),
        person.http.stream("GET", "/console/accounts/a/requests/events") as stream,
    ):
        lines = stream.aiter_lines()
        while await anext(lines) != ": no change":
            pass
        await site.note("a", "another")
        while await anext(lines) != "event: changed":
            pass


async def test_what_a_request_says_is_text_and_never_markup(site: Site) -> None:
    attack = "<img src=x onerror=alert(1)>"
    await site.note("a", "attack", outcome=attack, field=attack, model=attack, route=attack)
    person = await site.signed_in("a")

    for path in ("/console/accounts/a/requests", "/console/accounts/a/request/attack"):
        assert "<img" not in re.sub(r'<img src="/console/static/[^>]*>', "", (await person.get(path)).text)
