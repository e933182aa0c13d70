"""Fetches a picture from outside without becoming a way inside.

Every connection goes through `GuardedBackend`: it resolves the name itself, asks the judge about every
answer, and connects to an address that was judged, so a name cannot change its mind in between. Redirects
are followed by hand and judged again. Nothing is decompressed, so nothing can inflate. What was refused
and what does not answer look the same to the caller.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import httpcore
import structlog

from matteworks_imaging.header import MAX_FILE_BYTES, check_file_size
from matteworks_outbound.addresses import Address, AddressJudge, parse_address
from matteworks_outbound.urls import PictureUrl

Resolver = Callable[[str, int], Awaitable[Sequence[Address]]]

MAX_REDIRECTS: Final = 3
_MAX_ADDRESSES_TRIED: Final = 3
_REDIRECTS: Final = (301, 302, 303, 307, 308)
# One text for everything up to the connection: a refused address must not differ from a dead host.
UNREACHABLE: Final = "Host could not be reached"
log = structlog.get_logger()


class FetchError(Exception):
    """A picture could not be fetched. `cause` is for the caller and tells nothing about our network."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


class AddressRefused(Exception):
    """The judge said no; told to the caller as UNREACHABLE."""


class SystemResolver:
    """The machine's resolver, in threads of its own so that a slow name server blocks nobody else."""

    def __init__(self, threads: int = 8) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="resolve")

    async def __call__(self, host: str, port: int) -> Sequence[Address]:
        """All addresses of `host`. Raises OSError."""
        found = await asyncio.get_running_loop().run_in_executor(
            self._executor, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        )
        addresses = (parse_address(str(entry[4][0])) for entry in found)
        return [address for address in addresses if address is not None]

    def close(self) -> None:
        """Stop the threads; a lookup under way is not waited for."""
        self._executor.shutdown(wait=False, cancel_futures=True)


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """Connects to judged addresses only. If any answer for a name is refused, the name is."""

    def __init__(
        self, resolve: Resolver, judge: AddressJudge, *, dns_timeout_s: float, connect_timeout_s: float
    ) -> None:
        self._resolve = resolve
        self._judge = judge
        self._dns_timeout_s = dns_timeout_s
        self._connect_timeout_s = connect_timeout_s
        self._backend = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        addresses = await self._judged(host, port)
        failure: Exception = httpcore.ConnectError("no address")
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                for address in addresses[:_MAX_ADDRESSES_TRIED]:
                    try:
                        return await self._backend.connect_tcp(str(address), port)
                    except (httpcore.ConnectError, OSError) as error:
                        failure = error
        except TimeoutError as error:
            raise httpcore.ConnectTimeout("connecting took too long") from error
        raise failure

    async def _judged(self, host: str, port: int) -> Sequence[Address]:
        literal = parse_address(host)
        if literal is not None:
            addresses: Sequence[Address] = [literal]
        else:
            try:
                async with asyncio.timeout(self._dns_timeout_s):
                    addresses = await self._resolve(host, port)
            except TimeoutError as error:
                raise httpcore.ConnectTimeout("resolving took too long") from error
            except (OSError, UnicodeError) as error:
                raise httpcore.ConnectError("the name does not resolve") from error
        if not addresses:
            raise httpcore.ConnectError("the name has no address")
        if not all(self._judge.allows(address, host) for address in addresses):
            raise AddressRefused(host)
        return addresses


class GuardedFetcher:
    """Fetches pictures by http and https. Keeps no connection open between two fetches.

    `count` is told the outcome of each: ok, refused, timeout, address_refused, unreachable or broken.
    """

    def __init__(
        self,
        backend: httpcore.AsyncNetworkBackend,
        count: Callable[[str], None],
        *,
        timeout_s: float,
        ports: frozenset[int] | None,
        max_connections: int = 64,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=ssl_context or ssl.create_default_context(),
            max_connections=max_connections,
            max_keepalive_connections=0,
            network_backend=backend,
        )
        self._count = count
        self._timeout_s = timeout_s
        self._ports = ports

    async def fetch(
        self, url: PictureUrl, account_for: Callable[[int], None], max_bytes: int = MAX_FILE_BYTES
    ) -> bytes:
        """The bytes at `url`, at most `max_bytes`, within the total time.

        `account_for` is told of bytes before they are kept, and may refuse them. Raises FetchError, and
        InvalidPicture (FILE_TOO_LARGE).
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                content = await self._follow(url, account_for, max_bytes)
        except FetchError:
            self._count("refused")
            raise
        except TimeoutError as error:
            self._count("timeout")
            raise FetchError("Timed out") from error
        except AddressRefused as error:
            log.info("fetch_refused", host=url.host)
            self._count("address_refused")
            raise FetchError(UNREACHABLE) from error
        except (httpcore.ConnectError, httpcore.ConnectTimeout, OSError) as error:
            self._count("unreachable")
            raise FetchError(UNREACHABLE) from error
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException) as error:
            self._count("broken")
            raise FetchError("The server's answer is broken") from error
        self._count("ok")
        return content

    async def aclose(self) -> None:
        """Close what is open."""
        await self._pool.aclose()

    async def _follow(self, url: PictureUrl, account_for: Callable[[int], None], max_bytes: int) -> bytes:
        for _ in range(MAX_REDIRECTS + 1):
            if self._ports is not None and url.port not in self._ports:
                raise FetchError(UNREACHABLE)
            answer = await self._get(url, account_for, max_bytes)
            if isinstance(answer, bytes):
                return answer
            target = url.follow(answer)
            if target is None:
                raise FetchError("The server redirects to an address that is not allowed")
            url = target
        raise FetchError("Too many redirects")

    async def _get(self, url: PictureUrl, account_for: Callable[[int], None], max_bytes: int) -> bytes | str:
        """The body, or the location of a redirect."""
        target = httpcore.URL(
            scheme=url.scheme.encode(), host=url.host.encode(), port=url.port, target=url.target.encode()
        )
        headers = (
            ("Accept", "image/png, image/jpeg, image/webp, */*;q=0.5"),
            ("Accept-Encoding", "identity"),
            ("User-Agent", "matteworks-fetcher"),
        )
        async with self._pool.stream("GET", target, headers=headers) as response:
            if response.status in _REDIRECTS:
                return _header(response, b"location")
            if response.status != 200:
                raise FetchError(f"HTTP Status {response.status}")
            declared = _header(response, b"content-length")
            if declared.isascii() and declared.isdecimal() and len(declared) < 16:
                check_file_size(int(declared), max_bytes)
            chunks: list[bytes] = []
            size_bytes = 0
            async for chunk in response.aiter_stream():
                size_bytes += len(chunk)
                check_file_size(size_bytes, max_bytes)
                account_for(len(chunk))
                chunks.append(chunk)
            return b"".join(chunks)


def _header(response: httpcore.Response, name: bytes) -> str:
    for key, value in response.headers:
        if key.lower() == name:
            return value.decode("latin-1")
    return ""
