"""`GET …/account` of providers that tell more than balances: plan, limits and this month's use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from matteworks.auth.v1 import auth_pb2, plan_pb2
from matteworks_edge.exchange import exchange_of
from matteworks_edge.intake.incoming import authenticate
from matteworks_edge.operations.services import Services
from matteworks_edge.responses import json_response, rate_limit_headers


@dataclass(frozen=True, slots=True)
class AccountReport:
    """Counters are of this UTC month; credits in thousandths."""

    account: auth_pb2.Account
    plan: plan_pb2.Plan
    image_count: int
    call_count: int
    charged_credits_milli: int

    @property
    def remaining_credits_milli(self) -> int:
        """Of all kinds."""
        account = self.account
        return (
            account.subscription_credits_milli + account.payg_credits_milli + account.enterprise_credits_milli
        )


@dataclass(frozen=True, slots=True)
class AccountReportEndpoint:
    """Costs nothing and counts against no limit."""

    services: Services
    document: Callable[[AccountReport], dict[str, Any]]

    async def __call__(self, request: Request) -> Response:
        exchange_of(request).route = "account"
        caller = await authenticate(request, self.services.auth)
        found = await self.services.auth.get_account(caller.account_id)
        month = datetime.now(UTC).date().replace(day=1)
        usage = await self.services.auth.get_usage(
            auth_pb2.GetUsageRequest(account_id=caller.account_id, first_day=month.isoformat())
        )
        days = usage.days
        report = AccountReport(
            account=found.account,
            plan=found.plan_details,
            image_count=sum(day.committed_request_count for day in days),
            call_count=sum(
                day.committed_request_count + day.released_request_count + day.refused_request_count
                for day in days
            ),
            charged_credits_milli=sum(day.charged_credits_milli for day in days),
        )
        headers = rate_limit_headers(exchange_of(request).rate_limit or found.rate_limit)
        return json_response(self.document(report), headers=headers)
