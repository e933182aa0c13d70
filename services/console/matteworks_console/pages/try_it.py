"""The page to try a picture, and the call that it shows."""

from __future__ import annotations

import re
from pathlib import Path

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from matteworks_console import call_samples
from matteworks_console.rendering import Renderer

# What a browser sends as Host; anything else may not get into a program that people copy.
_HOST = re.compile(r"[A-Za-z0-9.-]+(:[0-9]{1,5})?|\[[0-9a-fA-F:]+\](:[0-9]{1,5})?")
_EXAMPLE_ORIGIN = "https://your-host.example"


class TryItPages:
    """`/`, where a picture is tried by the public API itself, with a key that any visitor may see."""

    def __init__(self, renderer: Renderer, public_url: str, browser_key_file: str, is_on: bool) -> None:
        self._renderer = renderer
        self._public_url = public_url
        self._browser_key_path = Path(browser_key_file) if browser_key_file else None
        self._is_on = is_on

    @property
    def routes(self) -> list[Route]:
        return [
            Route("/", self.page, methods=["GET"], name="try"),
            Route("/console/try/call", self.call, methods=["GET"], name="try.call"),
        ]

    async def page(self, request: Request) -> Response:
        """The page; without it, people go to the console."""
        if not self._is_on:
            return RedirectResponse("/console", status_code=303)
        return self._renderer.page(
            "try_it.html",
            browser_key=self.browser_key(),
            providers=call_samples.PROVIDERS,
            languages=call_samples.LANGUAGES,
            program=self._program(request),
            left_out=(),
        )

    async def call(self, request: Request) -> Response:
        """The program for the choices in the query, as a part of the page."""
        choices = call_samples.read_choices(request.query_params)
        call = call_samples.find_provider(request.query_params.get("provider", "")).call(choices)
        return self._renderer.page("call_part.html", program=self._program(request), left_out=call.left_out)

    def browser_key(self) -> str:
        """The key for visitors, read anew so that it can be replaced; empty when there is none."""
        try:
            return self._browser_key_path.read_text().strip() if self._browser_key_path else ""
        except OSError:
            return ""

    def _program(self, request: Request) -> str:
        query = request.query_params
        call = call_samples.find_provider(query.get("provider", "")).call(call_samples.read_choices(query))
        return call_samples.program(query.get("language", ""), self._origin(request), call)

    def _origin(self, request: Request) -> str:
        if self._public_url:
            return self._public_url
        host = request.headers.get("host", "")
        return f"http://{host}" if _HOST.fullmatch(host) else _EXAMPLE_ORIGIN
