"""Host names of providers, one that is switched off, and the largest uploads, with a stack of their own."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from matteworks_deploy.envoy.settings import MEBIBYTE
from tests.support.stack import FAST_MODEL, RunningStack, stack

pytestmark = pytest.mark.stack
SETTINGS = {
    "MATTEWORKS_EDGE_DIALECT_HOSTS": (
        "erase.example=backgrounderase,photo.example=photoroom,remover.example=bgremover"
    ),
    "MATTEWORKS_EDGE_DISABLED_DIALECTS": "slazzer",
}


@pytest.fixture(scope="module")
def hosted(fast_weights: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    with stack(tmp_path_factory.mktemp("hosts"), "--model", FAST_MODEL, settings=SETTINGS) as started:
        yield started


def get(hosted: RunningStack, host: str, path: str, key: str = "") -> httpx.Response:
    headers = {"Host": host, "Authorization": f"Bearer {key or hosted.key}"}
    return httpx.get(f"{hosted.base_url}{path}", headers=headers)


def test_on_its_host_a_shared_path_is_the_providers(hosted: RunningStack) -> None:
    assert list(get(hosted, "photo.example", "/v1/account").json()) == ["credits"]
    assert list(get(hosted, "PHOTO.example:8080", "/v2/account").json()) == ["images", "plan"]
    assert "attributes" in get(hosted, "other.example", "/v1/account").json()["data"]
    account = get(hosted, "remover.example", "/v1/account").json()
    assert (account["success"], "credits_remaining" in account["data"]) == (True, True)


def test_on_its_host_an_unusable_key_gets_the_providers_answer(hosted: RunningStack) -> None:
    answer = get(hosted, "remover.example", "/v1/account", key="nonsense")

    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "INVALID_API_KEY")


def test_on_its_host_every_path_is_answered_in_its_words(hosted: RunningStack) -> None:
    answer = get(hosted, "erase.example", "/v1.0/account")

    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
    assert get(hosted, "erase.example", "/healthz").json() == {"status": "ok"}


def test_on_its_host_the_proxy_speaks_as_the_provider(hosted: RunningStack) -> None:
    address = urlsplit(hosted.base_url)
    with socket.create_connection((address.hostname, address.port), timeout=15) as connection:
        connection.sendall(
            b"POST /v1.0/removebg HTTP/1.1\r\nHost: Erase.example\r\nConnection: close\r\n"
            + f"Content-Length: {72 * MEBIBYTE + 1}\r\n\r\n".encode()
        )
        received = b""
        while block := connection.recv(65536):
            received += block

    assert received.startswith(b"HTTP/1.1 413")
    assert json.loads(received.partition(b"\r\n\r\n")[2])["error"]["code"] == "image_too_large"


def test_what_is_switched_off_is_an_unknown_path(hosted: RunningStack) -> None:
    answer = httpx.post(f"{hosted.base_url}/v2.0/remove_image_background", headers={"API-KEY": hosted.key})

    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (404, "not_found")
    document = httpx.get(f"{hosted.base_url}/openapi.json").json()
    assert "/v2.0/remove_image_background" not in document["paths"]
    assert "slazzer" not in {tag["name"] for tag in document["tags"]}


def padded(photo: Path, size_bytes: int) -> bytes:
    """The photo with bytes behind its end, which decoders ignore."""
    content = photo.read_bytes()
    return content + bytes(size_bytes - len(content))


def test_thirty_megabytes_in_base64_pass_the_proxy(hosted: RunningStack, demo_photo: Path) -> None:
    text = base64.b64encode(padded(demo_photo, 30 * MEBIBYTE)).decode()

    answer = httpx.post(
        f"{hosted.base_url}/v2",
        json={"image_base64": text},
        headers={"x-api-key": hosted.key},
        timeout=120,
    )

    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")


def test_fifty_megabytes_pass_and_one_byte_more_is_refused_by_the_edge(
    hosted: RunningStack, demo_photo: Path
) -> None:
    def send(size_bytes: int) -> httpx.Response:
        return httpx.post(
            f"{hosted.base_url}/v1/remove",
            files={"image": padded(demo_photo, size_bytes)},
            headers={"Authorization": f"Bearer {hosted.key}"},
            timeout=120,
        )

    assert send(50 * MEBIBYTE).json()["data"]["original_width"] == 512
    refused = send(50 * MEBIBYTE + 1)
    assert (refused.status_code, refused.json()["error"]["code"]) == (413, "FILE_TOO_LARGE")
