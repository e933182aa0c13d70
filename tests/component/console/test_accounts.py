"""Credits, usage, live updates, and what operators change."""

from __future__ import annotations

import asyncio
import csv
import io
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from matteworks_console.pages.live import MAX_STREAMS_OF_ONE
from tests.component.console.site import Site


async def test_usage_is_told_by_day_key_and_dialect_and_as_csv(site: Site) -> None:
    operator, person = await site.signed_in(), await site.signed_in("a")
    await operator.get("/console/accounts/a")
    await operator.post("/console/accounts/a/grants", credits="10", balance="payg")
    await site.spend("a", "one", "removebg")
    await site.spend("a", "two", "photoroom")

    page = (await person.get("/console/accounts/a/usage")).text
    only = (await person.get("/console/accounts/a/usage?dialect=photoroom")).text
    rows = list(csv.DictReader(io.StringIO((await person.get("/console/accounts/a/usage.csv")).text)))

    assert page.count('<rect class="bar-0"') == 2, "one bar of requests, one of credits"
    assert ": 2 done</title>" in page
    assert ": 1 done</title>" in only
    charges = {row["dialect"]: row["charged_credits_milli"] for row in rows}
    assert charges == {"removebg": "1000", "photoroom": "1000"}
    assert {row["key_id"] for row in rows} == {site.keys["a"].key.key_id}


@pytest.mark.parametrize(
    "query", ["from=x", "from=2026-01-02&to=2026-01-01", "from=2020-01-01&to=2026-01-01"]
)
async def test_days_that_make_no_sense_are_refused_in_words(site: Site, query: str) -> None:
    person = await site.signed_in("a")

    assert (await person.get(f"/console/accounts/a/usage?{query}")).status_code == 400


async def test_a_grant_is_given_once_however_often_the_form_is_sent(site: Site) -> None:
    operator = await site.signed_in()
    await operator.get("/console/accounts/a")
    form_id = operator.form_id
    for _ in range(2):
        await operator.post("/console/accounts/a/grants", credits="2.5", balance="payg", form_id=form_id)

    assert await site.credits_milli("a") == 2500


@pytest.mark.parametrize("credits", ["0", "-1", "0.0001", "x", "NaN", "Infinity", "1e99"])
async def test_an_odd_number_of_credits_grants_nothing(site: Site, credits: str) -> None:
    operator = await site.signed_in()
    await operator.get("/console/accounts/a")

    answer = await operator.post("/console/accounts/a/grants", credits=credits, balance="payg")

    assert answer.status_code == 400
    assert await site.credits_milli("a") == 0


async def test_an_operator_makes_an_account_and_changes_its_plan(site: Site) -> None:
    operator = await site.signed_in()
    await operator.get("/console/accounts")
    made = await operator.post("/console/accounts", account_id="c", display_name="Acme", plan="starter")
    assert made.headers["location"] == "/console/accounts/c"
    await operator.get("/console/accounts/c")
    await operator.post("/console/accounts/c/plan", plan="team")

    page = (await operator.get("/console/accounts/c")).text
    assert "Plan team" in page
    assert "Acme" in (await operator.get("/console/accounts?prefix=c")).text


async def test_an_open_page_hears_of_a_change_and_of_the_end_of_its_session(site: Site) -> None:
    operator, person = await site.signed_in(), await site.signed_in("a")
    await operator.get("/console/accounts/a")
    async with (
        asyncio.timeout(10),
        person.http.stream("GET", "/console/accounts/a/events") as stream,
    ):
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = stream.aiter_lines()
        assert await anext(lines) == "retry: 1000"
        while await anext(lines) != ": no change":
            pass
        await operator.post("/console/accounts/a/grants", credits="1", balance="payg")
        while await anext(lines) != "event: changed":
            pass
        await person.get("/console/accounts/a")
        await person.post("/console/sign-out-everywhere")
        while await anext(lines) != "event: signed-out":
            pass
        rest = [line async for line in lines]

    assert "event: changed" not in rest


async def test_operators_are_told_when_inference_does_not_answer(site: Site) -> None:
    """Behind this console nobody serves it."""
    operator = await site.signed_in()

    assert "Inference does not answer" in (await operator.get("/console/models")).text


async def test_operators_see_which_services_answer(site: Site) -> None:
    """Auth runs; nobody serves the others behind this console."""
    operator = await site.signed_in()
    page = (await operator.get("/console/services")).text
    states = dict(re.findall(r'<th scope="row">(\w+)</th><td><span[^>]*>([^<]+)<', page))

    assert states == {"auth": "answers", "compositor": "does not answer", "inference": "does not answer"}


async def test_open_pages_of_one_account_are_bounded_and_take_nothing_from_another(site: Site) -> None:
    person, other = await site.signed_in("a"), await site.signed_in("b")
    listening: list[AsyncIterator[str]] = []
    async with AsyncExitStack() as opened, asyncio.timeout(20):
        for _ in range(MAX_STREAMS_OF_ONE):
            stream = await opened.enter_async_context(person.http.stream("GET", "/console/accounts/a/events"))
            assert stream.status_code == 200
            listening.append(stream.aiter_lines())
            await anext(listening[-1])
        refused = await person.get("/console/accounts/a/events")
        elsewhere = await opened.enter_async_context(other.http.stream("GET", "/console/accounts/b/events"))

        assert (refused.status_code, refused.headers["retry-after"]) == (503, "30")
        assert elsewhere.status_code == 200
