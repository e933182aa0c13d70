"""Traces through every real process, exported to a real collector."""

from __future__ import annotations

import secrets
import time
from pathlib import Path

import httpx
import pytest

from tests.support.edge_harness import picture
from tests.support.otlp_collector import Collector, SeenSpan
from tests.support.stack import RunningStack

pytestmark = pytest.mark.stack

PATIENCE_S = 30.0
AUTH = "matteworks.auth.v1.AuthService"
# Everything that a span may tell; what is not here was not thought about.
ATTRIBUTES = {
    "http.request.method",
    "http.response.status_code",
    "matteworks.attempt",
    "matteworks.batch_item_count",
    "matteworks.dialect",
    "matteworks.event",
    "matteworks.height_px",
    "matteworks.model",
    "matteworks.outcome",
    "matteworks.reason",
    "matteworks.request_id",
    "matteworks.route",
    "matteworks.width_px",
    "rpc.grpc.status_code",
    "rpc.system",
}


def traceparent(*, is_sampled: bool = True) -> tuple[str, str, str]:
    """A caller's trace: the header, the trace's id, the caller's span."""
    trace_id, span_id = secrets.token_hex(16), secrets.token_hex(8)
    return f"00-{trace_id}-{span_id}-{'01' if is_sampled else '00'}", trace_id, span_id


def remove(stack: RunningStack, header: str, content: bytes, **fields: str) -> httpx.Response:
    return httpx.post(
        f"{stack.base_url}/v1.0/removebg",
        headers={"X-Api-Key": stack.key, "traceparent": header},
        data=fields,
        files={"image_file": ("a-telling-name.jpg", content)},
        timeout=60,
    )


def trace_of(collector: Collector, trace_id: str, *names: str) -> list[SeenSpan]:
    """The spans of a trace, once those of these names and the edge's, which ends last, have come with all
    above them; or what there is when patience ends.
    """

    def is_whole(spans: list[SeenSpan]) -> bool:
        found = {span.name for span in spans}
        missing = {span.parent_id for span in spans} - {span.span_id for span in spans}
        return {"remove.bg removebg", *names} <= found and len(missing) == 1

    return collector.wait_for(lambda span: span.trace_id == trace_id, is_whole, PATIENCE_S)


def test_one_call_is_one_connected_tree_from_the_callers_span_to_the_network_run(
    running_stack: RunningStack, collector: Collector, demo_photo: Path
) -> None:
    header, trace_id, caller_span = traceparent()

    assert remove(running_stack, header, demo_photo.read_bytes(), size="auto").status_code == 200
    spans = trace_of(collector, trace_id, "infer", "encode", f"{AUTH}/Commit")

    by_id = {span.span_id: span for span in spans}
    (top,) = [span for span in spans if span.parent_id not in by_id]
    assert (top.service, top.name, top.parent_id) == ("matteworks-edge", "remove.bg removebg", caller_span)
    (run,) = [span for span in spans if span.name == "infer"]
    way = [run]
    while way[-1].parent_id in by_id:
        way.append(by_id[way[-1].parent_id])
    assert [(span.service.removeprefix("matteworks-"), span.name) for span in reversed(way)] == [
        ("edge", "remove.bg removebg"),
        ("edge", "render"),
        ("compositor", "matteworks.compositor.v1.CompositorService/RemoveBackground"),
        ("compositor", "segment"),
        ("inference", "matteworks.inference.v1.InferenceService/Segment"),
        ("inference", "infer"),
    ]
    names = {span.name for span in spans}
    assert {"queue", "decode", "encode", "classify", "fetch", "commit"} <= names
    assert {
        f"matteworks.auth.v1.AuthService/{name}" for name in ("Authenticate", "Reserve", "Commit")
    } <= names
    assert run.attributes["matteworks.model"] == "u2netp"
    assert run.attributes["matteworks.batch_item_count"] == 1
    for span in spans:
        assert not span.is_error, span
        if span is not top:
            # Clocks of one machine: a span lies within its parent's, but for what follows the answer.
            assert span.start_ns >= by_id[span.parent_id].start_ns - 1_000_000, span


def test_a_refused_call_tells_its_reason_and_nothing_that_its_caller_sent(
    running_stack: RunningStack, collector: Collector
) -> None:
    secret = "https://pictures.invalid/private/token-4711.jpg"
    header, trace_id, _ = traceparent()

    answer = httpx.post(
        f"{running_stack.base_url}/v1.0/removebg",
        headers={"X-Api-Key": running_stack.key, "traceparent": header},
        data={"image_url": secret},
        timeout=60,
    )
    assert answer.status_code == 400
    spans = trace_of(collector, trace_id)

    (top,) = [span for span in spans if span.name == "remove.bg removebg"]
    assert top.attributes["matteworks.outcome"] == "FAILED_IMAGE_DOWNLOAD"
    assert any(span.name == "fetch" and span.is_error for span in spans)


def test_spans_hold_no_content_no_keys_and_no_urls(running_stack: RunningStack, collector: Collector) -> None:
    """Over all that the stack exported up to now, whichever tests ran before this one."""
    header, trace_id, _ = traceparent()
    remove(running_stack, header, picture(120))
    remove(running_stack, header, b"no picture", bg_image_url="https://pictures.invalid/x.png")
    trace_of(collector, trace_id)

    spans = collector.where(lambda _: True)
    assert {key for span in spans for key in span.attributes} <= ATTRIBUTES
    assert not [span for span in spans if span.event_count], "events hold messages and stacks"
    for span in spans:
        told = [span.name, span.message, *(str(value) for value in span.attributes.values())]
        for text in told:
            assert len(text) < 150, span
            assert not any(part in text for part in ("://", "mw_live_", "telling-name", "invalid/")), span


def test_who_says_that_a_trace_is_not_recorded_is_believed(
    running_stack: RunningStack, collector: Collector
) -> None:
    quiet, quiet_id, _ = traceparent(is_sampled=False)
    loud, loud_id, _ = traceparent()

    assert remove(running_stack, quiet, picture(120)).status_code == 200
    assert remove(running_stack, loud, picture(120)).status_code == 200

    assert trace_of(collector, loud_id)
    assert collector.of(quiet_id) == []


def test_health_checks_and_probes_are_not_traced(running_stack: RunningStack, collector: Collector) -> None:
    begin_ns = time.time_ns()
    httpx.get(f"{running_stack.base_url}/readyz", timeout=10)
    httpx.get(f"{running_stack.base_url}/healthz", timeout=10)
    header, trace_id, _ = traceparent()
    remove(running_stack, header, picture(120))
    trace_of(collector, trace_id)

    names = {span.name for span in collector.where(lambda _: True)}
    assert not [name for name in names if "grpc.health" in name or "readyz" in name or "healthz" in name]
    # Other tests on this stack are refused in earnest, and before.
    roots = collector.where(lambda span: span.parent_id == "" and span.start_ns > begin_ns)
    # Readiness asks auth for a key that nobody has.
    refused = [span for span in roots if span.attributes.get("rpc.grpc.status_code") == 16]
    assert not refused


def test_items_and_webhooks_are_traces_of_their_own_tied_to_that_of_the_submitter(
    running_stack: RunningStack, collector: Collector
) -> None:
    header, trace_id, _ = traceparent()

    accepted = httpx.post(
        f"{running_stack.base_url}/v1/remove/batch",
        headers={"Authorization": f"Bearer {running_stack.key}", "traceparent": header},
        files=[("images", ("a.jpg", picture(100))), ("images", ("b.jpg", picture(110)))],
        data={"webhook_url": "https://receiver.invalid/hook"},
        timeout=60,
    )
    assert accepted.status_code in (200, 202), accepted.text

    def is_tied(span: SeenSpan) -> bool:
        return any(linked == trace_id for linked, _ in span.links)

    def events_of(spans: list[SeenSpan]) -> list[object]:
        return [span.attributes["matteworks.event"] for span in spans if span.name == "webhook"]

    def all_ended(spans: list[SeenSpan]) -> bool:
        names = [span.name for span in spans]
        return names.count("item") == 2 and "batch.completed" in events_of(spans)

    tied = collector.wait_for(is_tied, all_ended, 60)
    assert sorted(span.name for span in tied if span.name == "item") == ["item", "item"]
    # Endpoints that other tests registered hear of the items, too.
    assert events_of(tied).count("batch.completed") >= 1
    assert len({span.trace_id for span in tied}) == len(tied)
    assert trace_id not in {span.trace_id for span in tied}
    # The link leads to the call that accepted the batch, and an item's own trace to its network run.
    submitting = {span.span_id: span.name for span in collector.of(trace_id)}
    assert {submitting[span_id] for span in tied for linked, span_id in span.links} == {
        "matteworks.jobs.v1.JobService/CreateBatch"
    }
    for item in (span for span in tied if span.name == "item"):
        runs = collector.wait_for(
            lambda span, own=item.trace_id: span.trace_id == own and span.name == "infer",  # type: ignore[misc]
            bool,
            PATIENCE_S,
        )
        assert [span.service for span in runs] == ["matteworks-inference"]
