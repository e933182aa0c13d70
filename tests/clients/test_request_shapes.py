"""The requests of clients that need a toolchain of their own, byte for byte."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import uuid
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import httpx
import pytest

from tests.clients import shapes
from tests.clients.conftest import open_cutout
from tests.clients.strict_parsers import compose_like_go
from tests.support.stack import RunningStack

pytestmark = pytest.mark.stack


@pytest.fixture
def api(running_stack: RunningStack) -> Iterator[httpx.Client]:
    base_url = f"{running_stack.base_url}/v1.0"
    with httpx.Client(base_url=base_url, headers={"X-Api-Key": running_stack.key}, timeout=60) as client:
        yield client


def send(api: httpx.Client, body: bytes, **headers: str) -> httpx.Response:
    answer = api.post("/removebg", content=body, headers={"Content-Type": shapes.CONTENT_TYPE, **headers})
    assert answer.status_code == 200, answer.text[:400]
    return answer


@pytest.mark.parametrize("shape", [shapes.official_cli, shapes.ruby_gem], ids=lambda shape: shape.__name__)
def test_a_composer_of_zips_gets_its_two_parts(
    shape: Callable[[bytes], bytes], api: httpx.Client, upload: bytes
) -> None:
    answer = send(api, shape(upload))

    assert "application/zip" in answer.headers["Content-Type"]
    colour, alpha = compose_like_go(answer.content)
    assert colour.size == alpha.size == (512, 512)


@pytest.mark.parametrize(
    "shape",
    [shapes.browser_form, shapes.swift_client, shapes.native_fetch, shapes.php_package],
    ids=lambda shape: shape.__name__,
)
def test_a_form_gives_a_cut_out(shape: Callable[[bytes], bytes], api: httpx.Client, upload: bytes) -> None:
    answer = send(api, shape(upload))

    assert answer.headers["Content-Type"] == "image/png"
    assert open_cutout(answer.content).size == (512, 512)


def test_a_form_without_a_size_gives_a_preview_of_the_same_proportions(
    api: httpx.Client, upload: bytes
) -> None:
    cutout = open_cutout(send(api, shapes.gimp_plugin(upload)).content)

    assert cutout.width == cutout.height
    assert cutout.width * cutout.height <= 250_000


def test_a_browser_form_without_any_file_has_no_source(api: httpx.Client) -> None:
    body = shapes.body([*shapes.texts(image_url="", size="auto"), shapes.Part("image_file", b"", "")])

    answer = api.post("/removebg", content=body, headers={"Content-Type": shapes.CONTENT_TYPE})

    assert answer.status_code == 400
    assert [error["code"] for error in answer.json()["errors"]] == ["missing_source"]


def test_a_streamed_json_body_without_a_length(api: httpx.Client, upload: bytes) -> None:
    """As npm `removd` sends it, a colour of alpha zero included; it names the file after Content-Type."""
    document = {
        "image_file_b64": base64.b64encode(upload).decode(),
        "size": "auto",
        "type": "auto",
        "format": "auto",
        "bg_color": "00000000",
        "crop": False,
    }
    text = json.dumps(document).encode()
    pieces = (text[start : start + 10_000] for start in range(0, len(text), 10_000))

    answer = api.post("/removebg", content=pieces, headers={"Content-Type": "application/json"})

    assert answer.request.headers["Transfer-Encoding"] == "chunked"
    assert answer.status_code == 200, answer.text[:400]
    assert answer.headers["Content-Type"] == "image/png"
    open_cutout(answer.content)


def test_a_client_that_waits_for_leave_to_send_gets_it(running_stack: RunningStack, upload: bytes) -> None:
    """`Expect: 100-continue`, as older curl and .NET send it: nothing is sent before the interim answer."""
    address = urlsplit(running_stack.base_url)
    body = shapes.swift_client(upload)
    head = (
        f"POST /v1.0/removebg HTTP/1.1\r\nHost: {address.netloc}\r\nX-Api-Key: {running_stack.key}\r\n"
        f"Content-Type: {shapes.CONTENT_TYPE}\r\nContent-Length: {len(body)}\r\n"
        "Expect: 100-continue\r\nConnection: close\r\n\r\n"
    )
    with socket.create_connection((address.hostname, address.port), timeout=60) as connection:
        connection.sendall(head.encode())
        interim = connection.recv(1024)
        connection.sendall(body)
        received = b""
        while piece := connection.recv(65536):
            received += piece

    assert interim.startswith(b"HTTP/1.1 100 "), interim
    assert received.lstrip().startswith(b"HTTP/1.1 200 "), received[:200]


def test_one_connection_serves_one_request_after_another(api: httpx.Client, upload: bytes) -> None:
    streams = set()
    for path in ("/account", "/removebg", "/account"):
        with api.stream("POST" if path == "/removebg" else "GET", path, **_any_body(path, upload)) as answer:
            streams.add(answer.extensions["network_stream"].get_extra_info("client_addr"))
            answer.read()
            assert answer.status_code == 200
    assert len(streams) == 1


async def test_five_parallel_uploads_of_one_key_all_succeed(
    running_stack: RunningStack, upload: bytes
) -> None:
    """The official command line runs five at once."""
    uploads = [upload + uuid.uuid4().bytes for _ in range(5)]
    headers = {"X-Api-Key": running_stack.key, "Content-Type": shapes.CONTENT_TYPE}
    async with httpx.AsyncClient(base_url=running_stack.base_url, headers=headers, timeout=110) as client:
        answers = await asyncio.gather(
            *(client.post("/v1.0/removebg", content=shapes.ruby_gem(photo)) for photo in uploads)
        )

    assert [answer.status_code for answer in answers] == [200] * 5
    assert [answer.headers["X-Credits-Charged"] for answer in answers] == ["1"] * 5


def test_a_client_that_gave_up_waiting_and_sends_again_pays_once(api: httpx.Client, upload: bytes) -> None:
    """The official Ruby gem repeats a POST after 20 seconds."""
    charges = [send(api, shapes.ruby_gem(upload)).headers["X-Credits-Charged"] for _ in range(3)]

    assert charges == ["1", "0", "0"]


def _any_body(path: str, upload: bytes) -> dict[str, object]:
    if path != "/removebg":
        return {}
    return {"content": shapes.gimp_plugin(upload), "headers": {"Content-Type": shapes.CONTENT_TYPE}}
