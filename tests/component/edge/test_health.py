"""Liveness, readiness, and an end that cuts nobody off."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client import generate_latest

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_common.errors import Unavailable
from matteworks_common.health import TOLERATED_FAILURES
from tests.support.edge_harness import EdgeStack, edge_stack

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_alive_needs_nobody_else(edge: EdgeStack) -> None:
    answer = await edge.http.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


async def test_readiness_follows_auth_and_the_compositor_both_ways(edge: EdgeStack) -> None:
    monitor = edge.app.monitor
    polls_until_unwell = TOLERATED_FAILURES + 1
    await monitor.poll()
    assert (await edge.http.get("/readyz")).status_code == 200
    edge.compositor.is_away = True
    for _ in range(polls_until_unwell):
        await monitor.poll()
    answer = await edge.http.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["errors"][0]["code"] == "service_unavailable"
    edge.compositor.is_away = False
    await monitor.poll()
    assert (await edge.http.get("/readyz")).status_code == 200
    edge.accounts.failures["Authenticate"] = [
        Unavailable("Away.", reason=reasons.ERROR_REASON_STORE_UNAVAILABLE) for _ in range(polls_until_unwell)
    ]
    for _ in range(polls_until_unwell):
        await monitor.poll()
    assert (await edge.http.get("/readyz")).status_code == 503
    await monitor.poll()
    assert (await edge.http.get("/readyz")).status_code == 200


async def test_a_request_that_runs_when_the_edge_stops_is_answered_and_charged() -> None:
    async with edge_stack() as edge:
        go_on = edge.accounts.hold_up("Commit")
        request = asyncio.create_task(edge.remove())
        await edge.accounts.entered["Commit"].wait()
        edge.app.draining.set()
        await edge.app.monitor.drain()
        assert (await edge.http.get("/readyz")).status_code == 503
        go_on.set()
        answer = await request
        assert answer.status_code == 200
        assert answer.headers["connection"] == "close"
        assert edge.books.spent_milli == 250


async def test_metrics_count_by_route_and_outcome(edge: EdgeStack) -> None:
    await edge.remove()
    await edge.remove(size="x")
    page = generate_latest(edge.app.registry).decode()
    assert (
        'matteworks_edge_requests_total{dialect="remove.bg",outcome="ok",route="removebg",status="2xx"}'
        in page
    )
    labels = 'dialect="remove.bg",outcome="INVALID_SIZE",route="removebg",status="4xx"'
    assert f"matteworks_edge_requests_total{{{labels}}}" in page
    assert 'matteworks_edge_stage_seconds_count{stage="render"}' in page
    assert edge.key not in page


async def test_no_bytes_stay_accounted_after_requests(edge: EdgeStack) -> None:
    await edge.remove()
    await edge.remove(size="x")
    assert edge.app.registry.get_sample_value("matteworks_edge_buffered_bytes") == 0
