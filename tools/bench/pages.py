#!/usr/bin/env python3
"""How soon pages for people show something, and how much travels for them.

    python -m tools.bench.pages [--models-dir models] [--rounds 9]

Starts a stack of its own and Debian's Chromium, with an empty cache for every visit. Prints the median first
contentful paint and the bytes on the wire without pictures.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, async_playwright

from matteworks_deploy.local.options import StackOptions
from matteworks_deploy.local.stack import ReadyStack, running_stack
from tools.page_screenshots import FLAGS, PATHS, ROOT, chromium_path, ignore_line

PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null"


async def visit(browser: Browser, stack: ReadyStack, path: str, state: Any) -> tuple[float, int]:
    """Milliseconds to the first contentful paint, and bytes without pictures, of one visit."""
    context = await browser.new_context(base_url=stack.base_url, storage_state=state)
    page = await context.new_page()
    session = await context.new_cdp_session(page)
    kinds: dict[str, str] = {}
    sizes: dict[str, int] = {}
    session.on("Network.responseReceived", lambda event: kinds.update({event["requestId"]: event["type"]}))
    session.on(
        "Network.loadingFinished",
        lambda event: sizes.update({event["requestId"]: int(event["encodedDataLength"])}),
    )
    await session.send("Network.enable")
    await page.goto(path, wait_until="load")
    paint_ms = await page.evaluate(PAINT)
    while paint_ms is None:
        await page.wait_for_timeout(20)
        paint_ms = await page.evaluate(PAINT)
    await context.close()
    return paint_ms, sum(size for request, size in sizes.items() if kinds.get(request) != "Image")


async def run(models_directory: Path, rounds: int) -> None:
    """Measure every page and print the table."""
    with tempfile.TemporaryDirectory() as state_directory:
        options = StackOptions(
            port=0, state_directory=Path(state_directory), models_directory=models_directory
        )
        async with (
            running_stack(options, os.environ, ignore_line) as stack,
            async_playwright() as playwright,
        ):
            browser = await playwright.chromium.launch(executable_path=chromium_path(), args=FLAGS)
            context = await browser.new_context(base_url=stack.base_url)
            page = await context.new_page()
            await page.goto("/console")
            await page.fill("#secret", (Path(state_directory) / "secrets/admin-token").read_text().strip())
            await page.click("main button")
            await page.wait_for_url("**/console/accounts")
            state = await context.storage_state()
            print("| page | first contentful paint, ms | kB without pictures |\n|---|---|---|")
            for name, path in {"try it": "/", **PATHS}.items():
                visits = [await visit(browser, stack, path, state) for _ in range(rounds)]
                paint_ms = statistics.median(paint for paint, _ in visits)
                print(f"| {name} | {paint_ms:.0f} | {max(size for _, size in visits) / 1000:.0f} |")
            await browser.close()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models-dir", type=Path, default=ROOT / "models")
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    asyncio.run(run(arguments.models_dir, arguments.rounds))


if __name__ == "__main__":
    main()
