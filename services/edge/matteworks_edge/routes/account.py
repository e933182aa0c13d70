"""`GET …/account`: balances; costs nothing and counts against no limit."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from matteworks_edge.exchange import exchange_of
from matteworks_edge.intake.incoming import authenticate
from matteworks_edge.responses import account_document, json_response
from matteworks_removal.clients import AuthClient


@dataclass(frozen=True, slots=True)
class AccountEndpoint:
    """The caller's balances in the closed key set that strict clients need."""

    auth: AuthClient

    async def __call__(self, request: Request) -> Response:
        exchange_of(request).route = "account"
        caller = await authenticate(request, self.auth)
        answer = await self.auth.get_account(caller.account_id)
        return json_response(account_document(answer.account))
