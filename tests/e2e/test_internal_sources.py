"""Pictures from inside: what the operator named is fetched through the whole stack, all else is refused."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from PIL import Image

from tests.support.stack import FAST_MODEL, RunningStack, stack

pytestmark = pytest.mark.stack

NAMED, OTHER = "127.0.0.1", "127.0.0.2"


class Shelf:
    """A web server inside with one photo, which it has under two addresses."""

    def __init__(self, photo: bytes) -> None:
        self.asked: list[str] = []
        shelf = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                shelf.asked.append(f"{self.headers['Host']}{self.path}")
                if self.path == "/moved.jpg":
                    self.send_response(302)
                    self.send_header("Location", shelf.url(OTHER))
                    self.end_headers()
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(photo)))
                self.end_headers()
                self.wfile.write(photo)

            def log_message(self, format: str, *args: object) -> None:
                """Nothing."""

        self.server = ThreadingHTTPServer(("", 0), Handler)

    def url(self, host: str, path: str = "/photo.jpg") -> str:
        return f"http://{host}:{self.server.server_port}{path}"


@pytest.fixture(scope="module")
def shelf() -> Iterator[Shelf]:
    photo = Path(__file__).parents[2] / "cli" / "matteworks_cli" / "demo" / "astronaut.jpg"
    opened = Shelf(photo.read_bytes())
    serving = threading.Thread(target=opened.server.serve_forever, daemon=True)
    serving.start()
    try:
        yield opened
    finally:
        opened.server.shutdown()
        opened.server.server_close()
        serving.join()


@pytest.fixture(scope="module")
def started(fast_weights: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    settings = {
        "MATTEWORKS_EDGE_INTERNAL_SOURCES": f"{NAMED}/32",
        "MATTEWORKS_JOBS_INTERNAL_SOURCES": f"{NAMED}/32",
        "MATTEWORKS_EDGE_FETCH_PORTS": "*",
    }
    with stack(tmp_path_factory.mktemp("stack"), "--model", FAST_MODEL, settings=settings) as running:
        yield running


def remove(started: RunningStack, url: str) -> httpx.Response:
    return httpx.post(
        f"{started.base_url}/v1.0/removebg",
        data={"image_url": url, "size": "full"},
        headers={"X-Api-Key": started.key},
        timeout=60,
    )


def test_a_picture_of_an_internal_host_that_was_named_is_fetched_and_cut_out(
    started: RunningStack, shelf: Shelf
) -> None:
    answer = remove(started, shelf.url(NAMED))

    assert answer.status_code == 200, answer.text
    with Image.open(io.BytesIO(answer.content)) as cutout:
        assert cutout.size == (512, 512)
        assert cutout.getchannel("A").getextrema() == (0, 255)


@pytest.mark.parametrize("host", [OTHER, "0.0.0.0", "[::1]"])  # noqa: S104
def test_every_other_address_inside_is_refused_before_it_is_connected_to(
    started: RunningStack, shelf: Shelf, host: str
) -> None:
    shelf.asked.clear()
    answer = remove(started, shelf.url(host))

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["code"] == "failed_image_download"
    assert answer.headers["X-Credits-Charged"] == "0"
    assert shelf.asked == []


def test_a_redirect_from_a_named_host_to_another_one_inside_is_refused(
    started: RunningStack, shelf: Shelf
) -> None:
    shelf.asked.clear()
    answer = remove(started, shelf.url(NAMED, "/moved.jpg"))

    assert answer.status_code == 400
    assert [one.endswith("/moved.jpg") for one in shelf.asked] == [True]


def test_the_workers_of_batches_keep_the_same_rule(started: RunningStack, shelf: Shelf) -> None:
    shelf.asked.clear()
    headers = {"Authorization": f"Bearer {started.key}"}
    with httpx.Client(base_url=started.base_url, headers=headers, timeout=60) as http:
        images = [{"image_url": shelf.url(NAMED)}, {"image_url": shelf.url(OTHER)}]
        accepted = http.post("/v1/remove/batch", json={"images": images}).raise_for_status().json()["data"]
        deadline_s = time.monotonic() + 60
        while True:
            polled = http.get(f"/v1/batch/{accepted['batch_id']}").raise_for_status().json()["data"]
            if polled["status"] != "processing":
                break
            assert time.monotonic() < deadline_s, "the batch does not end"
            threading.Event().wait(0.1)

    assert (polled["completed"], polled["failed"]) == (1, 1)
    assert "output_url" in polled["results"][0]
    assert "error" in polled["results"][1]
    assert shelf.asked == [shelf.url(NAMED).removeprefix("http://")]
