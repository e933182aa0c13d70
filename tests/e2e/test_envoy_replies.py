"""What Envoy answers by itself has the form that clients of the REST API parse."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from matteworks_deploy.envoy.settings import MEBIBYTE
from tests.support.stack import RunningStack

pytestmark = pytest.mark.stack


def error_code(response: httpx.Response) -> str:
    """The document's first code, once everything that clients rely on was there."""
    assert response.headers["content-type"] == "application/json; charset=utf-8"
    assert response.headers["access-control-allow-origin"] == "*"
    assert response.headers["x-credits-charged"] == "0"
    assert list(response.json()) == ["errors"]
    error = response.json()["errors"][0]
    assert list(error) == ["title", "code"]
    return str(error["code"])


def raw_exchange(stack: RunningStack, request: bytes, timeout_s: float = 15) -> bytes:
    """Everything that comes back for exactly these bytes, until the connection is closed."""
    address = urlsplit(stack.base_url)
    with socket.create_connection((address.hostname, address.port), timeout=timeout_s) as connection:
        connection.sendall(request)
        received = b""
        while block := connection.recv(65536):
            received += block
    return received


def test_a_declared_length_that_nobody_can_mean_is_a_file_too_large(running_stack: RunningStack) -> None:
    answer = raw_exchange(
        running_stack,
        b"POST /v1.0/removebg HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        + f"Content-Length: {72 * MEBIBYTE + 1}\r\n\r\n".encode(),
    )

    assert answer.startswith(b"HTTP/1.1 400")
    assert b'{"errors":[{"title":"File too large","code":"file_too_large"}]}' in answer


def test_the_same_length_elsewhere_is_a_413(running_stack: RunningStack) -> None:
    answer = raw_exchange(
        running_stack,
        b"POST /v1/elsewhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        + f"Content-Length: {72 * MEBIBYTE + 1}\r\n\r\n".encode(),
    )

    assert answer.startswith(b"HTTP/1.1 413")
    assert b'"errors"' in answer


@pytest.mark.parametrize(
    ("path", "document"),
    [
        (
            "/v1/segment",
            b'{"detail":"The request is too large.","status_code":413,"type":"request_too_large"}',
        ),
        ("/remove-background/v1", b'{"error":"The request is too large."}'),
        ("/v2.0/remove_image_background", b'{"error":"The request is too large."}'),
    ],
)
def test_under_a_providers_path_the_proxy_speaks_as_the_provider_does(
    running_stack: RunningStack, path: str, document: bytes
) -> None:
    answer = raw_exchange(
        running_stack,
        f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n".encode()
        + f"Content-Length: {72 * MEBIBYTE + 1}\r\n\r\n".encode(),
    )

    assert answer.startswith(b"HTTP/1.1 413")
    assert document in answer


@pytest.mark.parametrize("path", ["/v2", "/backgrounderase/v2", "/v2/account?x=1"])
def test_the_proxy_tells_its_request_id_where_the_provider_does(
    running_stack: RunningStack, path: str
) -> None:
    answer = raw_exchange(
        running_stack,
        f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n".encode()
        + b'X-Request-Id: a"b\r\n'
        + f"Content-Length: {72 * MEBIBYTE + 1}\r\n\r\n".encode(),
    )

    assert answer.startswith(b"HTTP/1.1 413")
    error = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
    assert (error["code"], error["status"], error["details"]) == ("image_too_large", 413, {})
    assert error["request_id"] == 'a"b'


@pytest.mark.parametrize(
    ("path", "status"),
    [("/removebg/v1.0/removebg", 400), ("/bgeraser/v1/removebg", 400), ("/bgremover/v1/remove", 413)],
)
def test_a_prefix_is_answered_as_the_path_behind_it(
    running_stack: RunningStack, path: str, status: int
) -> None:
    answer = raw_exchange(
        running_stack,
        f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n".encode()
        + f"Content-Length: {72 * MEBIBYTE + 1}\r\n\r\n".encode(),
    )

    assert answer.startswith(f"HTTP/1.1 {status}".encode())
    assert (b"file_too_large" if status == 400 else b"FILE_TOO_LARGE") in answer


def test_headers_beyond_the_limit_are_refused(running_stack: RunningStack) -> None:
    response = httpx.get(f"{running_stack.base_url}/healthz", headers={"x-long": "a" * 40_000})

    assert (response.status_code, error_code(response)) == (431, "headers_too_large")


def test_an_escaped_slash_in_a_path_is_refused(running_stack: RunningStack) -> None:
    response = httpx.get(f"{running_stack.base_url}/v1.0%2Faccount")

    assert (response.status_code, error_code(response)) == (400, "bad_request")


def test_a_sender_that_never_finishes_its_headers_is_cut_off(running_stack: RunningStack) -> None:
    """Before Python hears of it: a thousand such connections cost a thousand buffers, not workers."""
    answer = raw_exchange(running_stack, b"POST /v1.0/removebg HTTP/1.1\r\nHost: x\r\nX-Slow:")

    assert answer == b"" or answer.startswith(b"HTTP/1.1 408")


def test_http_1_0_is_told_to_upgrade(running_stack: RunningStack) -> None:
    answer = raw_exchange(running_stack, b"GET /healthz HTTP/1.0\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 426")
    assert b'"code":"upgrade_required"' in answer


def test_internal_headers_of_a_stranger_do_not_pass(running_stack: RunningStack, demo_photo: Path) -> None:
    """A stranger who could set Envoy's own headers would choose time-outs and retries."""
    response = httpx.get(
        f"{running_stack.base_url}/readyz",
        headers={"x-envoy-upstream-rq-timeout-ms": "1", "x-envoy-max-retries": "50"},
    )

    assert response.status_code == 200
    assert not [name for name in response.headers if name.startswith("x-envoy")]


def test_http_2_is_spoken_too(running_stack: RunningStack) -> None:
    with httpx.Client(http1=False, http2=True) as client:
        response = client.get(f"{running_stack.base_url}/healthz")

    assert (response.http_version, response.status_code) == ("HTTP/2", 200)


@pytest.mark.parametrize(
    "method", ["/matteworks.auth.v1.AuthService/Authenticate", "/grpc.health.v1.Health/Check"]
)
def test_grpc_is_not_reachable_through_the_public_listener(running_stack: RunningStack, method: str) -> None:
    response = httpx.post(
        f"{running_stack.base_url}{method}", headers={"content-type": "application/grpc"}, content=b"\0" * 5
    )

    assert response.status_code in {404, 415}
    assert "grpc-status" not in response.headers
