"""Credits that were held for a request that nobody can finish come back."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from matteworks_client import Account, MatteworksClient
from matteworks_deploy.local.development import ACCOUNT_ID
from tests.e2e.test_lost_workers import wait_until
from tests.support.stack import FAST_MODEL, stack

pytestmark = pytest.mark.stack

# A hold lives a little longer than a request may take: short ones, so that the test need not wait.
SETTINGS = {"MATTEWORKS_EDGE_REQUEST_TIMEOUT_S": "5", "MATTEWORKS_AUTH_SWEEP_INTERVAL_S": "0.5"}


def test_an_edge_that_dies_between_hold_and_charge_costs_the_caller_nothing(
    fast_weights: None, tmp_path: Path, demo_photo: Path
) -> None:
    with (
        stack(tmp_path, "--model", FAST_MODEL, settings=SETTINGS) as started,
        MatteworksClient(started.internal_target) as client,
        ThreadPoolExecutor(1) as pool,
    ):

        def account() -> Account:
            return client.account(ACCOUNT_ID)

        before = account()
        # Frozen, so that the request stays between hold and charge for as long as it takes to kill.
        os.kill(started.pid("inference"), signal.SIGSTOP)
        answer = pool.submit(
            httpx.post,
            f"{started.base_url}/v1.0/removebg",
            headers={"X-Api-Key": started.key},
            data={"size": "full"},
            files={"image_file": ("photo.jpg", demo_photo.read_bytes())},
            timeout=60,
        )
        wait_until(lambda: account().held_credits_milli == 1000, 10, "the hold")

        started.kill("edge")
        started.kill("inference")

        assert answer.result().status_code == 503
        wait_until(lambda: account().held_credits_milli == 0, 60, "the credits")
        after = account()
        assert after.spent_credits_milli == before.spent_credits_milli
        assert after.subscription_credits_milli == before.subscription_credits_milli
