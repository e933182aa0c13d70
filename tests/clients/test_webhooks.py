"""Our webhooks, verified by the npm package of Standard Webhooks; no line of it is ours."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from matteworks.jobs.v1 import webhooks_pb2
from matteworks_common.channels import call
from tests.clients.installs import Client, Installation
from tests.support.jobs_harness import jobs_stack
from tests.support.valkey import ValkeyProcess
from tests.support.webhook_receiver import Received, receiving

pytestmark = pytest.mark.clients

VERIFIER = Client("standardwebhooks", "verify_webhooks.js", ("standardwebhooks@1.1.1",))


async def test_the_npm_package_verifies_both_signatures_of_a_rotation_and_refuses_what_was_altered(
    tmp_path: Path, installed: Callable[[Client], Installation]
) -> None:
    installation = installed(VERIFIER)
    valkey = ValkeyProcess(tmp_path)
    valkey.start()
    try:
        async with receiving() as receiver, jobs_stack(valkey, tmp_path / "objects") as stack:
            create = webhooks_pb2.CreateWebhookEndpointRequest(
                account_id="a", url=receiver.url(), events=[webhooks_pb2.WEBHOOK_EVENT_IMAGE_COMPLETED]
            )
            made = await call(stack.webhooks.CreateWebhookEndpoint, create, timeout_s=5)
            rotate = webhooks_pb2.RotateWebhookSecretRequest(
                account_id="a", endpoint_id=made.endpoint.endpoint_id
            )
            new_secret = (await call(stack.webhooks.RotateWebhookSecret, rotate, timeout_s=5)).secret
            async with stack.working():
                await stack.ended(await stack.remove(stack.spec()))
            post = await receiver.next_post()
    finally:
        valkey.kill()

    genuine = post.body.decode()
    verdicts = verify(
        installation,
        [
            as_json(made.secret, post, genuine),
            as_json(new_secret, post, genuine),
            as_json(new_secret, post, genuine.replace("completed", "succeeded")),
            as_json(new_secret, post, genuine, **{"webhook-id": "msg_other"}),
        ],
    )
    assert verdicts == [
        "image.completed",
        "image.completed",
        "No matching signature found",
        "No matching signature found",
    ]


def as_json(secret: str, post: Received, body: str, **changes: str) -> dict[str, Any]:
    return {"secret": secret, "headers": {**post.headers, **changes}, "body": body}


def verify(installation: Installation, posts: list[dict[str, Any]]) -> list[str]:
    done = subprocess.run(
        installation.command, input=json.dumps(posts), capture_output=True, text=True, timeout=60,
        # Every program is started with the stack that vendors' hosts are to be; this one calls nobody.
        env={**os.environ, **installation.environment, "STACK_URL": "http://127.0.0.1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    verdicts: list[str] = json.loads(done.stdout)
    return verdicts
