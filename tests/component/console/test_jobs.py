"""Batches, stored results and webhooks, before the real jobs service with a worker."""

from __future__ import annotations

import asyncio
import html
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from matteworks.jobs.v1 import removal_pb2
from tests.component.console.site import Person, Site, site_before
from tests.component.jobs.conftest import valkey as valkey
from tests.component.jobs.conftest import valkey_of_jobs as valkey_of_jobs
from tests.support.clock import ManualClock
from tests.support.jobs_harness import JobsStack, jobs_stack
from tests.support.valkey import ValkeyProcess

ACCOUNT = "/console/accounts/a"


@dataclass
class Receiver:
    """Somebody's web server that takes webhooks. `ids` are those of what came, in order."""

    url: str = ""
    ids: list[str] = field(default_factory=list)
    came: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def wait_for(self, count: int) -> None:
        async with asyncio.timeout(20), self.came:
            await self.came.wait_for(lambda: len(self.ids) >= count)


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = re.search(r"(?i)content-length: (\d+)", head)
        await reader.readexactly(int(length[1]) if length else 0)
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()
        found = re.search(r"(?i)webhook-id: (\S+)", head)
        async with receiver.came:
            receiver.ids.append(found[1] if found else "")
            receiver.came.notify_all()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hooks?a=1&b=2"
        yield receiver


@dataclass
class Platform:
    """A console before jobs, and somebody of account `a`."""

    site: Site
    jobs: JobsStack
    person: Person


@pytest.fixture
async def platform(valkey: ValkeyProcess, tmp_path: Path) -> AsyncIterator[Platform]:
    async with (
        jobs_stack(valkey, tmp_path / "objects") as jobs,
        site_before(jobs.environment["auth_target"], ManualClock(), jobs_target=jobs.target) as site,
    ):
        await site.make_account("b")
        for account_id in ("a", "b"):
            site.keys[account_id] = await site.make_key(account_id)
        yield Platform(site, jobs, await site.signed_in("a"))


async def test_a_batch_is_shown_with_its_progress_and_can_be_cancelled(platform: Platform) -> None:
    accepted = await platform.jobs.submit([platform.jobs.spec(40 + n) for n in range(3)])
    batch_id = accepted.batch.batch_id
    page = (await platform.person.get(f"{ACCOUNT}/batches")).text
    assert batch_id in page
    assert "0 of 3" in page

    answer = await platform.person.post(f"{ACCOUNT}/batches/{batch_id}/cancel")

    assert answer.status_code == 303
    assert (await platform.jobs.batch(batch_id)).batch.cancelled_count == 3
    assert "3 of 3" in (await platform.person.get(f"{ACCOUNT}/batches/list")).text


async def test_open_pages_hear_of_a_batch_and_its_items_are_among_the_requests(platform: Platform) -> None:
    """One picture that is cut out and one that is none."""
    person = platform.person
    async with (
        asyncio.timeout(30),
        platform.jobs.working(),
        person.http.stream("GET", f"{ACCOUNT}/batches/events") as stream,
    ):
        lines = stream.aiter_lines()
        while await anext(lines) != ": no change":
            pass
        good, bad = platform.jobs.spec(), removal_pb2.RemovalSpec(image=b"no picture")
        accepted = await platform.jobs.submit([good, bad])
        while await anext(lines) != "event: changed":
            pass
        await platform.jobs.watch(accepted.batch.batch_id)
    # The worker has ended, so it has told what it knew.
    page = (await person.get(f"{ACCOUNT}/requests")).text
    outcomes = dict(re.findall(r'/request/(\w+)">.*?<span class="tag[^>]*>([^<]+)<', page, re.DOTALL))
    one = (await person.get(f"{ACCOUNT}/request/{accepted.item_ids[0]}")).text

    assert outcomes == {accepted.item_ids[0]: "done", accepted.item_ids[1]: "invalid file type"}
    assert "batch item" in page
    assert re.findall(r'class="depth-0">(\w+)<', one) == [
        "wait",
        "fetch",
        "reserve",
        "render",
        "keep",
        "commit",
    ]


async def test_a_stored_result_is_shown_and_deleted_for_good(platform: Platform) -> None:
    stored = await platform.jobs.store(b"x" * 2_000_000)
    page = (await platform.person.get(f"{ACCOUNT}/results")).text
    assert stored.result_id in page
    assert "2.0 MB" in page

    answer = await platform.person.post(f"{ACCOUNT}/results/{stored.result_id}/delete")

    assert answer.status_code == 303
    assert stored.result_id not in (await platform.person.get(f"{ACCOUNT}/results")).text
    assert platform.jobs.files() == []


async def test_an_endpoint_is_told_and_a_delivery_is_sent_again_under_its_id(platform: Platform) -> None:
    person = platform.person
    async with receiving() as receiver, platform.jobs.working():
        await person.get(f"{ACCOUNT}/webhooks")
        made = await person.post(f"{ACCOUNT}/webhooks", url=receiver.url, **{"batch.completed": "on"})
        secret = re.search(r'id="new-secret"[^>]*>([^<]+)<', made.text)
        assert secret is not None
        assert secret[1].startswith("whsec_")
        await platform.jobs.submit([platform.jobs.spec()])
        await receiver.wait_for(1)
        page = (await person.get(f"{ACCOUNT}/webhooks")).text
        delivery = re.search(r'/deliveries/([^/"]+)/resend', page)
        assert delivery is not None
        assert (await person.post(f"{ACCOUNT}/deliveries/{delivery[1]}/resend")).status_code == 303
        await receiver.wait_for(2)

    assert receiver.ids == [delivery[1]] * 2
    assert html.escape(receiver.url) in page
    assert secret[1] not in page


async def test_a_removed_endpoint_is_gone_and_a_new_secret_is_shown_once(platform: Platform) -> None:
    person = platform.person
    await person.get(f"{ACCOUNT}/webhooks")
    first = (
        await person.post(f"{ACCOUNT}/webhooks", url="http://127.0.0.1:9/x", **{"image.failed": "on"})
    ).text
    endpoint = re.search(r"/webhooks/([^/\"]+)/rotate", first)
    assert endpoint is not None
    second = (await person.post(f"{ACCOUNT}/webhooks/{endpoint[1]}/rotate")).text
    secrets = [re.search(r"whsec_[^<]+", page) for page in (first, second)]
    assert secrets[0] is not None
    assert secrets[1] is not None
    assert secrets[0][0] != secrets[1][0]

    await person.post(f"{ACCOUNT}/webhooks/{endpoint[1]}/delete")

    assert "There are no endpoints" in (await person.get(f"{ACCOUNT}/webhooks")).text


@pytest.mark.parametrize("url", ["ftp://x.example", "javascript:alert(1)", "http://10.0.0.1/", "x"])
async def test_a_url_that_may_not_be_told_is_refused(platform: Platform, url: str) -> None:
    await platform.person.get(f"{ACCOUNT}/webhooks")

    answer = await platform.person.post(f"{ACCOUNT}/webhooks", url=url, **{"image.failed": "on"})

    assert answer.status_code == 400


async def test_a_webhooks_url_is_text_and_never_markup(platform: Platform) -> None:
    attack = 'http://127.0.0.1:9/"><script>alert(1)</script>'
    await platform.person.get(f"{ACCOUNT}/webhooks")
    answer = await platform.person.post(f"{ACCOUNT}/webhooks", url=attack, **{"image.failed": "on"})

    assert "<script>alert" not in answer.text
    assert "<script>alert" not in (await platform.person.get(f"{ACCOUNT}/webhooks")).text


async def test_what_is_another_tenants_does_not_exist(platform: Platform) -> None:
    """Neither under the other's account nor, with the other's ids, under one's own."""
    batch_id = (await platform.jobs.submit([platform.jobs.spec()])).batch.batch_id
    result_id = (await platform.jobs.store()).result_id
    stranger = await platform.site.signed_in("b")
    await stranger.get("/console/accounts/b/webhooks")
    for account in ("a", "b"):
        for form in (f"batches/{batch_id}/cancel", f"results/{result_id}/delete", "deliveries/x/resend",
                     "webhooks/x/rotate", "webhooks/x/delete"):  # fmt: skip
            answer = await stranger.post(f"/console/accounts/{account}/{form}", form_id=f"{account}{form}")
            assert answer.status_code == 404, (account, form)
    for page in ("batches", "batches/list", "batches/events", "results", "results/list", "results/events",
                 "webhooks", "deliveries/list", "deliveries/events"):  # fmt: skip
        assert (await stranger.get(f"/console/accounts/a/{page}")).status_code == 404

    assert (await platform.jobs.batch(batch_id)).batch.cancelled_count == 0
    assert len(platform.jobs.files()) >= 1


@pytest.mark.parametrize("form", ["batches/x/cancel", "results/x/delete", "webhooks", "webhooks/x/rotate",
                                  "webhooks/x/delete", "deliveries/x/resend"])  # fmt: skip
async def test_a_form_without_the_sessions_token_is_refused(platform: Platform, form: str) -> None:
    assert (await platform.person.post(f"{ACCOUNT}/{form}", csrf="x")).status_code == 403


async def test_without_jobs_there_are_no_such_pages(site: Site) -> None:
    person = await site.signed_in("a")

    assert (await person.get(f"{ACCOUNT}/webhooks")).status_code == 404
    assert "Webhooks" not in (await person.get(ACCOUNT)).text
