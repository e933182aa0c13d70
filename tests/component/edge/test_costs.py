"""What a request costs behind the edge: calls and bytes, in figures that no machine changes."""

from __future__ import annotations

import base64

import pytest

from tests.support.edge_harness import EdgeStack, Origin, origin, picture

pytestmark = pytest.mark.asyncio(loop_scope="session")

# What the compositor's message holds besides the file: options, names, field headers.
ENVELOPE_BYTES = 1024
A_SUCCESS = ["Authenticate", "Reserve", "Commit"]


@pytest.mark.parametrize("size", ["preview", "full", "auto"])
async def test_an_upload_asks_each_service_once(edge: EdgeStack, size: str) -> None:
    assert (await edge.remove(size=size)).status_code == 200
    assert edge.accounts.calls == A_SUCCESS
    assert len(edge.compositor.requests) == 1


async def test_base64_asks_each_service_once_and_goes_on_as_the_file_itself(edge: EdgeStack) -> None:
    content = picture(400, 300)
    answer = await edge.http.post(
        "/v1.0/removebg",
        json={"image_file_b64": base64.b64encode(content).decode()},
        headers={"X-Api-Key": edge.key},
    )
    assert answer.status_code == 200
    assert edge.accounts.calls == A_SUCCESS
    assert edge.compositor.requests[0].image == content
    assert edge.compositor.requests[0].ByteSize() <= len(content) + ENVELOPE_BYTES


async def test_a_url_is_fetched_once(edge: EdgeStack) -> None:
    async with origin() as site:
        answer = await _remove_from(edge, site)
        assert answer == 200
        assert len(site.heads) == 1
    assert edge.accounts.calls == A_SUCCESS


async def test_a_refused_form_costs_no_call_beyond_the_keys(edge: EdgeStack) -> None:
    assert (await edge.remove(size="gigantic")).status_code == 400
    assert edge.accounts.calls == ["Authenticate"]
    assert edge.compositor.requests == []


async def test_the_file_crosses_to_the_compositor_once_and_unchanged(edge: EdgeStack) -> None:
    content = picture(1200, 900, "PNG")
    assert (await edge.remove(content)).status_code == 200
    (request,) = edge.compositor.requests
    assert request.image == content
    assert request.ByteSize() <= len(content) + ENVELOPE_BYTES


async def _remove_from(edge: EdgeStack, site: Origin) -> int:
    answer = await edge.http.post(
        "/v1.0/removebg",
        data={"image_url": f"http://127.0.0.1:{site.port}/picture.jpg"},
        headers={"X-Api-Key": edge.key},
    )
    return answer.status_code
