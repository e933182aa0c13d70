"""Somebody's webhook endpoint on loopback: keeps what it was sent, and answers as a test says."""

from __future__ import annotations

import asyncio
import contextlib
import http
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Received:
    """One post. Names of headers are in lower case."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def event(self) -> dict[str, Any]:
        event: dict[str, Any] = json.loads(self.body)
        return event


Answer = Callable[[Received, asyncio.StreamWriter], Awaitable[None]]


def status(code: int, body: str = "", **headers: str) -> Answer:
    """Answers with that status; `_` in the names of headers stands for `-`."""
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())

    async def answer(_: Received, writer: asyncio.StreamWriter) -> None:
        phrase = http.HTTPStatus(code).phrase
        writer.write(f"HTTP/1.1 {code} {phrase}\r\n{lines}Content-Length: {len(body)}\r\n\r\n{body}".encode())

    return answer


async def reset(_: Received, writer: asyncio.StreamWriter) -> None:
    """Answers with a broken connection."""
    writer.transport.abort()


class Receiver:
    """`posts` in the order in which they came."""

    def __init__(self) -> None:
        self.posts: list[Received] = []
        self.answer: Answer = status(200)
        self.port = 0
        self._came = asyncio.Event()
        self._answering: set[asyncio.Task[None]] = set()

    def url(self, path: str = "/hook", host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    async def next_post(self) -> Received:
        """The first post, once it has come."""
        async with asyncio.timeout(30):
            await self._came.wait()
        return self.posts[0]

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A connection came."""
        task = asyncio.create_task(self._handle(reader, writer))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def close(self) -> None:
        """End the answers that have no end."""
        for task in self._answering:
            task.cancel()
        await asyncio.gather(*self._answering, return_exceptions=True)

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._take(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.split("\r\n")
            pairs = (line.split(": ", 1) for line in lines if line)
            headers = {name.lower(): value for name, value in pairs}
            body = await reader.readexactly(int(headers["content-length"]))
            received = Received(first.split(" ")[1], headers, body)
            self.posts.append(received)
            self._came.set()
            await self.answer(received, writer)
            await writer.drain()


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """A receiver that answers 200 until it is told otherwise."""
    receiver = Receiver()
    server = await asyncio.start_server(receiver.accept, "127.0.0.1", 0)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        await receiver.close()
