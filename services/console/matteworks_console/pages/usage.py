"""What an account used: by day, key, dialect and outcome, as charts, tables and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from matteworks.auth.v1 import usage_pb2
from matteworks_common.clock import Clock
from matteworks_console.charts.bars import stacked_bars
from matteworks_console.clients import AccountsClient
from matteworks_console.errors import PageError
from matteworks_console.rendering import Renderer
from matteworks_console.security.access import Access

DEFAULT_DAYS: Final = 30
MAX_DAYS: Final = 366
# About 10,000 rows each.
_MAX_PARTS: Final = 40


@dataclass(frozen=True, slots=True)
class Query:
    """Which part of the usage. Days are UTC, both included; an empty key or dialect is all of them."""

    first_day: date
    last_day: date
    key_id: str
    dialect: str

    @property
    def days(self) -> list[str]:
        count = (self.last_day - self.first_day).days + 1
        return [(self.first_day + timedelta(days=number)).isoformat() for number in range(count)]


@dataclass(slots=True)
class Outcome:
    """What became of requests."""

    calls: int = 0
    done: int = 0
    failed: int = 0
    refused: int = 0
    charged_milli: int = 0

    def add(self, counts: usage_pb2.UsageCounts) -> None:
        """Count a row in."""
        self.calls += counts.call_count
        self.done += counts.committed_request_count
        self.failed += counts.released_request_count
        self.refused += (
            counts.rate_refused_count
            + counts.quota_refused_count
            + counts.concurrency_refused_count
            + counts.credits_refused_count
        )
        self.charged_milli += counts.charged_credits_milli


class UsagePages:
    """`/console/accounts/ID/usage` and the same as CSV."""

    def __init__(self, renderer: Renderer, access: Access, accounts: AccountsClient, clock: Clock) -> None:
        self._renderer = renderer
        self._access = access
        self._accounts = accounts
        self._clock = clock

    @property
    def routes(self) -> list[Route]:
        return [
            Route("/console/accounts/{account_id}/usage", self.page, methods=["GET"]),
            Route("/console/accounts/{account_id}/usage.csv", self.table, methods=["GET"]),
        ]

    async def page(self, request: Request) -> Response:
        """Charts and tables."""
        session, account_id = await self._access.for_account(request)
        query = self._query(request)
        rows = await self._rows(account_id, query)
        keys = {key.key_id: key.display_name for key in await self._accounts.keys(account_id)}
        by_day = {day: Outcome() for day in query.days}
        by_key: dict[str, Outcome] = {}
        by_dialect: dict[str, Outcome] = {}
        total = Outcome()
        for row in rows:
            for outcome in (
                total,
                by_day.setdefault(row.day, Outcome()),
                by_key.setdefault(row.key_id, Outcome()),
                by_dialect.setdefault(row.dialect, Outcome()),
            ):
                outcome.add(row.counts)
        days = [by_day[day] for day in query.days]
        return self._renderer.page(
            "usage.html",
            session=session,
            account=(await self._accounts.account(account_id)).account,
            query=query,
            query_string=request.url.query,
            total=total,
            by_day=[(day, outcome) for day, outcome in by_day.items() if outcome.calls or outcome.done],
            by_key=by_key,
            by_dialect=by_dialect,
            key_names=keys,
            requests_chart=stacked_bars(
                query.days,
                {
                    "done": [day.done for day in days],
                    "failed": [day.failed for day in days],
                    "refused": [day.refused for day in days],
                },
            ),
            credits_chart=stacked_bars(query.days, {"credits": [day.charged_milli / 1000 for day in days]}),
        )

    async def table(self, request: Request) -> Response:
        """One line for each day, key and dialect."""
        _, account_id = await self._access.for_account(request)
        query = self._query(request)
        text = as_csv(await self._rows(account_id, query))
        name = f"usage-{account_id}-{query.first_day}-{query.last_day}.csv"
        return Response(
            text,
            media_type="text/csv; charset=utf-8",
            headers={
                "Content-Disposition": f'attachment; filename="{name}"',
                "Cache-Control": "no-store",
            },
        )

    async def _rows(self, account_id: str, query: Query) -> list[usage_pb2.UsageRow]:
        rows: list[usage_pb2.UsageRow] = []
        first_day = query.first_day.isoformat()
        for _ in range(_MAX_PARTS):
            part = await self._accounts.usage(
                account_id, first_day, query.last_day.isoformat(), query.key_id, query.dialect
            )
            rows += part.rows
            first_day = part.next_first_day
            if not first_day:
                break
        return rows

    def _query(self, request: Request) -> Query:
        today = datetime.fromtimestamp(self._clock.unix_s(), UTC).date()
        last_day = _day(request, "to", today)
        first_day = _day(request, "from", last_day - timedelta(days=DEFAULT_DAYS - 1))
        if not timedelta() <= last_day - first_day < timedelta(days=MAX_DAYS):
            raise PageError(400, f"Choose a first and a last day at most {MAX_DAYS} days apart.")
        return Query(
            first_day,
            last_day,
            request.query_params.get("key", "")[:64],
            request.query_params.get("dialect", "")[:32],
        )


def as_csv(rows: Iterable[usage_pb2.UsageRow]) -> str:
    """The counters as a table with a head line; credits as decimals."""
    target = io.StringIO()
    writer = csv.writer(target)
    names = [field.name for field in usage_pb2.UsageCounts.DESCRIPTOR.fields]
    writer.writerow(["day", "key_id", "dialect", *names])
    for row in rows:
        writer.writerow([row.day, row.key_id, row.dialect, *(getattr(row.counts, name) for name in names)])
    return target.getvalue()


def _day(request: Request, name: str, default: date) -> date:
    text = request.query_params.get(name, "")
    try:
        return date.fromisoformat(text) if text else default
    except ValueError:
        raise PageError(400, f"{name}: write the day as YYYY-MM-DD.") from None
