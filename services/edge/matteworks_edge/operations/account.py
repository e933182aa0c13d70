"""`GET …/account`: balances; costs nothing and counts against no limit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from matteworks.auth.v1 import auth_pb2, plan_pb2
from matteworks_edge.exchange import exchange_of
from matteworks_edge.intake.incoming import authenticate
from matteworks_edge.operations.services import Services
from matteworks_edge.responses import json_response


@dataclass(frozen=True, slots=True)
class AccountEndpoint:
    """The caller's balances in the closed key set that strict clients need."""

    services: Services

    async def __call__(self, request: Request) -> Response:
        exchange = exchange_of(request)
        exchange.route = "account"
        caller = await authenticate(request, self.services.auth)
        if exchange.dialect.rate_unit == plan_pb2.RATE_UNIT_MEGAPIXELS:
            # As the vendor, who tells no rate with the balances.
            exchange.rate_limit = None
        answer = await self.services.auth.get_account(caller.account_id)
        return json_response(account_document(answer.account))


def account_document(account: auth_pb2.Account) -> dict[str, Any]:
    """Exactly the keys that strict clients know; anything more or less is an error to them."""
    subscription = account.subscription_credits_milli
    payg = account.payg_credits_milli
    enterprise = account.enterprise_credits_milli
    return {
        "data": {
            "attributes": {
                "credits": {
                    "subscription": _credits(subscription),
                    "payg": _credits(payg),
                    "enterprise": _credits(enterprise),
                    "total": _credits(subscription + payg + enterprise),
                },
                "api": {"free_calls": account.free_call_count, "sizes": "all"},
            }
        }
    }


def _credits(credits_milli: int) -> int | float:
    return credits_milli / 1000 if credits_milli % 1000 else credits_milli // 1000
