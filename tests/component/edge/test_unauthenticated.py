"""403: who may not, and that nothing of the body was needed to say so."""

from __future__ import annotations

import pytest

from matteworks_common.key_format import format_key
from tests.support.edge_harness import EdgeStack, picture, send_raw

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_no_key(edge: EdgeStack) -> None:
    answer = await edge.http.post("/v1.0/removebg", files={"image_file": ("x", picture())})
    assert answer.status_code == 403
    assert answer.content == b'{"errors":[{"title":"Missing API Key","code":"auth_failed"}]}'


async def test_an_unknown_key_gets_the_recorded_document(edge: EdgeStack) -> None:
    answer = await edge.remove(headers={"X-Api-Key": format_key("live", "nobody", "x" * 43)})
    assert answer.status_code == 403
    assert answer.content == b'{"errors":[{"title":"API Key invalid","code":"auth_failed"}]}'
    assert answer.headers["content-length"] == "61"
    # The recorded entity tag, made of the same bytes.
    assert answer.headers["etag"] == 'W/"3d-ZYSJUNan+vHEerE8xn/p5MpyZUo"'


@pytest.mark.parametrize("key", ["wrong", "mw_live_x_y", "x" * 5000])
async def test_a_malformed_key_is_refused_without_a_lookup(edge: EdgeStack, key: str) -> None:
    answer = await edge.remove(headers={"X-Api-Key": key})
    assert answer.status_code == 403
    assert edge.accounts.calls == []
    assert key not in answer.text


async def test_the_answer_does_not_wait_for_the_body(edge: EdgeStack) -> None:
    port = int(edge.base_url.rpartition(":")[2])
    answer = await send_raw(
        port,
        b"POST /v1.0/removebg HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 1000000\r\n\r\n",
    )
    assert answer.status == 403


async def test_the_key_header_wins_over_authorization(edge: EdgeStack) -> None:
    answer = await edge.remove(headers={"Authorization": "Bearer nonsense"})
    assert answer.status_code == 200


async def test_another_scheme_is_no_key(edge: EdgeStack) -> None:
    answer = await edge.http.get("/v1.0/account", headers={"Authorization": f"Basic {edge.key}"})
    assert answer.json()["errors"][0]["title"] == "Missing API Key"
