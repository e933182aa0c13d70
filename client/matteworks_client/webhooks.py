"""Webhooks as their receiver takes them: checked, then read.

Needs the extra `client-webhooks`: pip install "matteworks[client-webhooks]".
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError

__all__ = ["WebhookEvent", "WebhookForged", "verify"]


class WebhookForged(Exception):
    """The message was not signed with any of the secrets, or it is older than five minutes."""


@dataclass(frozen=True, slots=True)
class WebhookEvent:
    """What has happened. `type`: image.completed, image.failed, batch.completed or credits.low.

    The same event may come more than once, always under the same `message_id`. `data` is what the poll
    of the batch or the answer of the removal would tell.
    """

    message_id: str
    type: str
    time: datetime
    data: Mapping[str, Any]


def verify(body: bytes, headers: Mapping[str, str], secrets: str | Sequence[str]) -> WebhookEvent:
    """The event that a request carries. `body` is the request's, byte for byte; `secrets` are those of the
    endpoint: while a secret is being replaced, the old one and the new one.

    Raises WebhookForged; answer 4xx then, and nothing else.
    """
    lowered = {name.lower(): value for name, value in headers.items()}
    for secret in [secrets] if isinstance(secrets, str) else secrets:
        try:
            Webhook(secret).verify(body, lowered)
        except WebhookVerificationError:
            continue
        document = json.loads(body)
        return WebhookEvent(
            message_id=lowered["webhook-id"],
            type=document["type"],
            time=datetime.fromisoformat(document["timestamp"]),
            data=document["data"],
        )
    raise WebhookForged("The signature of this webhook is not ours, or it is too old; do not act on it.")
