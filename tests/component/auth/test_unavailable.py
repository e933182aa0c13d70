"""With the store away, money fails closed; when it is back, nothing was lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from matteworks.auth.v1 import auth_pb2
from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_common.channels import call
from matteworks_common.errors import Unavailable
from tests.component.auth.harness import serving
from tests.support.valkey import ValkeyProcess


async def test_a_killed_store_refuses_and_a_restarted_one_remembers(tmp_path: Path) -> None:
    valkey = ValkeyProcess(tmp_path)
    valkey.start()
    try:
        async with serving(valkey.url) as auth:
            await auth.make_account()
            first = await auth.reserve("r1")
            valkey.kill()
            with pytest.raises(Unavailable) as caught:
                await auth.reserve("r2")
            assert caught.value.reason == reasons.ERROR_REASON_STORE_UNAVAILABLE
            valkey.start()
            # The server has forgotten the scripts; nobody notices.
            assert await auth.reserve("r1") == first
            commit = auth_pb2.CommitRequest(reservation_id=first.reservation_id, request_id="r1")
            assert (await call(auth.auth.Commit, commit, timeout_s=5)).charged_credits_milli == 1000
    finally:
        valkey.kill()
