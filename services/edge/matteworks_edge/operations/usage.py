"""`GET …/usage`: requests and credits by day, week or month."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from matteworks.auth.v1 import auth_pb2, usage_pb2
from matteworks_common.errors import InvalidField
from matteworks_edge.exchange import exchange_of
from matteworks_edge.intake.incoming import authenticate
from matteworks_edge.operations.services import Services
from matteworks_edge.responses import json_response, rate_limit_headers

__all__ = ["Period", "Usage", "UsageEndpoint"]

MAX_DAYS: Final = 366
_FIRST_DAYS: Final[dict[str, Callable[[date], date]]] = {
    "daily": lambda day: day,
    "weekly": lambda day: day - timedelta(days=day.weekday()),
    "monthly": lambda day: day.replace(day=1),
}


@dataclass(slots=True)
class Period:
    """What was done in a day, a week or a month. `first_day` is the period's, in UTC."""

    first_day: date
    request_count: int = 0
    charged_credits_milli: int = 0


@dataclass(frozen=True, slots=True)
class Usage:
    """`periods`, newest first, of `granularity`: daily, weekly or monthly. Both days are within."""

    start: date
    end: date
    granularity: str
    periods: list[Period]
    mean_processing_ms: int

    @property
    def request_count(self) -> int:
        """Of all periods."""
        return sum(period.request_count for period in self.periods)

    @property
    def charged_credits_milli(self) -> int:
        """Of all periods."""
        return sum(period.charged_credits_milli for period in self.periods)


@dataclass(frozen=True, slots=True)
class UsageEndpoint:
    """Query `start_date` (default: first of this month), `end_date` (default: today), `granularity`. Costs
    nothing and counts against no limit.
    """

    services: Services
    document: Callable[[Usage], dict[str, Any]]

    async def __call__(self, request: Request) -> Response:
        exchange_of(request).route = "usage"
        caller = await authenticate(request, self.services.auth)
        today = datetime.now(UTC).date()
        start = _day(request, "start_date", today.replace(day=1))
        end = _day(request, "end_date", today)
        if not 0 <= (end - start).days < MAX_DAYS:
            raise InvalidField(
                "end_date", f"Give an end_date that is not before start_date, at most {MAX_DAYS} days in all."
            )
        granularity = request.query_params.get("granularity", "").strip().lower() or "daily"
        if granularity not in _FIRST_DAYS:
            raise InvalidField("granularity", "Give daily, weekly or monthly.")
        rows = await self._rows(caller.account_id, start, end)
        headers = rate_limit_headers(exchange_of(request).rate_limit)
        return json_response(self.document(_sum(rows, start, end, granularity)), headers=headers)

    async def _rows(self, account_id: str, start: date, end: date) -> list[usage_pb2.UsageRow]:
        rows: list[usage_pb2.UsageRow] = []
        first = start.isoformat()
        while first:
            answer = await self.services.auth.get_usage(
                auth_pb2.GetUsageRequest(
                    account_id=account_id,
                    first_day=first,
                    last_day=end.isoformat(),
                    detail=usage_pb2.USAGE_DETAIL_ROWS,
                )
            )
            rows += answer.rows
            first = answer.next_first_day
        return rows


def _sum(rows: list[usage_pb2.UsageRow], start: date, end: date, granularity: str) -> Usage:
    periods: dict[date, Period] = {}
    timed_count = timed_ms = 0
    for row in rows:
        first_day = _FIRST_DAYS[granularity](date.fromisoformat(row.day))
        period = periods.setdefault(first_day, Period(first_day))
        counts = row.counts
        period.request_count += counts.committed_request_count + counts.released_request_count
        period.charged_credits_milli += counts.charged_credits_milli
        timed_count += counts.timed_request_count
        timed_ms += counts.processing_time_ms
    newest_first = sorted(periods.values(), key=lambda period: period.first_day, reverse=True)
    return Usage(start, end, granularity, newest_first, timed_ms // timed_count if timed_count else 0)


def _day(request: Request, name: str, default: date) -> date:
    text = request.query_params.get(name, "").strip()
    if not text:
        return default
    try:
        return datetime.fromisoformat(text).date()
    except ValueError as error:
        raise InvalidField(name, f"Give {name} as YYYY-MM-DD.") from error
