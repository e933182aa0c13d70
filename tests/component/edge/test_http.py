"""The connection: what HTTP clients really do, and what hostile ones try."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from tests.support.edge_harness import EdgeStack, edge_stack, picture, send_raw

pytestmark = pytest.mark.asyncio(loop_scope="session")


def form(*parts: bytes, end: bytes = b"--x--\r\n") -> bytes:
    return b"".join(b"--x\r\n" + part + b"\r\n" for part in parts) + end


FILE = b'Content-Disposition: form-data; name="image_file"; filename="image_file"\r\n\r\n' + picture()


async def post(edge: EdgeStack, body: bytes, **headers: str) -> httpx.Response:
    return await edge.http.post(
        "/v1.0/removebg",
        content=body,
        headers={"X-Api-Key": edge.key, "Content-Type": "multipart/form-data; boundary=x", **headers},
    )


@pytest.mark.parametrize(
    "body",
    [
        form(FILE),
        form(FILE, end=b"--x--"),
        b"\r\n" + form(FILE),
        form(b'Content-Disposition: form-data; name="size"\r\n\r\nfull', FILE),
        form(FILE, b'Content-Disposition: form-data; name="size"\r\n\r\nfull'),
        form(b"Content-Length: 3\r\nContent-Transfer-Encoding: binary\r\nContent-Type: image/png\r\n" + FILE),
        form(b"Content-Type: application/octet-stream\r\n" + FILE.replace(b'"image_file"\r', b'"blob"\r')),
        form(b'Content-Disposition: form-data; name="image_file"\r\n\r\n' + picture()),
        form(b"content-disposition: form-data; name=image_file; filename=a.png\r\n\r\n" + picture()),
        form(b"Content-Disposition: form-data; name=api_key\r\n\r\nsecret", FILE),
    ],
    ids=["plain", "no-final-crlf", "preamble", "file-last", "file-first", "extra-headers", "blob",
         "no-filename", "unquoted", "unknown-field"],
)  # fmt: skip
async def test_every_way_to_write_a_form_is_read(edge: EdgeStack, body: bytes) -> None:
    answer = await post(edge, body)
    assert answer.status_code == 200
    assert edge.compositor.requests[-1].image == picture()


async def test_a_picture_cut_at_any_byte_by_the_network_arrives_whole(edge: EdgeStack) -> None:
    body = form(FILE)
    port = int(edge.base_url.rpartition(":")[2])
    head = (
        b"POST /v1.0/removebg HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Api-Key: %b\r\n"
        b"Content-Type: multipart/form-data; boundary=x\r\nTransfer-Encoding: chunked\r\n\r\n"
    ) % edge.key.encode()
    chunks = [b"%x\r\n%b\r\n" % (1, body[i : i + 1]) for i in range(len(body))]
    answer = await send_raw(port, head, *chunks, b"0\r\n\r\n")
    assert answer.status == 200
    assert edge.compositor.requests[-1].image == picture()


async def test_a_client_that_waits_for_100_is_told_to_continue(edge: EdgeStack) -> None:
    body = form(FILE)
    port = int(edge.base_url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        b"POST /v1.0/removebg HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nX-Api-Key: %b\r\n"
        b"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: %d\r\n\r\n"
        % (edge.key.encode(), len(body))
    )
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(body)
    assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200 ")
    writer.close()


async def test_a_connection_serves_several_requests(edge: EdgeStack) -> None:
    port = int(edge.base_url.rpartition(":")[2])
    once = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    last = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answer = await send_raw(port, once + once + last)
    assert (answer.head + answer.body).count(b"HTTP/1.1 200 OK") == 3


@pytest.mark.parametrize("request_id", ["a\u202eb", "x" * 4096, '"quoted"', "../../x", "a b"])
async def test_an_unsafe_request_id_is_replaced(edge: EdgeStack, request_id: str) -> None:
    answer = await edge.http.get("/healthz", headers={"X-Request-Id": request_id.encode()})
    assert answer.headers["x-request-id"] != request_id
    assert len(answer.headers["x-request-id"]) == 32


@pytest.mark.parametrize("name", ['a"\r\nX-Evil: 1', "a\0b", "../../etc/passwd", "\u202egnp.exe", "n" * 3000])
async def test_a_file_name_reaches_no_header(edge: EdgeStack, name: str) -> None:
    answer = await edge.http.post(
        "/v1.0/removebg", files={"image_file": (name, picture())}, headers={"X-Api-Key": edge.key}
    )
    assert answer.status_code == 200
    assert "x-evil" not in answer.headers


async def test_a_sender_that_stalls_is_answered_408() -> None:
    async with edge_stack(receive_timeout_s=0.2) as edge:
        answer = await send_raw(
            int(edge.base_url.rpartition(":")[2]),
            b"POST /v1.0/removebg HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Api-Key: %b\r\n"
            b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{" % edge.key.encode(),
        )
    assert answer.status == 408
    assert b'"code":"request_timeout"' in answer.body


async def test_one_upload_too_many_is_refused_at_once() -> None:
    async with edge_stack(max_requests_in_flight=1) as edge:
        go_on = edge.accounts.hold_up("Reserve")
        first = asyncio.create_task(edge.remove())
        await edge.accounts.entered["Reserve"].wait()
        second = await edge.remove()
        go_on.set()
        assert (await first).status_code == 200
    assert second.status_code == 503
    assert second.json()["errors"][0]["code"] == "overloaded"
    assert int(second.headers["retry-after"]) >= 1


async def test_a_request_that_takes_too_long_is_504_and_given_back() -> None:
    async def never(request: object) -> None:
        await asyncio.Event().wait()

    async with edge_stack(request_timeout_s=0.5) as edge:
        edge.compositor.answer = never  # type: ignore[assignment]
        answer = await edge.remove()
        assert answer.status_code == 504
        assert answer.json()["errors"][0]["code"] == "deadline_exceeded"
        await edge.accounts.released.wait()
        assert edge.books.held_milli == 0


@pytest.mark.parametrize("length", ["99999999999", "-5", "1e3"])
async def test_a_hostile_content_length_is_refused(edge: EdgeStack, length: str) -> None:
    answer = await send_raw(
        int(edge.base_url.rpartition(":")[2]),
        b"POST /v1.0/removebg HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Api-Key: %b\r\n"
        b"Content-Type: application/json\r\nContent-Length: %b\r\n\r\n"
        % (edge.key.encode(), length.encode()),
    )
    assert answer.status == 400
