"""Signing in and out."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from matteworks_console.errors import PageError
from matteworks_console.rendering import Renderer
from matteworks_console.security.access import SIGN_IN_PATH, Access, client_address
from matteworks_console.security.forms import check_token, read_form

_FORM_COOKIE: Final = "console-form"
# One segment after the other, none of them empty or made of dots.
_OWN_PATH: Final = re.compile(r"/console(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*")


class SignInPages:
    """The door of the console. `visitors_key` is the key that anybody may know and nobody signs in with."""

    def __init__(self, renderer: Renderer, access: Access, visitors_key: Callable[[], str]) -> None:
        self._renderer = renderer
        self._access = access
        self._visitors_key = visitors_key

    @property
    def routes(self) -> list[Route]:
        return [
            Route(SIGN_IN_PATH, self.page, methods=["GET"]),
            Route(SIGN_IN_PATH, self.sign_in, methods=["POST"]),
            Route("/console/sign-out", self.sign_out, methods=["POST"]),
            Route("/console/sign-out-everywhere", self.sign_out_everywhere, methods=["POST"]),
        ]

    async def page(self, request: Request) -> Response:
        """The form."""
        return self._form(request.query_params.get("next", ""))

    async def sign_in(self, request: Request) -> Response:
        """Check the secret; on success a session that this browser never had before."""
        form = await read_form(request)
        check_token(form, request.cookies.get(_FORM_COOKIE, ""))
        wanted = form.text("next")
        try:
            token = await self._access.sign_in(
                form.text("secret"), client_address(request), self._visitors_key()
            )
        except PageError as error:
            answer = self._form(wanted, problem=error.remedy, status=error.status)
            if error.retry_after_s:
                answer.headers["Retry-After"] = str(round(error.retry_after_s))
            return answer
        former = request.cookies.get(self._access.cookie_name, "")
        if former:
            await self._access.sessions.end(former)
        response = RedirectResponse(wanted if _OWN_PATH.fullmatch(wanted) else "/console", status_code=303)
        response.delete_cookie(_FORM_COOKIE, path=SIGN_IN_PATH)
        self._access.remember(response, token)
        return response

    async def sign_out(self, request: Request) -> Response:
        """End the session of this browser."""
        session = await self._access.session(request)
        await self._access.form(request, session)
        await self._access.sessions.end(request.cookies.get(self._access.cookie_name, ""))
        return self._gone()

    async def sign_out_everywhere(self, request: Request) -> Response:
        """End every session of the account, or of the operators."""
        session = await self._access.session(request)
        await self._access.form(request, session)
        await self._access.sessions.end_all(session.principal)
        return self._gone()

    def _form(self, wanted: str, problem: str = "", status: int = 200) -> Response:
        token = secrets.token_urlsafe(24)
        response = self._renderer.page("sign_in.html", status, csrf=token, next=wanted, problem=problem)
        # Only this site can set the cookie, so only its own form can have the same token.
        response.set_cookie(
            _FORM_COOKIE, token, max_age=3600, path=SIGN_IN_PATH, httponly=True, samesite="strict",
            secure=self._access.cookie_name.startswith("__Host-"),
        )  # fmt: skip
        return response

    def _gone(self) -> Response:
        response = RedirectResponse(SIGN_IN_PATH, status_code=303)
        self._access.forget(response)
        return response
