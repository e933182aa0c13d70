"""The edge on a real HTTP server, before an account service and a compositor that tests steer.

Both stand-ins are real gRPC servers. `AccountsInMemory` keeps the books that the contract describes, so
that a test can ask what a request has cost; `SteeredCompositor` answers with small pictures, or with what
a test makes it answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from PIL import Image

from matteworks.auth.v1 import auth_pb2, auth_pb2_grpc
from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks.common.v1 import image_pb2
from matteworks.compositor.v1 import compositor_pb2, compositor_pb2_grpc
from matteworks_common.errors import FailedPrecondition, MatteworksError, NotFound, Unauthenticated
from matteworks_common.http_lifecycle import HttpApp
from matteworks_common.http_lifecycle import running as edge_running
from matteworks_common.key_format import format_key
from matteworks_common.lifecycle import App
from matteworks_common.lifecycle import running as grpc_running
from matteworks_common.settings import ServiceSettings
from matteworks_edge.app import EdgeDependencies, build
from matteworks_edge.settings import EdgeSettings

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


@dataclass
class Books:
    """What one account has."""

    account_id: str
    subscription_milli: int = 0
    free_calls: int = 0
    spent_milli: int = 0
    held_milli: int = 0
    is_test: bool = False


@dataclass
class _Reservation:
    books: Books
    credits_milli: int
    uses_free_call: bool
    response: auth_pb2.ReserveResponse
    state: str = "held"


class AccountsInMemory(auth_pb2_grpc.AuthServiceServicer):
    """Keys, balances and reservations; `failures[rpc]` is raised instead of an answer, first to last."""

    def __init__(self) -> None:
        self.books: dict[str, Books] = {}
        self.reservations: dict[str, _Reservation] = {}
        self.failures: dict[str, list[MatteworksError]] = {}
        self.calls: list[str] = []
        self.reserve_requests: list[auth_pb2.ReserveRequest] = []
        self.pause: dict[str, asyncio.Event] = {}
        self.entered: dict[str, asyncio.Event] = {}
        self.released = asyncio.Event()

    def new_key(self, *, credits_milli: int = 10_000, free_calls: int = 0, is_test: bool = False) -> str:
        """A key of a new account."""
        number = f"{len(self.books):08d}"
        key = format_key("test" if is_test else "live", f"key{number}", "s" * 43)
        self.books[key] = Books(f"acc-{number}", credits_milli, free_calls, is_test=is_test)
        return key

    def hold_up(self, rpc: str) -> asyncio.Event:
        """Let calls of `rpc` wait until the returned event is set; `entered[rpc]` tells that one waits."""
        self.entered[rpc] = asyncio.Event()
        self.pause[rpc] = asyncio.Event()
        return self.pause[rpc]

    async def _enter(self, rpc: str) -> None:
        self.calls.append(rpc)
        if rpc in self.pause:
            self.entered[rpc].set()
            await self.pause[rpc].wait()
        if self.failures.get(rpc):
            raise self.failures[rpc].pop(0)

    async def Authenticate(self, request: Any, context: Any) -> auth_pb2.AuthenticateResponse:
        await self._enter("Authenticate")
        books = self.books.get(request.api_key)
        if books is None:
            raise Unauthenticated(reasons.ERROR_REASON_KEY_INVALID, "The API key is not valid.")
        return auth_pb2.AuthenticateResponse(
            account_id=books.account_id,
            key_id=request.api_key.split("_")[2],
            plan="starter",
            is_test=books.is_test,
        )

    async def Reserve(self, request: auth_pb2.ReserveRequest, context: Any) -> auth_pb2.ReserveResponse:
        await self._enter("Reserve")
        self.reserve_requests.append(request)
        books = next(books for books in self.books.values() if books.account_id == request.account_id)
        for price in request.prices:
            uses_free_call = price.is_free_call_eligible and books.free_calls > 0
            cost_milli = 0 if uses_free_call else price.credits_milli
            if cost_milli <= books.subscription_milli:
                break
        else:
            raise FailedPrecondition(
                reasons.ERROR_REASON_INSUFFICIENT_CREDITS, "The balance does not cover the price."
            )
        books.subscription_milli -= cost_milli
        books.held_milli += cost_milli
        books.free_calls -= uses_free_call
        response = auth_pb2.ReserveResponse(
            reservation_id=request.request_id,
            credits_milli=cost_milli,
            price_index=list(request.prices).index(price),
            rate_limit=auth_pb2.RateLimit(limit_units=500, remaining_units=499),
        )
        response.rate_limit.reset_time.FromSeconds(1_800_000_060)
        self.reservations[request.request_id] = _Reservation(books, cost_milli, uses_free_call, response)
        return response

    async def Commit(self, request: Any, context: Any) -> auth_pb2.CommitResponse:
        await self._enter("Commit")
        reservation = self._find(request.reservation_id)
        if reservation.state == "released":
            raise FailedPrecondition(reasons.ERROR_REASON_RESERVATION_RELEASED, "It was released.")
        if reservation.state == "held":
            reservation.state = "committed"
            reservation.books.held_milli -= reservation.credits_milli
            reservation.books.spent_milli += reservation.credits_milli
        return auth_pb2.CommitResponse(charged_credits_milli=reservation.credits_milli)

    async def Release(self, request: Any, context: Any) -> auth_pb2.ReleaseResponse:
        await self._enter("Release")
        reservation = self._find(request.reservation_id)
        released_milli = 0
        if reservation.state == "held":
            reservation.state = "released"
            released_milli = reservation.credits_milli
            reservation.books.held_milli -= released_milli
            reservation.books.subscription_milli += released_milli
            reservation.books.free_calls += reservation.uses_free_call
        self.released.set()
        return auth_pb2.ReleaseResponse(released_credits_milli=released_milli)

    async def GetAccount(self, request: Any, context: Any) -> auth_pb2.GetAccountResponse:
        await self._enter("GetAccount")
        books = next(books for books in self.books.values() if books.account_id == request.account_id)
        return auth_pb2.GetAccountResponse(
            account=auth_pb2.Account(
                account_id=books.account_id,
                subscription_credits_milli=books.subscription_milli,
                free_call_count=books.free_calls,
                held_credits_milli=books.held_milli,
                spent_credits_milli=books.spent_milli,
            )
        )

    def _find(self, reservation_id: str) -> _Reservation:
        if reservation_id not in self.reservations:
            raise NotFound(reasons.ERROR_REASON_RESERVATION_NOT_FOUND, "There is no such reservation.")
        return self.reservations[reservation_id]


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
        wanted = request.options.format
        kind = {
            compositor_pb2.OUTPUT_FORMAT_JPEG: "JPEG",
            compositor_pb2.OUTPUT_FORMAT_WEBP: "WEBP",
        }.get(wanted, "PNG")
        buffer = io.BytesIO()
        Image.new("RGBA" if kind != "JPEG" else "RGB", (width_px, height_px)).save(buffer, kind)
        size = image_pb2.Size(width_px=width_px, height_px=height_px)
        stage = image_pb2.StageDuration(stage="decode")
        stage.duration.FromMilliseconds(2)
        return compositor_pb2.RemoveBackgroundResponse(
            rendering=compositor_pb2.Rendering(
                image=buffer.getvalue(),
                format=wanted
                if kind != "PNG" or wanted == compositor_pb2.OUTPUT_FORMAT_ZIP
                else compositor_pb2.OUTPUT_FORMAT_PNG,
                size=size,
                source_size=size,
                foreground=image_pb2.Box(left_px=1, top_px=2, width_px=3, height_px=4),
            ),
            subject=image_pb2.Subject(type=image_pb2.SUBJECT_TYPE_CAR_PART, confidence=0.9),
            model="test",
            stages=[stage],
        )


@dataclass
class EdgeStack:
    """A running edge. `http` talks to it; `accounts` and `compositor` stand behind it."""

    base_url: str
    http: httpx.AsyncClient
    accounts: AccountsInMemory
    compositor: SteeredCompositor
    app: HttpApp
    settings: EdgeSettings
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
    accounts, compositor = AccountsInMemory(), SteeredCompositor()
    quiet = ServiceSettings(listen_address="127.0.0.1:0", drain_delay_s=0, grace_s=0.5)
    auth_app = App(
        "auth",
        ("matteworks.auth.v1.AuthService",),
        lambda server: auth_pb2_grpc.add_AuthServiceServicer_to_server(accounts, server),
    )
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
                stack = EdgeStack(base_url, http, accounts, compositor, app, edge_settings)
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
