"""`GET …/account` of providers that tell about the key beside its account."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from matteworks.auth.v1 import auth_pb2, plan_pb2
from matteworks_edge.exchange import exchange_of
from matteworks_edge.intake.credentials import read_key
from matteworks_edge.intake.incoming import authenticate, query_key
from matteworks_edge.operations.services import Services
from matteworks_edge.responses import json_response, rate_limit_headers


@dataclass(frozen=True, slots=True)
class KeyReport:
    """A valid key and whose it is."""

    api_key: str
    is_test: bool
    account: auth_pb2.Account
    plan: plan_pb2.Plan

    @property
    def can_spend(self) -> bool:
        """Whether something is left to pay with, of any kind; a test key pays nothing."""
        account = self.account
        return self.is_test or any(
            (
                account.subscription_credits_milli,
                account.payg_credits_milli,
                account.enterprise_credits_milli,
                account.free_call_count,
            )
        )


@dataclass(frozen=True, slots=True)
class KeyReportEndpoint:
    """Costs nothing and counts against no limit."""

    services: Services
    document: Callable[[KeyReport], dict[str, Any]]

    async def __call__(self, request: Request) -> Response:
        exchange = exchange_of(request)
        exchange.route = "account"
        caller = await authenticate(request, self.services.auth)
        found = await self.services.auth.get_account(caller.account_id)
        report = KeyReport(
            api_key=read_key(request.headers, exchange.dialect.key_header, query_key(request)),
            is_test=caller.is_test,
            account=found.account,
            plan=found.plan_details,
        )
        return json_response(self.document(report), headers=rate_limit_headers(exchange.rate_limit))
