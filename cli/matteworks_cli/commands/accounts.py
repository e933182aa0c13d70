"""`matteworks accounts`: who pays, on which plan, and what was done with it."""

from __future__ import annotations

import secrets
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from matteworks.auth.v1 import audit_pb2, auth_pb2, plan_pb2, usage_pb2
from matteworks_cli.administration import (
    Administration,
    JsonOption,
    StateOption,
    TargetOption,
    TokenOption,
    administration,
)
from matteworks_cli.documents import json_text
from matteworks_deploy.failures import EXIT_USAGE, CommandFailed
from matteworks_deploy.local.options import DEFAULT_STATE_DIRECTORY

_MAX_PAGE = 200
_MAX_EVENTS = 500
AccountArgument = Annotated[str, typer.Argument(help="Id of the account.")]


class Balance(StrEnum):
    """Where granted credits go."""

    SUBSCRIPTION = "subscription"
    PAYG = "payg"
    ENTERPRISE = "enterprise"


class Grouping(StrEnum):
    """What a row of counters stands for."""

    DAY = "day"
    KEY = "key"
    DIALECT = "dialect"


_BALANCES = {
    Balance.SUBSCRIPTION: auth_pb2.BALANCE_SUBSCRIPTION,
    Balance.PAYG: auth_pb2.BALANCE_PAYG,
    Balance.ENTERPRISE: auth_pb2.BALANCE_ENTERPRISE,
}


def create_account(
    account: AccountArgument,
    name: Annotated[str, typer.Option("--name", help="Name for people.")] = "",
    plan: Annotated[str, typer.Option("--plan", help="See `accounts plans`; without it: the default.")] = "",
    dialect: Annotated[
        str, typer.Option("--dialect", help="Whose API its keys speak where several share a path.")
    ] = "",
    email: Annotated[str, typer.Option("--email", help="Address to write to.")] = "",
    as_json: JsonOption = False,
    target: TargetOption = "",
    token: TokenOption = "",
    state: StateOption = DEFAULT_STATE_DIRECTORY,
) -> None:
    """Make an account."""
    request = auth_pb2.CreateAccountRequest(
        account_id=account, display_name=name, plan=plan, dialect=dialect, email=email
    )
    with administration(target, token, state) as stack:
        made = stack.ask(stack.admin.CreateAccount, request).account
    _print_accounts([made], as_json)


def list_accounts(
    prefix: Annotated[str, typer.Option("--prefix", help="Only ids that start so.")] = "",
    as_json: JsonOption = False,
    target: TargetOption = "",
    token: TokenOption = "",
    state: StateOption = DEFAULT_STATE_DIRECTORY,
) -> None:
    """List accounts with what they have."""
    accounts: list[auth_pb2.Account] = []
    request = auth_pb2.ListAccountsRequest(page_size=_MAX_PAGE, account_id_prefix=prefix)
    with administration(target, token, state) as stack:
        while True:
            page = stack.ask(stack.admin.ListAccounts, request)
            accounts += page.accounts
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
    _print_accounts(accounts, as_json)


def set_plan(
    account: AccountArgument,
    plan: Annotated[str, typer.Argument(help="See `accounts plans`.")],
    as_json: JsonOption = False,
    target: TargetOption = "",
    token: TokenOption = "",
    state: StateOption = DEFAULT_STATE_DIRECTORY,
) -> None:
    """Move an account to another plan; its balances stay."""
    with administration(target, token, state) as stack:
        request = auth_pb2.SetPlanRequest(account_id=account, plan=plan)
        changed = stack.ask(stack.admin.SetPlan, request).account
    _print_accounts([changed], as_json)


def grant_credits(
    account: AccountArgument,
    credit_count: Annotated[str, typer.Argument(metavar="CREDITS", help="How many: 100 or 0.25.")],
    balance: Annotated[Balance, typer.Option("--balance", help="Where they go.")] = Balance.PAYG,
    grant_id: Annotated[
        str, typer.Option("--grant-id", help="Name of this grant: repeated under it, it counts once.")
    ] = "",
    as_json: JsonOption = False,
    target: TargetOption = "",
    token: TokenOption = "",
    state: StateOption = DEFAULT_STATE_DIRECTORY,
) -> None:
    """Give an account credits."""
    request = auth_pb2.GrantCreditsRequest(
        request_id=grant_id or f"grant-{secrets.token_hex(8)}",
        account_id=account,
        balance=_BALANCES[balance],
        credits_milli=_milli(credit_count),
    )
    with administration(target, token, state) as stack:
        changed = stack.ask(stack.admin.GrantCredits, request).account
    _print_accounts([changed], as_json)


def show_usage(
    account: AccountArgument,
    first_day: Annotated[
        str, typer.Option("--from", help="First day, UTC, as YYYY-MM-DD; else 30 days ago.")
    ] = "",
    last_day: Annotated[str, typer.Option("--to", help="Last day; without it: today.")] = "",
    grouping: Annotated[Grouping, typer.Option("--by", help="What a row stands for.")] = Grouping.DAY,
    as_json: JsonOption = False,
    target: TargetOption = "",
    token: TokenOption = "",
    state: StateOption = DEFAULT_STATE_DIRECTORY,
) -> None:
    """Show what an account did, by day, key or dialect."""
    with administration(target, token, state) as stack:
        rows = _usage_rows(stack, account, first_day, last_day)
    if as_json:
        typer.echo(json_text(rows))
        return
    sums: dict[str, usage_pb2.UsageCounts] = {}
    for row in rows:
        group = {Grouping.DAY: row.day, Grouping.KEY: row.key_id, Grouping.DIALECT: row.dialect}[grouping]
        _add(sums.setdefault(group, usage_pb2.UsageCounts()), row.counts)
    table = Table(str(grouping), box=None)
    for heading in ("calls", "done", "failed", "refused", "credits", "free", "megapixels", "mean ms"):
        table.add_column(heading, justify="right")
    for group in sorted(sums):
        table.add_row(group or "not told", *_cells(sums[group]))
    Console().print(table)


def list_plans(
    as_json: JsonOption = False,
    target: TargetOption = "",
    token: TokenOption = "",
    state: StateOption = DEFAULT_STATE_DIRECTORY,
) -> None:
    """List the plans; 0 of a limit is unlimited."""
    with administration(target, token, state) as stack:
        listed = stack.ask(stack.admin.ListPlans, auth_pb2.ListPlansRequest())
    if as_json:
        typer.echo(json_text(listed))
        return
    table = Table(box=None)
    table.add_column("plan", min_width=max((len(plan.name) for plan in listed.plans), default=0))
    for heading in (
        "MP a min", "calls a min", "a day", "a month", "at once", "file MB", "kept",
        "credits a month", "free a day", "free a month",
    ):  # fmt: skip
        table.add_column(heading, justify="right")
    for plan in listed.plans:
        table.add_row(plan.name, *_plan_cells(plan))
    Console().print(table)


def show_log(
    account: Annotated[str, typer.Option("--account", help="Only of this account.")] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=_MAX_EVENTS, help="How many at most.")] = 50,
    as_json: JsonOption = False,
    target: TargetOption = "",
    token: TokenOption = "",
    state: StateOption = DEFAULT_STATE_DIRECTORY,
) -> None:
    """Show who changed what, latest first."""
    with administration(target, token, state) as stack:
        request = audit_pb2.ListAuditEventsRequest(account_id=account, page_size=limit)
        listed = stack.ask(stack.admin.ListAuditEvents, request)
    if as_json:
        typer.echo(json_text(list(listed.events)))
        return
    table = Table("when", "who", "what", "account", "key", "details", box=None)
    for event in listed.events:
        details = ", ".join(f"{name} {value}" for name, value in sorted(event.details.items()) if value)
        when = event.time.ToDatetime().isoformat(sep=" ", timespec="seconds")
        table.add_row(when, event.actor, event.action, event.account_id, event.key_id, details)
    Console().print(table)


def _usage_rows(
    stack: Administration, account: str, first_day: str, last_day: str
) -> list[usage_pb2.UsageRow]:
    rows: list[usage_pb2.UsageRow] = []
    request = auth_pb2.GetUsageRequest(
        account_id=account,
        first_day=first_day,
        last_day=last_day,
        detail=usage_pb2.USAGE_DETAIL_ROWS,
    )
    while True:
        answer = stack.ask(stack.auth.GetUsage, request)
        rows += answer.rows
        if not answer.next_first_day:
            return rows
        request.first_day = answer.next_first_day


def _print_accounts(accounts: list[auth_pb2.Account], as_json: bool) -> None:
    if as_json:
        typer.echo(json_text(accounts))
        return
    table = Table("account", "name", "plan", box=None)
    for heading in ("subscription", "payg", "enterprise", "held", "spent", "free calls"):
        table.add_column(heading, justify="right")
    for account in accounts:
        table.add_row(
            account.account_id,
            account.display_name,
            account.plan,
            _credits(account.subscription_credits_milli),
            _credits(account.payg_credits_milli),
            _credits(account.enterprise_credits_milli),
            _credits(account.held_credits_milli),
            _credits(account.spent_credits_milli),
            str(account.free_call_count),
        )
    Console().print(table)


def _cells(counts: usage_pb2.UsageCounts) -> list[str]:
    refused_count = (
        counts.rate_refused_count
        + counts.quota_refused_count
        + counts.concurrency_refused_count
        + counts.credits_refused_count
    )
    mean = counts.processing_time_ms // counts.timed_request_count if counts.timed_request_count else None
    return [
        str(counts.call_count),
        str(counts.committed_request_count),
        str(counts.released_request_count),
        str(refused_count),
        _credits(counts.charged_credits_milli),
        str(counts.free_call_count),
        str(counts.megapixel_count),
        "" if mean is None else str(mean),
    ]


def _plan_cells(plan: plan_pb2.Plan) -> list[str]:
    hours = plan.result_retention.ToSeconds() // 3600
    return [
        str(plan.megapixels_per_minute),
        str(plan.requests_per_minute),
        str(plan.requests_per_day),
        str(plan.requests_per_month),
        str(plan.concurrent_requests),
        str(plan.max_file_bytes // 1024**2),
        f"{hours // 24} d" if hours % 24 == 0 else f"{hours} h",
        _credits(plan.monthly_credits_milli),
        str(plan.free_calls_per_day),
        str(plan.free_calls_per_month),
    ]


def _add(total: usage_pb2.UsageCounts, counts: usage_pb2.UsageCounts) -> None:
    for field in usage_pb2.UsageCounts.DESCRIPTOR.fields:
        setattr(total, field.name, getattr(total, field.name) + getattr(counts, field.name))


def _milli(text: str) -> int:
    try:
        milli = Decimal(text) * 1000
    except InvalidOperation:
        milli = Decimal(0)
    if not milli.is_finite() or milli <= 0 or milli != milli.to_integral_value():
        raise CommandFailed(f"CREDITS must be a number above 0, in steps of 0.001; not {text!r}.", EXIT_USAGE)
    return int(milli)


def _credits(credits_milli: int) -> str:
    """Whole credits, with thousandths only where there are some."""
    whole, rest = divmod(credits_milli, 1000)
    return f"{whole}.{rest:03d}".rstrip("0") if rest else str(whole)
