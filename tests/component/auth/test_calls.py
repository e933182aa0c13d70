"""The first answer again, over gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from matteworks.auth.v1 import idempotency_pb2
from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_common.channels import call
from matteworks_common.errors import Conflict, InvalidField, LimitExceeded
from tests.component.auth.harness import Auth, serving

ANSWER = idempotency_pb2.StoredAnswer(
    status=202,
    headers=[idempotency_pb2.AnswerHeader(name="X-Credits-Charged", value="1")],
    body=b'\x00\xff{"data":1}',
    body_reference="results/abc",
)


@pytest.fixture
async def auth() -> AsyncIterator[Auth]:
    async with serving() as running:
        yield running


async def begin(auth: Auth, lease_id: str, fingerprint: str = "f") -> idempotency_pb2.BeginCallResponse:
    request = idempotency_pb2.BeginCallRequest(
        account_id="a", idempotency_key="order 7 ü", fingerprint=fingerprint, lease_id=lease_id
    )
    return await call(auth.calls.BeginCall, request, timeout_s=5)


async def complete(auth: Auth, lease_id: str, answer: idempotency_pb2.StoredAnswer = ANSWER) -> bool:
    request = idempotency_pb2.CompleteCallRequest(
        account_id="a", idempotency_key="order 7 ü", lease_id=lease_id, answer=answer
    )
    return (await call(auth.calls.CompleteCall, request, timeout_s=5)).is_stored


async def test_the_first_answer_comes_back_byte_for_byte(auth: Auth) -> None:
    assert not (await begin(auth, "one")).HasField("answer")
    assert await complete(auth, "one")
    assert (await begin(auth, "two")).answer == ANSWER


async def test_a_running_request_and_another_one_are_told_apart(auth: Auth) -> None:
    await begin(auth, "one")
    with pytest.raises(LimitExceeded) as running:
        await begin(auth, "two")
    with pytest.raises(Conflict) as other:
        await begin(auth, "two", "another body")
    assert running.value.reason == reasons.ERROR_REASON_IDEMPOTENCY_KEY_IN_USE
    assert running.value.retry_after_s == 2
    assert other.value.reason == reasons.ERROR_REASON_IDEMPOTENCY_KEY_REUSED


async def test_an_abandoned_call_may_be_made_again(auth: Auth) -> None:
    await begin(auth, "one")
    request = idempotency_pb2.AbandonCallRequest(account_id="a", idempotency_key="order 7 ü", lease_id="one")
    await call(auth.calls.AbandonCall, request, timeout_s=5)
    assert not (await begin(auth, "two")).HasField("answer")
    assert not await complete(auth, "one")


@pytest.mark.parametrize(
    ("field", "answer"),
    [
        ("answer.status", idempotency_pb2.StoredAnswer(status=0)),
        ("answer.body", idempotency_pb2.StoredAnswer(status=200, body=b"x" * (16 * 1024 + 1))),
        ("answer.body_reference", idempotency_pb2.StoredAnswer(status=200, body_reference="x" * 513)),
        (
            "answer.headers",
            idempotency_pb2.StoredAnswer(
                status=200, headers=[idempotency_pb2.AnswerHeader(name="a", value="x" * 8192)]
            ),
        ),
    ],
)
async def test_an_answer_that_is_too_large_is_refused_by_name(
    auth: Auth, field: str, answer: idempotency_pb2.StoredAnswer
) -> None:
    await begin(auth, "one")
    with pytest.raises(InvalidField) as caught:
        await complete(auth, "one", answer)
    assert caught.value.field == field


@pytest.mark.parametrize("field", ["account_id", "idempotency_key", "fingerprint", "lease_id", "lease_time"])
async def test_a_call_without_its_names_is_refused(auth: Auth, field: str) -> None:
    request = idempotency_pb2.BeginCallRequest(
        account_id="a", idempotency_key="k", fingerprint="f", lease_id="l"
    )
    request.lease_time.FromSeconds(60)
    if field == "lease_time":
        request.lease_time.FromSeconds(0)
    else:
        request.ClearField(field)  # type: ignore[arg-type]
    with pytest.raises(InvalidField) as caught:
        await call(auth.calls.BeginCall, request, timeout_s=5)
    assert caught.value.field == field
