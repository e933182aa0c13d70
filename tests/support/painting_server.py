"""A small server of ours that speaks OpenAI's images/edits: it paints a disc in the colour that the prompt
names where the mask is transparent, and shifts the levels of everything, as generative networks do.
"""

from __future__ import annotations

import asyncio
import base64
import io
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import uvicorn
from numpy.typing import NDArray
from PIL import Image, ImageColor
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

__all__ = ["SHIFT", "PaintingServer", "painting_server"]

KEY = "sk-of-a-test"
SHIFT = 9
_UNNAMED = (120, 90, 60)


@dataclass
class PaintingServer:
    """`behaviour`: paint, url, hang, error, refuse, size, garbage, cut, nothing, huge or redirect; tests
    change it while it runs. `seen` holds the fields of every request.
    """

    port: int = 0
    behaviour: str = "paint"
    seen: list[dict[str, Any]] = field(default_factory=list)
    sent_bytes: int = 0
    painted: dict[str, bytes] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """What an operator sets."""
        return f"http://127.0.0.1:{self.port}/v1"

    async def edit(self, request: Request) -> Response:
        async with request.form() as form:
            fields = {
                name: value if isinstance(value, str) else await value.read() for name, value in form.items()
            }
        fields["authorization"] = request.headers.get("authorization", "")
        self.seen.append(fields)
        match self.behaviour:
            case "hang":
                await asyncio.sleep(60)
            case "error":
                return JSONResponse({"error": {"message": f"bad key {KEY}", "code": "invalid_api_key"}}, 401)
            case "refuse":
                return JSONResponse({"error": {"message": "no", "code": "moderation_blocked"}}, 400)
            case "garbage":
                return Response(b"\x00\x01 not json", media_type="application/json")
            case "nothing":
                return JSONResponse({"created": 1, "data": []})
            case "huge":
                return StreamingResponse(self._gigabyte(), media_type="application/json")
            case "redirect":
                return Response(status_code=307, headers={"Location": "http://127.0.0.1:1/"})
        content = self._paint(fields)
        if self.behaviour == "cut":
            content = content[: len(content) // 2]
        if self.behaviour == "url":
            self.painted["1.png"] = content
            return JSONResponse(
                {"created": 1, "data": [{"url": f"http://127.0.0.1:{self.port}/files/1.png"}]}
            )
        return JSONResponse({"created": 1, "data": [{"b64_json": base64.b64encode(content).decode()}]})

    async def file(self, request: Request) -> Response:
        return Response(self.painted[request.path_params["name"]], media_type="image/png")

    async def _gigabyte(self) -> AsyncIterator[bytes]:
        for _ in range(1024):
            self.sent_bytes += 1024 * 1024
            # After a caller has gone, frameworks go on for a while as fast as they can.
            await asyncio.sleep(0.005)
            yield b" " * 1024 * 1024

    def _paint(self, fields: dict[str, Any]) -> bytes:
        picture = np.asarray(Image.open(io.BytesIO(fields["image"])).convert("RGB")).astype(int)
        mask = Image.open(io.BytesIO(fields["mask"]))
        assert mask.mode == "RGBA"
        assert mask.size == (picture.shape[1], picture.shape[0])
        hole = np.asarray(mask)[..., 3] == 0
        picture = np.clip(picture + SHIFT, 0, 255)
        picture[hole] = np.clip(np.array(_colour(str(fields["prompt"]))) + SHIFT, 0, 255)
        image = Image.fromarray(picture.astype(np.uint8))
        if self.behaviour == "size":
            image = image.resize((image.width // 2, image.height // 2))
        written = io.BytesIO()
        image.save(written, "PNG")
        return written.getvalue()


def _colour(prompt: str) -> tuple[int, ...]:
    for word in prompt.lower().split():
        try:
            return ImageColor.getrgb(word)
        except ValueError:
            continue
    return _UNNAMED


@contextmanager
def painting_server() -> Iterator[PaintingServer]:
    """Listen on a free loopback port while the block runs."""
    ours = PaintingServer()
    app = Starlette(
        routes=[
            Route("/v1/images/edits", ours.edit, methods=["POST"]),
            Route("/files/{name}", ours.file),
        ]
    )
    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, log_level="critical", lifespan="off", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name="painting-server")
    thread.start()
    try:
        deadline = time.monotonic() + 20
        while not server.started:
            assert thread.is_alive()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        ours.port = server.servers[0].sockets[0].getsockname()[1]
        yield ours
    finally:
        server.should_exit = True
        thread.join(20)


def pixels_of(content: bytes) -> NDArray[np.uint8]:
    """The pixels of a file."""
    return np.asarray(Image.open(io.BytesIO(content)))
