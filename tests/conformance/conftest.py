"""Accounts for the cases, and the base URL to send them to.

MATTEWORKS_CONFORMANCE_BASE_URL and MATTEWORKS_CONFORMANCE_KEY point the suite at another implementation;
cases that need other accounts than the key's are skipped there, with the reason.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator

import grpc
import httpx
import pytest

from matteworks.auth.v1 import auth_pb2, auth_pb2_grpc, plan_pb2
from tests.conformance.runner import Runner
from tests.support.stack import RunningStack

REQUEST_TIMEOUT_S = 120


def make_accounts(stack: RunningStack) -> dict[str, str]:
    """Keys by the names that cases use."""
    metadata = (("authorization", f"Bearer {stack.admin_token}"),)
    keys = {"main": stack.key}
    with grpc.insecure_channel(stack.internal_target) as channel:
        admin = auth_pb2_grpc.KeyAdminServiceStub(channel)
        auth = auth_pb2_grpc.AuthServiceStub(channel)
        grants = {
            "free": 0,
            "poor": 250,
            "limited": 100_000,
            "test": 0,
            "revoked": 100_000,
            "figures": 150_500,
            "spent": 100_000,
            "bgremover": 0,
            "erase": 1000,
        }
        plans = {"bgremover": "bgremover-pro", "spent": "bgremover-free"}
        dialects = {"bgremover": "bgremover"}
        for name, credits_milli in grants.items():
            account_id = f"conformance-{name}"
            admin.CreateAccount(
                auth_pb2.CreateAccountRequest(
                    account_id=account_id,
                    plan=plans.get(name, "starter"),
                    dialect=dialects.get(name, ""),
                    email="dev@example.com",
                ),
                metadata=metadata,
                timeout=10,
            )
            if credits_milli:
                admin.GrantCredits(
                    auth_pb2.GrantCreditsRequest(
                        request_id=f"grant-{name}", account_id=account_id,
                        balance=auth_pb2.BALANCE_PAYG, credits_milli=credits_milli,
                    ),
                    metadata=metadata, timeout=10,
                )  # fmt: skip
            made = admin.CreateKey(
                auth_pb2.CreateKeyRequest(account_id=account_id, is_test=name == "test"),
                metadata=metadata, timeout=10,
            )  # fmt: skip
            keys[name] = made.api_key
            if name == "revoked":
                admin.RevokeKey(
                    auth_pb2.RevokeKeyRequest(key_id=made.key.key_id), metadata=metadata, timeout=10
                )
        _use_up_free_calls(auth, "conformance-poor")
        _use_up_free_calls(auth, "conformance-spent")
    return keys


def _use_up_free_calls(auth: auth_pb2_grpc.AuthServiceStub, account_id: str) -> None:
    left = auth.GetAccount(
        auth_pb2.GetAccountRequest(account_id=account_id), timeout=10
    ).account.free_call_count
    for number in range(left):
        held = _reserve(auth, account_id, f"free-{number}", 250, is_free=True)
        auth.Commit(
            auth_pb2.CommitRequest(reservation_id=held.reservation_id, request_id=f"free-{number}"),
            timeout=10,
        )


def _reserve(
    auth: auth_pb2_grpc.AuthServiceStub,
    account_id: str,
    request_id: str,
    credits_milli: int,
    *,
    megapixels: int = 1,
    is_free: bool = False,
) -> auth_pb2.ReserveResponse:
    price = auth_pb2.Price(credits_milli=credits_milli, is_free_call_eligible=is_free)
    return auth.Reserve(
        auth_pb2.ReserveRequest(
            request_id=request_id, account_id=account_id, prices=[price], megapixels=megapixels
        ),
        timeout=10,
    )


def use_up_the_minute(stack: RunningStack, key: str) -> None:
    """Reserve on the limited account until a picture of one megapixel, and one more request, is refused."""
    with grpc.insecure_channel(stack.internal_target) as channel:
        auth = auth_pb2_grpc.AuthServiceStub(channel)
        # The megapixels last: they come back faster.
        for scope in (plan_pb2.RATE_SCOPE_KEY, plan_pb2.RATE_SCOPE_ACCOUNT):
            for _ in range(600):
                try:
                    auth.CountCall(
                        auth_pb2.CountCallRequest(
                            request_id=uuid.uuid4().hex,
                            account_id="conformance-limited",
                            key_id=key.split("_")[2],
                            rate_scope=scope,
                        ),
                        timeout=10,
                    )
                except grpc.RpcError:
                    break
        for megapixels in (50, 10, 1):
            for _ in range(600):
                try:
                    _reserve(auth, "conformance-limited", uuid.uuid4().hex, 0, megapixels=megapixels)
                except grpc.RpcError:
                    break


@pytest.fixture(scope="session")
def runner(request: pytest.FixtureRequest) -> Iterator[Runner]:
    base_url = os.environ.get("MATTEWORKS_CONFORMANCE_BASE_URL", "")
    if base_url:
        keys = {"main": os.environ["MATTEWORKS_CONFORMANCE_KEY"]}
        running = None
    else:
        running = request.getfixturevalue("running_stack")
        base_url, keys = running.base_url, make_accounts(running)
    with httpx.Client(base_url=base_url, timeout=REQUEST_TIMEOUT_S) as client:
        yield Runner(
            client, keys, {"limited": lambda: use_up_the_minute(running, keys["limited"])} if running else {}
        )
