"""When the clients try again."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from matteworks.compositor.v1 import compositor_pb2, compositor_pb2_grpc
from matteworks_client import AsyncMatteworksClient, MatteworksClient, MatteworksError, RetryPolicy
from matteworks_common.errors import DeadlineExceeded, InvalidField, Unavailable

POLICY = RetryPolicy(max_attempts=3, first_pause_s=0.2, longest_pause_s=0.3)
AWAY = Unavailable("away")


def pause(error: MatteworksError, attempt: int, remaining_s: float = 60.0) -> float | None:
    return POLICY.pause_s(error, attempt, remaining_s, lambda: 1.0)


def test_what_passes_is_tried_again_after_a_growing_pause() -> None:
    assert [pause(AWAY, attempt) for attempt in (1, 2)] == [0.2, 0.3]


def test_attempts_end() -> None:
    assert pause(AWAY, 3) is None


@pytest.mark.parametrize("error", [InvalidField("roi", "wrong"), DeadlineExceeded()])
def test_what_does_not_pass_is_not_tried_again(error: MatteworksError) -> None:
    assert pause(error, 1) is None


def test_a_pause_beyond_the_deadline_is_not_worth_it() -> None:
    assert pause(AWAY, 1, remaining_s=0.1) is None


class Flaky(compositor_pb2_grpc.CompositorServiceServicer):
    """Away for the first `failures` calls."""

    def __init__(self, failures: int) -> None:
        self.calls = 0
        self._failures = failures

    def Inspect(
        self, request: compositor_pb2.InspectRequest, context: grpc.ServicerContext
    ) -> compositor_pb2.InspectResponse:
        self.calls += 1
        if self.calls <= self._failures:
            context.abort(grpc.StatusCode.UNAVAILABLE, "away")
        return compositor_pb2.InspectResponse(pixel_count=7)


class FlakyServer:
    """A real server on a free port."""

    def __init__(self, failures: int) -> None:
        self.servicer = Flaky(failures)
        self._server = grpc.server(ThreadPoolExecutor(2))
        compositor_pb2_grpc.add_CompositorServiceServicer_to_server(self.servicer, self._server)
        self.target = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"

    def __enter__(self) -> FlakyServer:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(None).wait()


QUICK = RetryPolicy(max_attempts=3, first_pause_s=0.001)


def test_the_client_hides_a_failure_that_passes() -> None:
    with FlakyServer(2) as server, MatteworksClient(server.target, retries=QUICK) as client:
        facts = client.inspect(b"x")

    assert (facts.pixel_count, server.servicer.calls) == (7, 3)


def test_the_client_gives_up_with_a_matteworks_error() -> None:
    with (
        FlakyServer(9) as server,
        MatteworksClient(server.target, retries=QUICK) as client,
        pytest.raises(Unavailable),
    ):
        client.inspect(b"x")

    assert server.servicer.calls == 3


async def test_the_asyncio_client_hides_a_failure_that_passes() -> None:
    with FlakyServer(1) as server:
        async with AsyncMatteworksClient(server.target, retries=QUICK) as client:
            facts = await client.inspect(b"x")

    assert (facts.pixel_count, server.servicer.calls) == (7, 2)


def test_a_server_that_is_not_there_is_unavailable() -> None:
    with (
        MatteworksClient("127.0.0.1:9", retries=RetryPolicy(max_attempts=1)) as client,
        pytest.raises(MatteworksError) as caught,
    ):
        client.list_models()

    assert caught.value.reason_name == "SERVICE_UNAVAILABLE"
