"""Mixed traffic of loopback: several APIs, batches with webhooks, and mistakes."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx

_EACH_REFUSED = 5


class Load:
    """What callers do; `photos` are sent again and again, each time with other bytes behind the end."""

    def __init__(self, base_url: str, key: str, hook_url: str, photos: list[bytes]) -> None:
        self._http = httpx.AsyncClient(
            base_url=base_url, timeout=120, headers={"X-Api-Key": key, "Authorization": f"Bearer {key}"}
        )
        self._hook_url = hook_url
        self._photos = photos
        self._numbers = itertools.count()
        self._stopping = asyncio.Event()
        self.answers: dict[int, int] = {}

    async def run(self, seconds: float, callers: int) -> None:
        """For so long, by so many that cut out side by side, one that hands in batches and one that errs."""
        asyncio.get_running_loop().call_later(seconds, self._stopping.set)
        async with asyncio.TaskGroup() as group:
            for _ in range(callers):
                group.create_task(self._repeat(self._cut_out, 0.0))
            group.create_task(self._repeat(self._hand_in, 8.0))
            group.create_task(self._repeat(self._err, 1.5))
        await self._http.aclose()

    async def _repeat(self, act: Callable[[], Awaitable[httpx.Response]], pause_s: float) -> None:
        while not self._stopping.is_set():
            wait_s = pause_s
            try:
                answer = await act()
                status = answer.status_code
                if status == httpx.codes.SERVICE_UNAVAILABLE:
                    # As it asks, but not beyond the end.
                    wait_s = min(5.0, float(answer.headers.get("Retry-After", 1)))
            except httpx.HTTPError:
                status = 0
            self.answers[status] = self.answers.get(status, 0) + 1
            await asyncio.sleep(wait_s)

    def _photo(self) -> bytes:
        number = next(self._numbers)
        return self._photos[number % len(self._photos)] + str(number).encode()

    async def _cut_out(self) -> httpx.Response:
        path, name, fields = random.choice(  # noqa: S311
            [
                ("/v1.0/removebg", "image_file", {"size": "auto"}),
                ("/v1.0/removebg", "image_file", {"size": "preview", "format": "jpg", "bg_color": "white"}),
                ("/remove-background/v1", "image_file", {}),
                ("/v1/segment", "image_file", {}),
            ]
        )
        return await self._http.post(path, files={name: ("a.jpg", self._photo())}, data=fields)

    async def _hand_in(self) -> httpx.Response:
        files = [("images", (f"{index}.jpg", self._photo())) for index in range(4)]
        return await self._http.post("/v1/remove/batch", files=files, data={"webhook_url": self._hook_url})

    async def _err(self) -> httpx.Response:
        mistake = next(self._numbers) % 3
        if mistake == 0:
            return await self._http.post("/v1.0/removebg", files={"image_file": b"no picture"})
        if mistake == 1:
            headers = {"X-Api-Key": "nobody", "Authorization": ""}
            return await self._http.post(
                "/v1.0/removebg", headers=headers, files={"image_file": self._photo()}
            )
        return await self._http.post(
            "/v1.0/removebg", files={"image_file": self._photo()}, data={"size": "huge"}
        )


@asynccontextmanager
async def receiving() -> AsyncIterator[str]:
    """A receiver of webhooks that refuses some; the block gets its URL."""
    numbers = itertools.count(1)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        lengths = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
        await reader.readexactly(int(lengths[0].split(b":")[1]) if lengths else 0)
        status = b"503 Busy" if next(numbers) % _EACH_REFUSED == 0 else b"204 No Content"
        writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
