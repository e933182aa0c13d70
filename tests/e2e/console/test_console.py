"""The console in a real browser before the real stack."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path
from typing import Literal

import httpx
import pytest
from playwright.async_api import expect

from tests.e2e.console.conftest import Visit
from tests.support.chromium import Visitor
from tests.support.stack import RunningStack

pytestmark = [
    pytest.mark.stack,
    pytest.mark.asyncio(loop_scope="package"),
    pytest.mark.timeout(180),
]

ACCOUNT = "/console/accounts/development"
PAGES = (
    ACCOUNT,
    f"{ACCOUNT}/keys",
    f"{ACCOUNT}/usage",
    f"{ACCOUNT}/requests",
    f"{ACCOUNT}/batches",
    f"{ACCOUNT}/results",
    f"{ACCOUNT}/webhooks",
    "/console/accounts",
    "/console/plans",
    "/console/models",
    "/console/services",
    "/console/load",
    "/console/settings",
    "/console/audit",
)


async def sign_in(visitor: Visitor, secret: str) -> None:
    await visitor.open("/console")
    await visitor.page.fill("#secret", secret)
    await visitor.page.click("main button")
    await visitor.page.wait_for_url(re.compile("/console/accounts"))


async def show(visitor: Visitor, *, is_hidden: bool) -> None:
    """As if the person had gone to another tab, or come back."""
    await visitor.page.evaluate(
        """isHidden => {
            Object.defineProperty(document, "hidden", {value: isHidden, configurable: true});
            document.dispatchEvent(new Event("visibilitychange"));
        }""",
        is_hidden,
    )


def remove(stack: RunningStack, key: str, photo: Path) -> httpx.Response:
    return httpx.post(
        f"{stack.base_url}/v1.0/removebg",
        headers={"X-Api-Key": key},
        # Bytes after a JPEG's end are ignored; without them equal uploads would share a charge.
        files={"image_file": photo.read_bytes() + os.urandom(16)},
        timeout=60,
    )


async def test_a_key_is_made_used_revoked_and_refused(
    visit: Visit, running_stack: RunningStack, demo_photo: Path
) -> None:
    async with visit() as visitor:
        page = visitor.page
        await sign_in(visitor, running_stack.key)
        await visitor.open(f"{ACCOUNT}/keys")
        await page.fill("#display-name", "for the test <b>bold</b>")
        await page.click("text=Make the key")
        key = (await page.inner_text("#new-key")).strip()
        used = remove(running_stack, key, demo_photo)
        await visitor.open(f"{ACCOUNT}/keys")
        card = page.locator("li.card", has_text="for the test <b>bold</b>")
        await card.get_by_text("Revoke", exact=True).click()
        await card.get_by_role("button", name="Revoke").click()
        await page.wait_for_function(
            "!document.querySelector('ul.keys').textContent.includes('for the test')"
        )
        # Other replicas of auth may remember a key for two seconds; this one forgets it at once.
        refused = remove(running_stack, key, demo_photo)

    assert used.status_code == 200
    assert refused.status_code == 403


async def test_an_open_page_follows_what_is_spent_and_recovers_from_a_lost_connection(
    visit: Visit, running_stack: RunningStack, demo_photo: Path
) -> None:
    async with visit() as visitor:
        visitor.expected = ("Failed to load resource", "ERR_")
        await sign_in(visitor, running_stack.key)
        live, spent = visitor.page.locator("#live"), visitor.page.locator("#balance dd").last
        await expect(live).to_have_text("Live.")
        before = await spent.inner_text()
        assert remove(running_stack, running_stack.key, demo_photo).status_code == 200
        await expect(spent).not_to_have_text(before)

        running_stack.kill("console")
        await expect(live).not_to_have_text("Live.")
        before = await spent.inner_text()
        assert remove(running_stack, running_stack.key, demo_photo).status_code == 200
        await expect(live).to_have_text("Live.", timeout=40_000)
        await expect(spent).not_to_have_text(before)

        # A page that nobody looks at gives its connection back, and catches up when somebody does.
        await show(visitor, is_hidden=True)
        await expect(live).to_have_text("Paused.")
        before = await spent.inner_text()
        assert remove(running_stack, running_stack.key, demo_photo).status_code == 200
        await show(visitor, is_hidden=False)
        await expect(live).to_have_text("Live.")
        await expect(spent).not_to_have_text(before)


async def test_while_the_console_is_away_people_get_a_page_and_programs_a_document(
    visit: Visit, running_stack: RunningStack, axe: str
) -> None:
    """The proxy answers; what programs parse stays what it is."""
    async with visit() as visitor:
        visitor.expected = ("Failed to load resource", "503")
        running_stack.kill("console")
        page = await visitor.page.goto(f"{running_stack.base_url}/console")
        assert page is not None
        problems = await visitor.check(axe)
        told = await visitor.page.inner_text("h1")
        document = await visitor.page.request.get(
            f"{running_stack.base_url}/console", headers={"Accept": "application/json"}
        )
        code = (await document.json())["errors"][0]["code"] if document.status == 503 else ""
        async with asyncio.timeout(40):
            while await visitor.page.locator("#secret").count() == 0:
                await visitor.page.reload()

    assert (page.status, page.headers["content-type"]) == (503, "text/html; charset=utf-8")
    assert told == "Not available at the moment"
    assert problems == []
    # It may be back by then.
    assert (document.status, code) in ((503, "service_unavailable"), (200, ""))


async def test_usage_has_bars_for_what_was_used(
    visit: Visit, running_stack: RunningStack, demo_photo: Path
) -> None:
    remove(running_stack, running_stack.key, demo_photo).raise_for_status()
    async with visit() as visitor:
        await sign_in(visitor, running_stack.key)
        await visitor.open(f"{ACCOUNT}/usage")
        assert await visitor.page.locator("rect.bar-0").count() >= 2
        async with visitor.page.expect_download() as waiting:
            await visitor.page.click("text=CSV")
        table = Path(await (await waiting.value).path()).read_text()

    assert table.startswith("day,key_id,dialect,")
    assert len(table.splitlines()) >= 2


async def test_a_request_is_found_by_its_id_with_the_time_of_each_stage(
    visit: Visit, running_stack: RunningStack, demo_photo: Path
) -> None:
    async with visit() as visitor:
        page = visitor.page
        await sign_in(visitor, running_stack.key)
        await visitor.open(f"{ACCOUNT}/requests")
        await expect(page.locator("#live")).to_have_text("Live.")
        request_id = remove(running_stack, running_stack.key, demo_photo).headers["x-request-id"]
        await page.get_by_role("link", name=request_id).click()
        await expect(page.locator("main")).to_contain_text("Done")
        stages = await page.locator(".waterfall tbody th").all_inner_texts()

    assert {"authenticate", "reserve", "render", "segment", "infer", "commit"} <= set(stages)


async def test_operators_see_every_process_its_load_and_its_settings(
    visit: Visit, running_stack: RunningStack
) -> None:
    async with visit() as visitor:
        await sign_in(visitor, running_stack.admin_token)
        await visitor.open("/console/services")
        processes = visitor.page.locator("[aria-label='Processes'] tbody tr")
        names = await processes.locator("th").all_inner_texts()
        assert await processes.get_by_text("does not answer").count() == 0
        await visitor.open("/console/load")
        assert await visitor.page.get_by_text("Device at work").count() == names.count("inference")
        await visitor.open("/console/settings")
        settings = await visitor.page.inner_text("main")

    assert sorted(set(names)) == ["auth", "compositor", "console", "edge", "inference", "jobs", "worker"]
    assert "MATTEWORKS_INFERENCE_THREADS" in settings
    assert running_stack.admin_token not in settings


async def test_no_site_may_frame_the_console(visit: Visit, running_stack: RunningStack) -> None:
    """Clickjacking."""
    async with visit() as visitor:
        visitor.expected = ("frame-ancestors", "X-Frame-Options", "Framing", "chrome-error")
        await visitor.page.route(
            "**/frame",
            lambda route: route.fulfill(
                body="<iframe src='/console/sign-in'></iframe>", content_type="text/html"
            ),
        )
        await visitor.open("/frame")
        framed = visitor.page.frames[-1]

        assert await framed.locator("#secret").count() == 0


@pytest.mark.parametrize(("scheme", "width_px"), [("light", 1280), ("dark", 360)])
async def test_everybody_can_use_every_page(
    visit: Visit,
    running_stack: RunningStack,
    demo_photo: Path,
    axe: str,
    scheme: Literal["light", "dark"],
    width_px: int,
) -> None:
    problems: dict[str, list[str]] = {}
    async with visit() as visitor:
        await visitor.look(scheme, width_px)
        await visitor.open("/console/sign-in")
        problems["sign-in"] = await visitor.check(axe)
        await sign_in(visitor, running_stack.admin_token)
        request_id = remove(running_stack, running_stack.key, demo_photo).headers["x-request-id"]
        visitor.expected = ("404",)
        for path in (*PAGES, f"{ACCOUNT}/request/{request_id}", "/console/nothing-here"):
            await visitor.open(path)
            for details in await visitor.page.locator("details").all():
                await details.evaluate("element => { element.open = true; }")
            problems[path] = await visitor.check(axe)
            if await visitor.is_scrolling_sideways():
                problems[path].append("scrolls sideways")

    assert {path: found for path, found in problems.items() if found} == {}
