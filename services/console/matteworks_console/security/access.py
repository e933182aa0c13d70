"""Who may see what: the cookie, the session behind it, and whose account a page is about."""

from __future__ import annotations

import hashlib
import hmac
from typing import Final
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from matteworks.auth.v1 import auth_pb2
from matteworks_common.clock import Clock
from matteworks_common.errors import Unauthenticated
from matteworks_console.clients import AccountsClient
from matteworks_console.errors import PageError
from matteworks_console.security.forms import Form, check_token, read_form
from matteworks_console.security.session_store import SessionStore
from matteworks_console.security.sessions import OPERATOR, SESSION_S, Session, Sessions

SIGN_IN_PATH: Final = "/console/sign-in"
ATTEMPTS_PER_MINUTE: Final = 10
# Bounds guessing from many addresses at once.
ATTEMPTS_OF_ALL_PER_MINUTE: Final = 300


class SignInNeeded(Exception):
    """Nobody is signed in; `path` is where they wanted to go."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path

    def redirect(self) -> Response:
        return RedirectResponse(f"{SIGN_IN_PATH}?next={quote(self.path, safe='/')}", status_code=303)


class Access:
    """Knows who sends a request. `is_https` decides whether cookies are sent over https only."""

    def __init__(
        self, accounts: AccountsClient, store: SessionStore, clock: Clock, admin_token: str, is_https: bool
    ) -> None:
        self._accounts = accounts
        self._store = store
        self._clock = clock
        self._admin_token = admin_token
        # Sessions of operators end when there is another token.
        self._token_digest = hashlib.sha256(admin_token.encode()).hexdigest()[:16]
        self._is_https = is_https
        self.sessions = Sessions(store)
        # With the prefix, a browser takes the cookie from this host over https alone.
        self.cookie_name = "__Host-console" if is_https else "console"

    async def session(self, request: Request) -> Session:
        """Who is signed in. Raises SignInNeeded."""
        session = await self.sessions.find(request.cookies.get(self.cookie_name, ""))
        if session is None:
            raise SignInNeeded(request.url.path if request.method == "GET" else "/console")
        is_valid = (
            session.key_id == self._token_digest if session.is_operator else await self._is_key_alive(session)
        )
        if not is_valid:
            raise SignInNeeded("/console")
        return session

    async def operator(self, request: Request) -> Session:
        """An operator. For others the page does not exist."""
        session = await self.session(request)
        if not session.is_operator:
            raise PageError(404, "Check the address, or go back to where you came from.")
        return session

    async def for_account(self, request: Request) -> tuple[Session, str]:
        """Somebody who may see the account that the path names, and its id. For others it does not exist."""
        session = await self.session(request)
        account_id: str = request.path_params["account_id"]
        if not session.is_operator and session.account_id != account_id:
            raise PageError(404, "Check the address, or go back to where you came from.")
        return session, account_id

    async def form(self, request: Request, session: Session) -> Form:
        """A form that a page of this session sent."""
        form = await read_form(request)
        check_token(form, session.csrf_token)
        return form

    async def sign_in(self, secret: str, address: str, visitors_key: str) -> str:
        """The token of a new session for whoever knows `secret`: the admin token or a key of an account.

        Raises PageError when there were too many attempts or it is neither.
        """
        for name, limit in ((address, ATTEMPTS_PER_MINUTE), ("all", ATTEMPTS_OF_ALL_PER_MINUTE)):
            if await self._store.count(f"sign-in:{name}", 60) > limit:
                raise PageError(429, "Too many attempts. Wait a minute and try again.", retry_after_s=60)
        if hmac.compare_digest(secret.encode(), self._admin_token.encode()):
            return await self.sessions.begin(OPERATOR, key_id=self._token_digest)
        if visitors_key and hmac.compare_digest(secret.encode(), visitors_key.encode()):
            raise PageError(403, "This key is for the page to try, which shows it to everybody.")
        caller = await self._caller(secret, address)
        if caller.is_test:
            raise PageError(403, "Test keys cannot sign in. Use another key of the account.")
        return await self.sessions.begin("account", caller.account_id, caller.key_id)

    def remember(self, response: Response, token: str) -> None:
        """Give the browser its session."""
        response.set_cookie(
            self.cookie_name, token, max_age=SESSION_S, path="/", httponly=True, samesite="strict",
            secure=self._is_https,
        )  # fmt: skip

    def forget(self, response: Response) -> None:
        """Take the browser's session away."""
        response.delete_cookie(
            self.cookie_name, path="/", httponly=True, samesite="strict", secure=self._is_https
        )

    async def _caller(self, secret: str, address: str) -> auth_pb2.AuthenticateResponse:
        try:
            return await self._accounts.authenticate(secret, address)
        except Unauthenticated:
            raise PageError(401, "That is neither a valid key nor the administration token.") from None

    async def _is_key_alive(self, session: Session) -> bool:
        for key in await self._accounts.keys(session.account_id):
            if key.key_id == session.key_id:
                is_expired = (
                    key.HasField("expire_time")
                    and key.expire_time.ToNanoseconds() / 1e9 <= self._clock.unix_s()
                )
                # Since then it may have become a key for browsers, which does not sign in.
                is_for_browsers = key.restrictions.allowed_origins or key.restrictions.allowed_dialects
                return not (key.HasField("revoke_time") or is_expired or is_for_browsers)
        return False


def client_address(request: Request) -> str:
    """The address that the proxy saw; without a proxy, the peer's."""
    forwarded = request.headers.get("x-forwarded-for", "").rpartition(",")[2].strip()
    return forwarded or (request.client.host if request.client else "")
