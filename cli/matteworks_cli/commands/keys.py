"""`matteworks keys`: make, list, replace and end the API keys of a running stack."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Annotated, TypeAlias, cast

import grpc
import typer
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console
from rich.table import Table

from matteworks.auth.v1 import auth_pb2, auth_pb2_grpc
from matteworks_deploy.failures import EXIT_USAGE, CommandFailed
from matteworks_deploy.local.development import ACCOUNT_ID
from matteworks_deploy.local.options import DEFAULT_STATE_DIRECTORY
from matteworks_deploy.local.state import StateDirectory

_TIMEOUT_S = 10.0

Metadata: TypeAlias = tuple[tuple[str, str], ...]
TargetOption = Annotated[
    str,
    typer.Option(
        "--target",
        envvar="MATTEWORKS_INTERNAL_TARGET",
        help="Internal listener, as host:port; without it: the stack that runs in --state-dir.",
    ),
]
TokenOption = Annotated[
    str,
    typer.Option(
        "--admin-token",
        envvar="MATTEWORKS_ADMIN_TOKEN",
        help="Administration token; without it: the one in --state-dir.",
    ),
]
StateOption = Annotated[Path, typer.Option("--state-dir", help="State directory of a local stack.")]
AccountOption = Annotated[str, typer.Option("--account", help="The account.")]


def create_key(
    account: AccountOption = ACCOUNT_ID,
    name: Annotated[str, typer.Option("--name", help="What the key is for.")] = "",
    test: Annotated[bool, typer.Option("--test", help="A test key: free, previews only.")] = False,
    days: Annotated[int | None, typer.Option("--days", min=1, help="Days that it works.")] = None,
    plan: Annotated[
        str, typer.Option("--plan", help="Make the account with this plan when it does not exist yet.")
    ] = "",
    target: TargetOption = "",
    token: TokenOption = "",
    state: StateOption = DEFAULT_STATE_DIRECTORY,
) -> None:
    """Make a key and print it once."""
    request = auth_pb2.CreateKeyRequest(account_id=account, display_name=name, is_test=test)
    if days is not None:
        request.time_to_live.FromTimedelta(timedelta(days=days))
    with _administration(target, token, state) as (admin, metadata):
        if plan:
            _make_account(admin, metadata, account, plan)
        created = admin.CreateKey(request, timeout=_TIMEOUT_S, metadata=metadata)
    typer.echo(created.api_key)


def list_keys(
    account: AccountOption = ACCOUNT_ID,
    target: TargetOption = "",
    token: TokenOption = "",
    state: StateOption = DEFAULT_STATE_DIRECTORY,
) -> None:
    """List an account's keys, without their secrets."""
    request = auth_pb2.ListKeysRequest(account_id=account)
    with _administration(target, token, state) as (admin, metadata):
        listed = admin.ListKeys(request, timeout=_TIMEOUT_S, metadata=metadata)
    table = Table("key id", "name", "kind", "made", "expires", "revoked", box=None)
    for key in listed.keys:
        table.add_row(
            key.key_id,
            key.display_name,
            "test" if key.is_test else "live",
            _day(key.create_time),
            _day(key.expire_time) if key.HasField("expire_time") else "never",
            _day(key.revoke_time) if key.HasField("revoke_time") else "",
        )
    Console().print(table)


def revoke_key(
    key_id: Annotated[str, typer.Argument(help="Public part of the key.")],
    target: TargetOption = "",
    token: TokenOption = "",
    state: StateOption = DEFAULT_STATE_DIRECTORY,
) -> None:
    """End a key, at once and for good."""
    request = auth_pb2.RevokeKeyRequest(key_id=key_id)
    with _administration(target, token, state) as (admin, metadata):
        admin.RevokeKey(request, timeout=_TIMEOUT_S, metadata=metadata)
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
    """Make a new key that replaces another one, and print it once."""
    request = auth_pb2.RotateKeyRequest(key_id=key_id)
    request.overlap.FromTimedelta(timedelta(hours=overlap_hours))
    with _administration(target, token, state) as (admin, metadata):
        created = admin.RotateKey(request, timeout=_TIMEOUT_S, metadata=metadata)
    typer.echo(created.api_key)


def _make_account(
    admin: auth_pb2_grpc.KeyAdminServiceStub, metadata: Metadata, account_id: str, plan: str
) -> None:
    """Make the account; one that exists keeps its plan."""
    request = auth_pb2.CreateAccountRequest(account_id=account_id, display_name=account_id, plan=plan)
    try:
        admin.CreateAccount(request, timeout=_TIMEOUT_S, metadata=metadata)
    except grpc.RpcError as error:
        if cast(grpc.Call, error).code() is not grpc.StatusCode.ALREADY_EXISTS:
            raise


@contextmanager
def _administration(
    target: str, token: str, state_path: Path
) -> Iterator[tuple[auth_pb2_grpc.KeyAdminServiceStub, Metadata]]:
    state = StateDirectory(state_path)
    if not target:
        facts = state.read_facts()
        if facts is None:
            raise CommandFailed(
                f"No stack runs in {state_path}; start one with `matteworks up`, or give --target.",
                EXIT_USAGE,
            )
        target = facts.internal_target
    token = token or state.existing_secret("admin-token") or ""
    if not token:
        raise CommandFailed(
            f"There is no administration token in {state_path}; give --admin-token.", EXIT_USAGE
        )
    with grpc.insecure_channel(target) as channel:
        try:
            yield auth_pb2_grpc.KeyAdminServiceStub(channel), (("authorization", f"Bearer {token}"),)
        except grpc.RpcError as error:
            # A failed call is both an error and the call itself, which the types do not say.
            call = cast(grpc.Call, error)
            raise CommandFailed(f"{call.code().name}: {call.details()}") from error


def _day(time: Timestamp) -> str:
    return time.ToDatetime().date().isoformat()
