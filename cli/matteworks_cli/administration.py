"""How commands of administration find a running stack, and speak to it."""

from __future__ import annotations

import getpass
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeAlias, cast

import grpc
import typer
from google.protobuf.timestamp_pb2 import Timestamp

from matteworks.auth.v1 import auth_pb2_grpc
from matteworks_cli.certificates import identity
from matteworks_common.channels import open_blocking_channel
from matteworks_common.settings import MEBIBYTE
from matteworks_deploy.failures import EXIT_USAGE, CommandFailed
from matteworks_deploy.local.state import StateDirectory

_TIMEOUT_S = 10.0
_MESSAGE_BYTES = 16 * MEBIBYTE

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
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@dataclass(frozen=True)
class Administration:
    """Stubs, and the metadata that proves who asks."""

    admin: auth_pb2_grpc.KeyAdminServiceStub
    auth: auth_pb2_grpc.AuthServiceStub
    metadata: Metadata

    def ask(self, rpc: Callable[..., Any], request: Any) -> Any:
        """The answer to one call. Raises grpc.RpcError, which `administration` tells."""
        return rpc(request, timeout=_TIMEOUT_S, metadata=self.metadata)


@contextmanager
def administration(target: str, token: str, state_path: Path) -> Iterator[Administration]:
    """A channel to the stack. Raises CommandFailed when there is none, or when it refuses."""
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
    with open_blocking_channel(target, _MESSAGE_BYTES, identity(state_path)) as channel:
        try:
            yield Administration(
                auth_pb2_grpc.KeyAdminServiceStub(channel),
                auth_pb2_grpc.AuthServiceStub(channel),
                (("authorization", f"Bearer {token}"), ("matteworks-actor", _actor())),
            )
        except grpc.RpcError as error:
            # A failed call is both an error and the call itself, which the types do not say.
            call = cast(grpc.Call, error)
            raise CommandFailed(f"{call.code().name}: {call.details()}") from error


def day_of(time: Timestamp) -> str:
    """YYYY-MM-DD, UTC."""
    return time.ToDatetime().date().isoformat()


def _actor() -> str:
    """Who runs the command, for the audit log; metadata is ASCII."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # A container's user may have no name.
        name = "unknown"
    return f"command-line:{name.encode('ascii', 'replace').decode()}"[:128]
