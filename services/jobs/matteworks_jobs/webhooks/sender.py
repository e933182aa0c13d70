"""Posts to receivers outside: through the guarded connector, without redirects, reading little."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import httpcore
import structlog

from matteworks_outbound.fetcher import AddressRefused
from matteworks_outbound.urls import split_url

_MAX_ANSWER_BYTES: Final = 64 * 1024
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Answer:
    """`status` 0: none came. `retry_after` as sent, or empty."""

    status: int
    retry_after: str = ""


class WebhookSender:
    """Keeps no connection open between two posts, so that every address is judged."""

    def __init__(
        self,
        backend: httpcore.AsyncNetworkBackend,
        *,
        timeout_s: float,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=ssl_context or ssl.create_default_context(),
            max_connections=64,
            max_keepalive_connections=0,
            network_backend=backend,
        )
        self._timeout_s = timeout_s

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """What the receiver answered within the time."""
        target = split_url(url)
        if target is None:
            return Answer(0)
        all_headers = {
            "Content-Type": "application/json",
            "User-Agent": "matteworks-webhooks",
            "Accept-Encoding": "identity",
            **headers,
        }
        address = httpcore.URL(
            scheme=target.scheme.encode(), host=target.host.encode(), port=target.port,
            target=target.target.encode(),
        )  # fmt: skip
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                self._pool.stream(
                    "POST", address, headers=list(all_headers.items()), content=body
                ) as response,
            ):
                answer = Answer(response.status, _header(response, b"retry-after"))
                read_bytes = 0
                async for chunk in response.aiter_stream():
                    read_bytes += len(chunk)
                    if read_bytes > _MAX_ANSWER_BYTES:
                        break
                return answer
        except (
            AddressRefused,
            TimeoutError,
            OSError,
            httpcore.NetworkError,
            httpcore.ProtocolError,
            httpcore.TimeoutException,
        ) as error:
            log.info("webhook_unreachable", host=target.host, error=type(error).__name__)
            return Answer(0)

    async def aclose(self) -> None:
        """Close what is open."""
        await self._pool.aclose()


def _header(response: httpcore.Response, name: bytes) -> str:
    for key, value in response.headers:
        if key.lower() == name:
            return value.decode("latin-1")
    return ""
