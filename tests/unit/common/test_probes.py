"""Readiness checks between services do not fill the log."""

from __future__ import annotations

import grpc
import pytest
import structlog
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from matteworks.inference.v1 import inference_pb2, inference_pb2_grpc
from matteworks_common.channels import call, probe
from matteworks_common.errors import MatteworksError, Unavailable
from matteworks_common.lifecycle import App
from matteworks_common.settings import ServiceSettings
from tests.support.harness import channel_to


class Away(inference_pb2_grpc.InferenceServiceServicer):
    """Refuses every call."""

    async def ListModels(
        self, request: inference_pb2.ListModelsRequest, context: object
    ) -> inference_pb2.ListModelsResponse:
        raise Unavailable("away")


def app() -> App:
    return App(
        name="inference",
        service_names=("matteworks.inference.v1.InferenceService",),
        add_servicers=lambda server: inference_pb2_grpc.add_InferenceServiceServicer_to_server(
            Away(), server
        ),
        registry=CollectorRegistry(),
    )


@pytest.mark.parametrize(("send", "level"), [(call, "info"), (probe, "debug")])
async def test_a_refused_probe_is_logged_at_debug_and_a_refused_call_is_not(
    send: object, level: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    structlog.reset_defaults()
    settings = ServiceSettings(listen_address="127.0.0.1:0", drain_delay_s=0)
    with capture_logs() as lines:
        async with channel_to(app(), settings) as channel:
            stub = inference_pb2_grpc.InferenceServiceStub(channel)
            assert isinstance(channel, grpc.aio.Channel)
            with pytest.raises(MatteworksError):
                await send(stub.ListModels, inference_pb2.ListModelsRequest(), timeout_s=10)  # type: ignore[operator]

    levels = {line["event"]: line["log_level"] for line in lines if line["event"] in {"rpc", "call_refused"}}
    assert levels == {"rpc": level, "call_refused": level}
