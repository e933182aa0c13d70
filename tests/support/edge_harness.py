"""The edge on a real HTTP server, before the real auth service and a compositor that tests steer.

Both stand behind real gRPC servers. `SteeredAuth` fails or waits on command; `SteeredCompositor` answers
with small pictures, or with what a test makes it answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import httpx
from PIL import Image

from matteworks.auth.v1 import auth_pb2_grpc, request_log_pb2, request_log_pb2_grpc
from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks.common.v1 import image_pb2
from matteworks.compositor.v1 import compositor_pb2, compositor_pb2_grpc
from matteworks_auth.request_log_servicer import RequestLogServicer
from matteworks_auth.stores.memory.request_log import MemoryRequestLogStore
from matteworks_auth.stores.request_log import LogLimits
from matteworks_common.clock import SystemClock
from matteworks_common.errors import NotFound
from matteworks_common.http_lifecycle import HttpApp
from matteworks_common.http_lifecycle import running as edge_running
from matteworks_common.lifecycle import App
from matteworks_common.lifecycle import running as grpc_running
from matteworks_common.settings import ServiceSettings
from matteworks_edge.app import EdgeDependencies, build
from matteworks_edge.settings import EdgeSettings
from tests.support.steered_auth import Books, SteeredAuth

Answer = Callable[
    [compositor_pb2.RemoveBackgroundRequest], Awaitable[compositor_pb2.RemoveBackgroundResponse]
]


def picture(
    width_px: int = 40, height_px: int = 30, kind: str = "JPEG", orientation: int | None = None
) -> bytes:
    """A small encoded picture, red on white."""
    drawn = Image.new("RGB", (width_px, height_px), "white")
    drawn.paste("red", (width_px // 4, height_px // 4, width_px * 3 // 4, height_px * 3 // 4))
    buffer = io.BytesIO()
    options: dict[str, Any] = {}
    if orientation is not None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        options["exif"] = exif
    drawn.save(buffer, kind, **options)
    return buffer.getvalue()


class SteeredCompositor(compositor_pb2_grpc.CompositorServiceServicer):
    """Answers every request with `answer`; keeps the requests."""

    def __init__(self) -> None:
        self.requests: list[compositor_pb2.RemoveBackgroundRequest] = []
        self.answer: Answer = self.cut_out
        self.started = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.is_away = False

    async def RemoveBackground(
        self, request: compositor_pb2.RemoveBackgroundRequest, context: Any
    ) -> compositor_pb2.RemoveBackgroundResponse:
        self.requests.append(request)
        self.started.set()
        try:
            return await self.answer(request)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    async def Inspect(self, request: Any, context: Any) -> compositor_pb2.InspectResponse:
        if self.is_away:
            raise NotFound(reasons.ERROR_REASON_MODEL_NOT_FOUND, "Away, for a test.")
        return compositor_pb2.InspectResponse()

    @staticmethod
    async def cut_out(
        request: compositor_pb2.RemoveBackgroundRequest,
    ) -> compositor_pb2.RemoveBackgroundResponse:
        """A transparent picture of the source's size, in the format that was asked for."""
        with Image.open(io.BytesIO(request.image)) as source:
            width_px, height_px = source.size
        size = image_pb2.Size(width_px=width_px, height_px=height_px)
        if request.dry_run:
            looked = compositor_pb2.Rendering(size=size, source_size=size)
            return compositor_pb2.RemoveBackgroundResponse(
                rendering=looked, more_renderings=[looked] * len(request.more_options)
            )

        def render(wanted: compositor_pb2.OutputFormat.ValueType) -> compositor_pb2.Rendering:
            kind = {
                compositor_pb2.OUTPUT_FORMAT_JPEG: "JPEG",
                compositor_pb2.OUTPUT_FORMAT_WEBP: "WEBP",
            }.get(wanted, "PNG")
            buffer = io.BytesIO()
            Image.new("RGBA" if kind != "JPEG" else "RGB", (width_px, height_px)).save(buffer, kind)
            is_kept = kind != "PNG" or wanted == compositor_pb2.OUTPUT_FORMAT_ZIP
            return compositor_pb2.Rendering(
                image=buffer.getvalue(),
                format=wanted if is_kept else compositor_pb2.OUTPUT_FORMAT_PNG,
                size=size,
                source_size=size,
                foreground=image_pb2.Box(left_px=1, top_px=2, width_px=3, height_px=4),
            )

        stage = image_pb2.StageDuration(stage="decode")
        stage.duration.FromMilliseconds(2)
        return compositor_pb2.RemoveBackgroundResponse(
            rendering=render(request.options.format),
            more_renderings=[render(options.format) for options in request.more_options],
            subject=image_pb2.Subject(type=image_pb2.SUBJECT_TYPE_CAR_PART, confidence=0.9),
            model="test",
            matte_confidence=0.876,
            stages=[stage],
        )


@dataclass
class EdgeStack:
    """A running edge. `http` talks to it; `accounts` and `compositor` stand behind it."""

    base_url: str
    http: httpx.AsyncClient
    accounts: SteeredAuth
    compositor: SteeredCompositor
    app: HttpApp
    settings: EdgeSettings
    request_log: RequestLogServicer
    key: str = field(default="")

    def renew(self) -> None:
        """Forget what the last test steered, and use a fresh account."""
        self.accounts.failures.clear()
        self.accounts.pause.clear()
        self.accounts.calls.clear()
        self.accounts.reserve_requests.clear()
        self.accounts.released = asyncio.Event()
        self.compositor.requests.clear()
        self.compositor.answer = SteeredCompositor.cut_out
        self.compositor.started = asyncio.Event()
        self.compositor.cancelled = asyncio.Event()
        self.compositor.is_away = False
        self.key = self.accounts.new_key()

    @property
    def books(self) -> Books:
        """The books of the current key."""
        return self.accounts.books[self.key]

    async def logged(self, request_id: str) -> request_log_pb2.RequestRecord:
        """What the account's list of requests says of one, as soon as it does."""
        asked = request_log_pb2.ListRequestsRequest(account_id=self.books.account_id, request_id=request_id)
        async with asyncio.timeout(10):
            while True:
                found = (await self.request_log.ListRequests(asked, None)).records
                if found:
                    return found[0]
                await asyncio.sleep(0.02)

    async def remove(
        self,
        content: bytes | None = None,
        *,
        path: str = "/v1.0/removebg",
        headers: dict[str, str] | None = None,
        **fields: str,
    ) -> httpx.Response:
        """Upload a picture as multipart with further form fields."""
        return await self.http.post(
            path,
            files={"image_file": ("x.bin", picture() if content is None else content)},
            data=fields,
            headers={"X-Api-Key": self.key, **(headers or {})},
        )


@asynccontextmanager
async def edge_stack(deps: EdgeDependencies | None = None, **settings: Any) -> AsyncIterator[EdgeStack]:
    """An edge with both services behind it, on free loopback ports."""
    accounts, compositor = SteeredAuth(), SteeredCompositor()
    quiet = ServiceSettings(listen_address="127.0.0.1:0", drain_delay_s=0, grace_s=0.5)
    clock = SystemClock()
    request_log = RequestLogServicer(MemoryRequestLogStore(clock, LogLimits()), clock)

    def add_auth(server: grpc.aio.Server) -> None:
        auth_pb2_grpc.add_AuthServiceServicer_to_server(accounts, server)
        request_log_pb2_grpc.add_RequestLogServiceServicer_to_server(request_log, server)

    auth_app = App("auth", ("matteworks.auth.v1.AuthService",), add_auth)
    compositor_app = App(
        "compositor",
        ("matteworks.compositor.v1.CompositorService",),
        lambda server: compositor_pb2_grpc.add_CompositorServiceServicer_to_server(compositor, server),
    )
    async with (
        grpc_running(auth_app, quiet) as auth,
        grpc_running(compositor_app, quiet) as composing,
    ):
        edge_settings = EdgeSettings(
            **{
                "listen_address": "127.0.0.1:0",
                "auth_target": f"127.0.0.1:{auth.port}",
                "compositor_target": f"127.0.0.1:{composing.port}",
                "drain_delay_s": 0,
                "fetch_ports": "*",
                # Polled by the tests that ask for readiness; a poll in between would be in the books.
                "health_interval_s": 3600,
                **settings,
            }
        )
        app = await build(edge_settings, deps)
        async with edge_running(app, edge_settings) as edge:
            await edge.health.poll()
            base_url = f"http://127.0.0.1:{edge.port}"
            async with httpx.AsyncClient(base_url=base_url, timeout=20) as http:
                stack = EdgeStack(base_url, http, accounts, compositor, app, edge_settings, request_log)
                stack.renew()
                yield stack


@dataclass
class RawAnswer:
    """An HTTP answer as bytes came."""

    head: bytes
    body: bytes

    @property
    def status(self) -> int:
        return int(self.head.split(b" ", 2)[1])


async def send_raw(port: int, *parts: bytes) -> RawAnswer:
    """Write `parts` to the edge and read until it closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
        answer = await reader.read()
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    head, _, body = answer.partition(b"\r\n\r\n")
    return RawAnswer(head, body)


class Origin:
    """A web server for the fetcher: answers each connection with `answer(request head)` and closes."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []
        self.answer: Callable[[bytes, asyncio.StreamWriter], Awaitable[None]] = self.serve_picture
        self.port = 0

    @staticmethod
    async def serve_picture(head: bytes, writer: asyncio.StreamWriter) -> None:
        """A JPEG."""
        body = picture()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            self.heads.append(head)
            await self.answer(head, writer)
            await writer.drain()
        writer.close()


@asynccontextmanager
async def origin() -> AsyncIterator[Origin]:
    """A loopback web server."""
    site = Origin()
    server = await asyncio.start_server(site.handle, "127.0.0.1", 0)
    site.port = server.sockets[0].getsockname()[1]
    async with server:
        yield site
