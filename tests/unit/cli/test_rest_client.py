"""Patience and honesty of the REST client, against a real HTTP server."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from matteworks_cli.rest_client import Refused, RestClient, write_result
from matteworks_deploy.failures import CommandFailed


@dataclass
class Script:
    """Answers in order: status, headers, body. `requests` holds what came."""

    answers: list[tuple[int, dict[str, str], bytes]]
    requests: list[bytes] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)


PICTURE = (200, {"Content-Type": "image/png"}, b"a picture")


def error(status: int, code: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    body = json.dumps({"errors": [{"title": "No.", "code": code}]}).encode()
    return status, {"Content-Type": "application/json", **headers}, body


@contextmanager
def server(script: Script) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            script.requests.append(self.rfile.read(int(self.headers["Content-Length"])))
            script.keys.append(self.headers["X-Api-Key"])
            status, headers, body = script.answers.pop(0)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{http.server_port}"
        finally:
            http.shutdown()
            thread.join()


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"a photo")
    return path


def test_a_photo_is_sent_with_its_key_and_without_empty_parameters(photo: Path) -> None:
    script = Script([PICTURE])
    with server(script) as url, RestClient(url, "mw_live_x") as client:
        cutout = client.remove_background(photo, {"size": "full", "bg_color": ""})

    assert (cutout.image, cutout.suffix) == (b"a picture", "png")
    assert script.keys == ["mw_live_x"]
    assert b"a photo" in script.requests[0]
    assert b'name="size"' in script.requests[0]
    assert b"bg_color" not in script.requests[0]


@pytest.mark.parametrize("status", [429, 502, 503])
def test_a_refusal_that_passes_is_waited_out_as_long_as_the_server_says(photo: Path, status: int) -> None:
    pauses: list[float] = []
    script = Script([error(status, "later", Retry_After="7"), PICTURE])
    with server(script) as url, RestClient(url, "k", sleep=pauses.append) as client:
        client.remove_background(photo, {})

    assert pauses == [7.0]


def test_patience_ends_and_the_last_reason_is_told(photo: Path) -> None:
    script = Script([error(503, "service_unavailable")] * 4)
    with (
        server(script) as url,
        RestClient(url, "k", sleep=lambda _: None) as client,
        pytest.raises(Refused, match=r"503: No. \(service_unavailable\)"),
    ):
        client.remove_background(photo, {})

    assert len(script.requests) == 4


@pytest.mark.parametrize("status", [400, 402, 403, 500, 504])
def test_what_waiting_does_not_help_is_not_repeated(photo: Path, status: int) -> None:
    script = Script([error(status, "code")])
    with (
        server(script) as url,
        RestClient(url, "k") as client,
        pytest.raises(Refused, match=f"{status}: No."),
    ):
        client.remove_background(photo, {})

    assert len(script.requests) == 1


def test_a_page_instead_of_a_picture_is_a_failure(photo: Path) -> None:
    script = Script([(200, {"Content-Type": "text/html"}, b"<html>")])
    with server(script) as url, RestClient(url, "k") as client, pytest.raises(Refused, match="text/html"):
        client.remove_background(photo, {})


def test_a_server_that_is_not_there_is_named(photo: Path) -> None:
    with RestClient("http://127.0.0.1:9", "k") as client, pytest.raises(Refused, match="cannot be reached"):
        client.remove_background(photo, {})


def test_a_photo_that_is_not_there_costs_no_request(tmp_path: Path) -> None:
    script = Script([])
    with (
        server(script) as url,
        RestClient(url, "k") as client,
        pytest.raises(Refused, match="cannot be read"),
    ):
        client.remove_background(tmp_path / "none.jpg", {})

    assert script.requests == []


@pytest.mark.parametrize("text", ["localhost:8080", "ftp://host", "http://", "nonsense"])
def test_a_url_that_is_none_is_told_in_one_sentence(text: str) -> None:
    with pytest.raises(CommandFailed, match="not a URL"):
        RestClient(text, "k")


def test_an_existing_result_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"old")

    with pytest.raises(Refused, match="--overwrite"):
        write_result(path, b"new", is_overwriting=False)

    assert path.read_bytes() == b"old"


def test_an_existing_result_is_replaced_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"old")

    write_result(path, b"new", is_overwriting=True)

    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path], "nothing unfinished is left"
