"""The account and the key that a local stack starts with."""

from __future__ import annotations

from collections.abc import Sequence

import grpc

from matteworks.auth.v1 import auth_pb2, auth_pb2_grpc
from matteworks.auth.v1.key_restrictions_pb2 import KeyRestrictions
from matteworks_deploy.local.state import StateDirectory

ACCOUNT_ID = "development"
# No benchmark uses up a billion credits.
GRANTED_CREDITS_MILLI = 1_000_000_000_000
PLAN = "development"

_TIMEOUT_S = 10.0


async def development_key(
    channel: grpc.aio.Channel, admin_token: str, state: StateDirectory, origins: Sequence[str]
) -> str:
    """A key of the development account that works: the kept one, or a new one that is then kept. Beside it
    one for visitors of the page to try, which only the console reads and which works only from `origins`.

    `channel` leads to auth. Raises grpc.aio.AioRpcError when it does not answer.
    """
    kept = state.read_dev_key()
    if not kept or not await _works(channel, kept):
        kept = await _make_key(channel, admin_token, "matteworks up")
        state.write_dev_key(kept)
    for_visitors = state.read_browser_key()
    if not for_visitors or not all([await _works(channel, for_visitors, origin) for origin in origins]):
        name = "Page to try, on this machine"
        state.write_browser_key(await _make_key(channel, admin_token, name, origins))
    return kept


async def _make_key(
    channel: grpc.aio.Channel, admin_token: str, display_name: str, origins: Sequence[str] = ()
) -> str:
    """A new key of the account, which is made when there is none."""
    admin = auth_pb2_grpc.KeyAdminServiceStub(channel)
    metadata = (("authorization", f"Bearer {admin_token}"),)
    try:
        await admin.CreateAccount(
            auth_pb2.CreateAccountRequest(
                account_id=ACCOUNT_ID, display_name="Development on this machine", plan=PLAN
            ),
            timeout=_TIMEOUT_S,
            metadata=metadata,
        )
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.ALREADY_EXISTS:
            raise
    await admin.GrantCredits(
        auth_pb2.GrantCreditsRequest(
            request_id=f"{ACCOUNT_ID}-first-grant",
            account_id=ACCOUNT_ID,
            balance=auth_pb2.BALANCE_SUBSCRIPTION,
            credits_milli=GRANTED_CREDITS_MILLI,
        ),
        timeout=_TIMEOUT_S,
        metadata=metadata,
    )
    created = await admin.CreateKey(
        auth_pb2.CreateKeyRequest(
            account_id=ACCOUNT_ID,
            display_name=display_name,
            restrictions=KeyRestrictions(allowed_origins=origins),
        ),
        timeout=_TIMEOUT_S,
        metadata=metadata,
    )
    return created.api_key


async def _works(channel: grpc.aio.Channel, key: str, origin: str = "") -> bool:
    stub = auth_pb2_grpc.AuthServiceStub(channel)
    try:
        await stub.Authenticate(auth_pb2.AuthenticateRequest(api_key=key, origin=origin), timeout=_TIMEOUT_S)
    except grpc.aio.AioRpcError as error:
        if error.code() in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
            return False
        raise
    return True
