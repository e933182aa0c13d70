"""Requests to the one server that an operator has named in a setting.

The name is the operator's own word, so it may lead anywhere, loopback included. Everything else is bounded
as for strangers: no redirects, nothing is decompressed, so many bytes and seconds and no more. A URL that
the server answers with may lead back to it, or to a public address.
"""

from __future__ import annotations

import asyncio
import secrets
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import httpcore

from matteworks_outbound.addresses import Address, is_public
from matteworks_outbound.fetcher import AddressRefused, GuardedBackend, Resolver
from matteworks_outbound.urls import PictureUrl, split_url

__all__ = ["Answer", "NamedServer", "Part", "ServerFailed", "multipart_body"]

_DNS_TIMEOUT_S: Final = 3.0
_CONNECT_TIMEOUT_S: Final = 5.0


class ServerFailed(Exception):
    """No answer came that can be used. The message is half a sentence for the log and for callers: it holds
    nothing that the server said.
    """


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and body."""

    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Part:
    """One field of a form; a file where it has a `filename`."""

    name: str
    content: bytes
    filename: str = ""
    content_type: str = ""


@dataclass(frozen=True, slots=True)
class _NamedOrPublic:
    host: str

    def allows(self, address: Address, host: str = "") -> bool:
        return host == self.host or is_public(address)

    def allows_name(self, host: str) -> bool:
        return True


class NamedServer:
    """Speaks to the server at `url`, at most `max_connections` at once. Close it.

    Raises ValueError when `url` is no http or https URL.
    """

    def __init__(
        self,
        url: str,
        resolver: Resolver,
        *,
        max_connections: int,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        base = split_url(url)
        if base is None:
            raise ValueError("give an http or https URL without user name and password")
        self._base = base
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=ssl_context or ssl.create_default_context(),
            max_connections=max_connections,
            max_keepalive_connections=0,
            network_backend=GuardedBackend(
                resolver,
                _NamedOrPublic(base.host),
                dns_timeout_s=_DNS_TIMEOUT_S,
                connect_timeout_s=_CONNECT_TIMEOUT_S,
            ),
        )

    async def post(
        self, path: str, headers: Mapping[str, str], body: bytes, *, timeout_s: float, max_bytes: int
    ) -> Answer:
        """What the server says below its URL. Raises ServerFailed, TimeoutError."""
        target = self._base.target.rstrip("/") + path
        address = PictureUrl(self._base.scheme, self._base.host, self._base.port, target)
        return await self._ask("POST", address, headers, body, timeout_s, max_bytes)

    async def fetch(self, url: str, *, timeout_s: float, max_bytes: int) -> bytes:
        """What lies at a URL that the server has answered with. Raises ServerFailed, TimeoutError."""
        try:
            address = split_url(url)
        except ValueError:
            address = None
        if address is None or (self._base.scheme == "https" and address.scheme != "https"):
            raise ServerFailed("it answered with a URL that may not be fetched")
        answer = await self._ask("GET", address, {}, b"", timeout_s, max_bytes)
        if answer.status != 200:
            raise ServerFailed(f"its picture's URL answered with status {answer.status}")
        return answer.body

    async def aclose(self) -> None:
        """Close what is open."""
        await self._pool.aclose()

    async def _ask(
        self,
        method: str,
        address: PictureUrl,
        headers: Mapping[str, str],
        body: bytes,
        timeout_s: float,
        max_bytes: int,
    ) -> Answer:
        all_headers = {"Accept-Encoding": "identity", "User-Agent": "matteworks", **headers}
        target = httpcore.URL(
            scheme=address.scheme.encode(), host=address.host.encode(), port=address.port,
            target=address.target.encode(),
        )  # fmt: skip
        try:
            async with (
                asyncio.timeout(timeout_s),
                self._pool.stream(
                    method, target, headers=list(all_headers.items()), content=body
                ) as response,
            ):
                chunks: list[bytes] = []
                size_bytes = 0
                async for chunk in response.aiter_stream():
                    size_bytes += len(chunk)
                    if size_bytes > max_bytes:
                        raise ServerFailed(f"its answer has more than {max_bytes // 1_000_000} MB")
                    chunks.append(chunk)
                return Answer(response.status, b"".join(chunks))
        except (httpcore.TimeoutException, TimeoutError) as error:
            raise TimeoutError from error
        except (
            AddressRefused,
            OSError,
            httpcore.NetworkError,
            httpcore.ProtocolError,
            httpcore.UnsupportedProtocol,
        ) as error:
            raise ServerFailed("it cannot be reached") from error


def multipart_body(parts: Sequence[Part]) -> tuple[str, bytes]:
    """The content type and the body of a form (RFC 7578)."""
    boundary = secrets.token_hex(16)
    pieces: list[bytes] = []
    for part in parts:
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{part.name}"'
        if part.filename:
            head += f'; filename="{part.filename}"\r\nContent-Type: {part.content_type}'
        pieces += [head.encode(), b"\r\n\r\n", part.content, b"\r\n"]
    pieces.append(f"--{boundary}--\r\n".encode())
    return f"multipart/form-data; boundary={boundary}", b"".join(pieces)
