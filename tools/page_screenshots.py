#!/usr/bin/env python3
"""Pictures of every page for people: light, dark and narrow, side by side, in docs/images.

    python -m tools.page_screenshots [--out docs/images] [--models-dir models]

Starts a stack of its own with a few accounts and calls, and drives Debian's Chromium.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import httpx
from PIL import Image
from playwright.async_api import Browser, Page, async_playwright

from matteworks.jobs.v1 import jobs_pb2, jobs_pb2_grpc, removal_pb2, webhooks_pb2, webhooks_pb2_grpc
from matteworks_deploy.local.development import ACCOUNT_ID
from matteworks_deploy.local.options import StackOptions
from matteworks_deploy.local.stack import ReadyStack, running_stack

ROOT = Path(__file__).resolve().parent.parent
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
PHOTO = ROOT / "cli/matteworks_cli/demo/astronaut.jpg"
HEIGHT_PX = 900
VIEWS = (("light", 1200), ("dark", 1200), ("light", 360))
SCALE = 0.6
ACCOUNT = "/console/accounts/development"
PATHS = {
    "overview": ACCOUNT,
    "keys": f"{ACCOUNT}/keys",
    "usage": f"{ACCOUNT}/usage",
    "requests": f"{ACCOUNT}/requests",
    "batches": f"{ACCOUNT}/batches",
    "results": f"{ACCOUNT}/results",
    "webhooks": f"{ACCOUNT}/webhooks",
    "accounts": "/console/accounts",
    "plans": "/console/plans",
    "models": "/console/models",
    "services": "/console/services",
    "load": "/console/load",
    "settings": "/console/settings",
    "audit": "/console/audit",
}


def chromium_path() -> str:
    """The browser of this machine. Ends the program where there is none."""
    found = shutil.which("chromium")
    if found is None:
        sys.exit("there is no Chromium on this machine; run: apt-get install chromium")
    return found


async def photograph(page: Page, target: Path) -> None:
    """Write the page as it is now, in every view, to one small picture."""
    shots = []
    for scheme, width_px in VIEWS:
        await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        await page.set_viewport_size({"width": width_px, "height": HEIGHT_PX})
        await page.wait_for_timeout(250)
        shots.append(Image.open(io.BytesIO(await page.screenshot())))
    sheet = Image.new("RGB", (sum(shot.width for shot in shots), HEIGHT_PX))
    left = 0
    for shot in shots:
        sheet.paste(shot.convert("RGB"), (left, 0))
        left += shot.width
    small = sheet.resize((round(sheet.width * SCALE), round(HEIGHT_PX * SCALE)), Image.Resampling.LANCZOS)
    small.save(target, "WEBP", quality=72, method=6)
    print(f"{target.name}: {target.stat().st_size / 1000:.0f} kB")


async def use(stack: ReadyStack) -> None:
    """A few calls, so that there is something to see."""
    calls = (
        ("/v1.0/removebg", {"size": "auto"}, 5),
        ("/v1/segment", {"size": "full"}, 3),
        ("/remove-background/v1", {}, 2),
    )
    async with httpx.AsyncClient(base_url=stack.base_url, timeout=120) as client:
        for path, fields, count in calls:
            for _ in range(count):
                # Bytes after a JPEG's end are ignored; without them equal uploads would share a charge.
                files = {"image_file": ("photo.jpg", PHOTO.read_bytes() + os.urandom(16))}
                answer = await client.post(path, headers={"X-Api-Key": stack.key}, data=fields, files=files)
                answer.raise_for_status()
        await client.post("/v1.0/removebg", headers={"X-Api-Key": stack.key}, files={"image_file": b"x"})


async def defer(stack: ReadyStack) -> None:
    """A batch that ends, and a webhook that is told of it, in vain."""
    caller = removal_pb2.Caller(account_id=ACCOUNT_ID)

    async def parts() -> AsyncIterator[jobs_pb2.CreateBatchRequest]:
        yield jobs_pb2.CreateBatchRequest(header=jobs_pb2.BatchHeader(caller=caller))
        for _ in range(3):
            picture = PHOTO.read_bytes() + os.urandom(16)
            yield jobs_pb2.CreateBatchRequest(item=removal_pb2.RemovalSpec(image=picture))

    async with grpc.aio.insecure_channel(stack.internal_target) as channel:
        await webhooks_pb2_grpc.WebhookServiceStub(channel).CreateWebhookEndpoint(
            webhooks_pb2.CreateWebhookEndpointRequest(
                account_id=ACCOUNT_ID,
                url="https://hooks.example.invalid/cutouts",
                events=[webhooks_pb2.WEBHOOK_EVENT_BATCH_COMPLETED],
            ),
            timeout=10,
        )
        jobs = jobs_pb2_grpc.JobServiceStub(channel)
        batch = (await jobs.CreateBatch(parts(), timeout=30)).batch
        watched = jobs.WatchBatch(
            jobs_pb2.WatchBatchRequest(account_id=ACCOUNT_ID, batch_id=batch.batch_id), timeout=120
        )
        async for _ in watched:
            pass


async def visit(browser: Browser, stack: ReadyStack, admin_token: str, out: Path) -> None:
    """Open every page and photograph it."""
    context = await browser.new_context(base_url=stack.base_url)
    page = await context.new_page()
    await page.goto("/")
    await page.click("[data-name='astronaut.jpg']")
    await page.wait_for_selector("#download:not([disabled])", timeout=120_000)
    await page.evaluate("scrollTo(0, 0)")
    await photograph(page, out / "page-try-it.webp")
    await page.goto("/console")
    await photograph(page, out / "page-sign-in.webp")
    await page.fill("#secret", admin_token)
    await page.click("main button")
    await page.wait_for_url("**/console/accounts")
    for account_id, name in (("acme", "Acme Shoes"), ("studio-nord", "Studio Nord")):
        await page.fill("#account-id", account_id)
        await page.fill("main #display-name", name)
        await page.click("text=Make the account")
        await page.fill("#credits", "250")
        await page.click("main button:has-text('Grant')")
        await page.goto("/console/accounts")
    for name, path in PATHS.items():
        await page.goto(path)
        await photograph(page, out / f"page-{name}.webp")
    await page.goto(PATHS["requests"])
    await page.locator("tbody tr", has_text="removebg").last.locator("a").click()
    await photograph(page, out / "page-request.webp")
    await context.close()


def ignore_line(name: str, line: str) -> None:
    """The stack's log is of no interest here."""


async def run(out: Path, models_directory: Path) -> None:
    """Everything, with a stack and a browser that end with it."""
    with tempfile.TemporaryDirectory() as state:
        options = StackOptions(
            host="127.0.0.1", port=0, state_directory=Path(state), models_directory=models_directory
        )
        async with running_stack(options, os.environ, ignore_line) as stack, async_playwright() as playwright:
            await use(stack)
            await defer(stack)
            browser = await playwright.chromium.launch(executable_path=chromium_path(), args=FLAGS)
            admin_token = (Path(state) / "secrets/admin-token").read_text().strip()
            await visit(browser, stack, admin_token, out)
            await browser.close()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=ROOT / "docs/images")
    parser.add_argument("--models-dir", type=Path, default=ROOT / "models")
    arguments = parser.parse_args()
    asyncio.run(run(arguments.out, arguments.models_dir))


if __name__ == "__main__":
    main()
