"""Errors cross a real connection unchanged, and nothing else does."""

from __future__ import annotations

import grpc
import pytest

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks.inference.v1 import inference_pb2, inference_pb2_grpc
from matteworks_common.channels import call
from matteworks_common.errors import (
    Conflict,
    DeadlineExceeded,
    FailedPrecondition,
    Forbidden,
    InvalidField,
    InvalidPicture,
    LimitExceeded,
    MatteworksError,
    NotFound,
    Unauthenticated,
    Unavailable,
)
from matteworks_common.lifecycle import App
from matteworks_common.settings import ServiceSettings
from tests.support.harness import channel_to


class RaisingServicer(inference_pb2_grpc.InferenceServiceServicer):
    def __init__(self, error: Exception) -> None:
        self._error = error

    async def Segment(self, request: object, context: object) -> inference_pb2.SegmentResponse:
        raise self._error

    async def ListModels(self, request: object, context: object) -> inference_pb2.ListModelsResponse:
        return inference_pb2.ListModelsResponse()


async def provoke(error: Exception, timeout_s: float = 5) -> MatteworksError:
    app = App(
        name="raising",
        service_names=("matteworks.inference.v1.InferenceService",),
        add_servicers=lambda server: inference_pb2_grpc.add_InferenceServiceServicer_to_server(
            RaisingServicer(error), server
        ),
    )
    async with channel_to(app, ServiceSettings(drain_delay_s=0)) as channel:
        stub = inference_pb2_grpc.InferenceServiceStub(channel)
        with pytest.raises(MatteworksError) as caught:
            await call(stub.Segment, inference_pb2.SegmentRequest(request_id="r-1"), timeout_s=timeout_s)
        return caught.value


@pytest.mark.parametrize(
    "error",
    [
        InvalidField(
            "roi", "Give four values.", reason=reasons.ERROR_REASON_INVALID_ROI, metadata={"roi": "x"}
        ),
        InvalidPicture(reasons.ERROR_REASON_INVALID_FILE_TYPE, "Not a picture."),
        Unauthenticated(reasons.ERROR_REASON_KEY_INVALID, "Check the key."),
        Forbidden(reasons.ERROR_REASON_ADMIN_TOKEN_INVALID, "Check the token."),
        NotFound(reasons.ERROR_REASON_ACCOUNT_NOT_FOUND, "No such account."),
        Conflict(reasons.ERROR_REASON_REQUEST_ID_REUSED, "Use another id."),
        FailedPrecondition(reasons.ERROR_REASON_INSUFFICIENT_CREDITS, "Buy credits."),
        LimitExceeded(reasons.ERROR_REASON_RATE_LIMIT_EXCEEDED, "Wait.", retry_after_s=2.5),
        DeadlineExceeded(),
        Unavailable("Away."),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_an_error_arrives_as_it_was_raised(error: MatteworksError) -> None:
    arrived = await provoke(error)
    assert type(arrived) is type(error)
    assert (arrived.reason, arrived.message, arrived.field) == (error.reason, error.message, error.field)
    assert arrived.metadata == error.metadata
    assert arrived.retry_after_s == error.retry_after_s


async def test_an_unexpected_error_tells_only_the_request_id() -> None:
    arrived = await provoke(RuntimeError("password=hunter2"))
    assert arrived.code is grpc.StatusCode.INTERNAL
    assert arrived.reason == reasons.ERROR_REASON_INTERNAL
    assert "hunter2" not in arrived.message
    assert "r-1" in arrived.message


async def test_a_call_without_time_left_is_not_sent() -> None:
    with pytest.raises(DeadlineExceeded):
        await call(None, None, timeout_s=0)  # type: ignore[arg-type]
