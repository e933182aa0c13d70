"""`matteworks keys`: make, list, change, replace and end the API keys of a running stack."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, cast

import grpc
import typer
from rich.console import Console
from rich.table import Column, Table

from matteworks.auth.v1 import auth_pb2, key_restrictions_pb2
from matteworks_cli.administration import (
    Administration,
    JsonOption,
    StateOption,
    TargetOption,
    TokenOption,
    administration,
    day_of,
)
from matteworks_cli.documents import json_text
from matteworks_deploy.local.development import ACCOUNT_ID
from matteworks_deploy.local.options import DEFAULT_STATE_DIRECTORY

AccountOption = Annotated[str, typer.Option("--account", help="The account.")]
KeyArgument = Annotated[str, typer.Argument(help="Public part of the key.")]
OriginOption = Annotated[
    list[str] | None,
    typer.Option("--origin", help="Only for pages of this origin: https://shop.example. May be repeated."),
]
NetworkOption = Annotated[
    list[str] | None,
    typer.Option("--network", help="Only from this address or network: 203.0.113.0/24. May be repeated."),
]
OnlyDialectOption = Annotated[
    list[str] | None,
    typer.Option("--only-dialect", help="Only with this provider's API: bgremover. May be repeated."),
]
DialectOption = Annotated[
    str | None,
    typer.Option("--dialect", help="Whose API it speaks where several share a path: remove.bg, bgremover."),
]


def create_key(
    account: AccountOption = ACCOUNT_ID,
    name: Annotated[str, typer.Option("--name", help="What the key is for.")] = "",
    test: Annotated[bool, typer.Option("--test", help="A test key: free, previews only.")] = False,
    days: Annotated[int | None, typer.Option("--days", min=1, help="Days that it works.")] = None,
    plan: Annotated[
        str, typer.Option("--plan", help="Make the account with this plan when it does not exist yet.")
    ] = "",
    dialect: DialectOption = None,
    origin: OriginOption = None,
    network: NetworkOption = None,
    only_dialect: OnlyDialectOption = None,
    target: TargetOption = "",
    token: TokenOption = "",
    state: StateOption = DEFAULT_STATE_DIRECTORY,
) -> None:
    """Make a key and print it, this once."""
    request = auth_pb2.CreateKeyRequest(
        account_id=account,
        display_name=name,
        is_test=test,
        dialect=dialect or "",
        restrictions=_restrictions(origin, network, only_dialect),
    )
    if days is not None:
        request.time_to_live.FromTimedelta(timedelta(days=days))
    with administration(target, token, state) as stack:
        if plan:
            _make_account(stack, account, plan)
        created = stack.ask(stack.admin.CreateKey, request)
    typer.echo(created.api_key)


def list_keys(
    account: AccountOption = ACCOUNT_ID,
    as_json: JsonOption = False,
    target: TargetOption = "",
    token: TokenOption = "",
    state: StateOption = DEFAULT_STATE_DIRECTORY,
) -> None:
    """List an account's keys, without their secrets."""
    with administration(target, token, state) as stack:
        listed = stack.ask(stack.admin.ListKeys, auth_pb2.ListKeysRequest(account_id=account))
    if as_json:
        typer.echo(json_text(list(listed.keys)))
        return
    table = Table(
        # Never cut: it is what the other commands take.
        Column("key id", no_wrap=True, min_width=12),
        *("name", "kind", "only for", "made", "last used", "expires", "revoked"),
        box=None,
    )
    for key in listed.keys:
        table.add_row(
            key.key_id,
            key.display_name,
            "test" if key.is_test else "live",
            _only_for(key.restrictions),
            day_of(key.create_time),
            day_of(key.last_use_time) if key.HasField("last_use_time") else "never",
            day_of(key.expire_time) if key.HasField("expire_time") else "never",
            day_of(key.revoke_time) if key.HasField("revoke_time") else "",
        )
    Console().print(table)


def restrict_key(
    key_id: KeyArgument,
    origin: OriginOption = None,
    network: NetworkOption = None,
    only_dialect: OnlyDialectOption = None,
    target: TargetOption = "",
    token: TokenOption = "",
    state: StateOption = DEFAULT_STATE_DIRECTORY,
) -> None:
    """Say where a key may be used, instead of what was said before; without options: everywhere."""
    request = auth_pb2.UpdateKeyRequest(
        key_id=key_id, restrictions=_restrictions(origin, network, only_dialect)
    )
    with administration(target, token, state) as stack:
        key = stack.ask(stack.admin.UpdateKey, request).key
    typer.echo(f"{key_id} works {_only_for(key.restrictions) or 'everywhere'}.")


def revoke_key(
    key_id: KeyArgument,
    target: TargetOption = "",
    token: TokenOption = "",
    state: StateOption = DEFAULT_STATE_DIRECTORY,
) -> None:
    """End a key, at once and for good."""
    with administration(target, token, state) as stack:
        stack.ask(stack.admin.RevokeKey, auth_pb2.RevokeKeyRequest(key_id=key_id))
    typer.echo(f"{key_id} is revoked.")


def rotate_key(
    key_id: Annotated[str, typer.Argument(help="Public part of the old key.")],
    overlap_hours: Annotated[
        float, typer.Option("--overlap-hours", min=0, help="Hours that the old key goes on working.")
    ] = 0,
    target: TargetOption = "",
    token: TokenOption = "",
    state: StateOption = DEFAULT_STATE_DIRECTORY,
) -> None:
    """Make a successor of a key and print it, this once."""
    request = auth_pb2.RotateKeyRequest(key_id=key_id)
    request.overlap.FromTimedelta(timedelta(hours=overlap_hours))
    with administration(target, token, state) as stack:
        created = stack.ask(stack.admin.RotateKey, request)
    typer.echo(created.api_key)


def _make_account(stack: Administration, account_id: str, plan: str) -> None:
    """Make the account; one that exists keeps its plan."""
    request = auth_pb2.CreateAccountRequest(account_id=account_id, display_name=account_id, plan=plan)
    try:
        stack.ask(stack.admin.CreateAccount, request)
    except grpc.RpcError as error:
        if cast(grpc.Call, error).code() is not grpc.StatusCode.ALREADY_EXISTS:
            raise


def _restrictions(
    origins: list[str] | None, networks: list[str] | None, dialects: list[str] | None
) -> key_restrictions_pb2.KeyRestrictions:
    return key_restrictions_pb2.KeyRestrictions(
        allowed_origins=origins or [], allowed_networks=networks or [], allowed_dialects=dialects or []
    )


def _only_for(restrictions: key_restrictions_pb2.KeyRestrictions) -> str:
    parts = (
        ("for", restrictions.allowed_origins),
        ("from", restrictions.allowed_networks),
        ("with", restrictions.allowed_dialects),
    )
    return ", ".join(f"{word} {' or '.join(entries)}" for word, entries in parts if entries)
