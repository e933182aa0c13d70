"""Debian's Chromium, and visitors whose browsers tell when a page does what it must not."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, ConsoleMessage, Page, Request, async_playwright, expect

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
AXE = "axe-core@4.14.1"
_TIMEOUT_MS = 20_000
_INSTALL_TIMEOUT_S = 90


def chromium_path() -> str:
    """The browser of this machine. Skips, with the reason, where there is none."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("there is no Chromium on this machine; run: apt-get install chromium")
    return found


@asynccontextmanager
async def running_browser() -> AsyncIterator[Browser]:
    """A browser without windows, for the length of the block."""
    path = chromium_path()
    expect.set_options(timeout=_TIMEOUT_MS)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        try:
            yield browser
        finally:
            await browser.close()


def axe_script(directory: Path) -> str:
    """The accessibility checker, from its registry. Skips, with the reason, when it cannot be had."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not on this machine, so axe-core cannot be installed")
    done = subprocess.run(
        [npm, "install", "--loglevel=error", "--no-audit", "--no-fund", "--ignore-scripts",
         "--prefix", str(directory), AXE],
        capture_output=True, text=True, timeout=_INSTALL_TIMEOUT_S,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f"axe-core could not be installed: {done.stderr.strip()[-200:]}")
    return (directory / "node_modules" / "axe-core" / "axe.min.js").read_text()


@dataclass
class Visitor:
    """One person with a browser of their own. `complaints` is what the browser found wrong."""

    page: Page
    base_url: str
    complaints: list[str] = field(default_factory=list)
    # What a test means to provoke: part of a message that is then no complaint.
    expected: tuple[str, ...] = ()

    def watch(self) -> None:
        """Listen to the browser."""
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self._complain(f"uncaught: {error}"))
        self.page.on("request", self._on_request)

    async def open(self, path: str) -> None:
        """Open a page of the site and wait until it has loaded."""
        await self.page.goto(self.base_url + path, wait_until="load")

    async def check(self, axe: str) -> list[str]:
        """What is wrong with the page for people who cannot see or point well: WCAG 2 A and AA."""
        # As a browser extension would: past the page's own policy, which forbids foreign scripts.
        session = await self.page.context.new_cdp_session(self.page)
        await session.send("Runtime.evaluate", {"expression": axe})
        found = await session.send(
            "Runtime.evaluate",
            {
                "expression": "axe.run(document, {runOnly: "
                "['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa']})"
                ".then(r => JSON.stringify(r.violations.map("
                "v => `${v.impact} ${v.id}: ${v.nodes.map(n => n.target).join(' | ')}`)))",
                "awaitPromise": True,
            },
        )
        await session.detach()
        violations: list[str] = json.loads(found["result"]["value"])
        return violations

    async def look(self, scheme: Literal["light", "dark"], width_px: int) -> None:
        """Show the page as on another screen."""
        await self.page.emulate_media(color_scheme=scheme)
        await self.page.set_viewport_size({"width": width_px, "height": 800})

    async def is_scrolling_sideways(self) -> bool:
        """Whether something is wider than the screen."""
        wide: bool = await self.page.evaluate("document.documentElement.scrollWidth > innerWidth")
        return wide

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self._complain(f"{message.type}: {message.text}")

    def _on_request(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme in ("http", "https") and f"{parts.scheme}://{parts.netloc}" != self.base_url:
            self._complain(f"asked another host: {request.url}")

    def _complain(self, text: str) -> None:
        if not any(part in text for part in self.expected):
            self.complaints.append(text)


@asynccontextmanager
async def visitor(browser: Browser, base_url: str, **context: Any) -> AsyncIterator[Visitor]:
    """A visitor whose browser must have nothing to complain about when the block ends."""
    opened = await browser.new_context(viewport={"width": 1280, "height": 900}, **context)
    opened.set_default_timeout(_TIMEOUT_MS)
    try:
        who = Visitor(await opened.new_page(), base_url)
        who.watch()
        yield who
        if who.complaints:
            raise AssertionError("the browser complains: " + "; ".join(who.complaints))
    finally:
        await opened.close()
