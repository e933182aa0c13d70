"""A webhook is believed only with its secret."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks import Webhook

from matteworks_client.webhooks import WebhookForged, verify

OLD, NEW = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
BODY = json.dumps({"type": "image.completed", "timestamp": "2026-02-03T04:05:06Z", "data": {"id": "x"}})


def signed(secret: str, age: timedelta = timedelta()) -> dict[str, str]:
    sent = datetime.now(UTC) - age
    return {
        "Webhook-Id": "msg_1",
        "Webhook-Timestamp": str(int(sent.timestamp())),
        "Webhook-Signature": Webhook(secret).sign("msg_1", sent, BODY),
    }


def test_a_signed_message_is_read() -> None:
    event = verify(BODY.encode(), signed(OLD), OLD)
    assert (event.message_id, event.type, event.data) == ("msg_1", "image.completed", {"id": "x"})
    assert event.time == datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)


def test_both_secrets_count_while_one_is_being_replaced() -> None:
    assert verify(BODY.encode(), signed(NEW), [OLD, NEW]) == verify(BODY.encode(), signed(OLD), [OLD, NEW])


@pytest.mark.parametrize(
    ("body", "headers", "secret"),
    [
        (BODY, signed(NEW), OLD),
        (BODY + " ", signed(OLD), OLD),
        (BODY, {}, OLD),
        (BODY, signed(OLD, timedelta(minutes=6)), OLD),
    ],
    ids=["other secret", "altered", "unsigned", "old"],
)
def test_anything_else_is_forged(body: str, headers: dict[str, str], secret: str) -> None:
    with pytest.raises(WebhookForged):
        verify(body.encode(), headers, secret)
