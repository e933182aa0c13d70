"""Pictures by URL: fetched from where that is allowed, and a refusal tells nothing about our network."""

from __future__ import annotations

import asyncio
import gzip
from ipaddress import ip_address

import httpx
import pytest

from matteworks_edge.app import EdgeDependencies
from matteworks_imaging.header import MAX_FILE_BYTES
from tests.support.edge_harness import EdgeStack, Origin, edge_stack, origin, picture

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def by_url(edge: EdgeStack, url: str, **fields: str) -> httpx.Response:
    return await edge.http.post(
        "/v1.0/removebg", data={"image_url": url, **fields}, headers={"X-Api-Key": edge.key}
    )


def told(answer: httpx.Response) -> tuple[int, str, str]:
    error = answer.json()["errors"][0]
    return answer.status_code, error["code"], error["title"]


async def test_a_picture_is_fetched_and_removed(edge: EdgeStack) -> None:
    async with origin() as site:
        answer = await by_url(edge, f"http://127.0.0.1:{site.port}/a b.jpg?x=1#part")
    assert answer.status_code == 200
    assert edge.compositor.requests[-1].image == picture()
    assert site.heads[0].startswith(b"GET /a%20b.jpg?x=1 HTTP/1.1\r\n")
    assert b"accept-encoding: identity" in site.heads[0].lower()
    assert edge.key.encode() not in site.heads[0]


async def test_a_background_is_fetched(edge: EdgeStack) -> None:
    async with origin() as site:
        url = f"http://127.0.0.1:{site.port}/x"
        answer = await by_url(edge, url, bg_image_url=url)
    assert answer.status_code == 200
    assert edge.compositor.requests[-1].options.bg_image == picture()


async def test_a_missing_picture_is_told_as_the_vendor_does(edge: EdgeStack) -> None:
    async def missing(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

    async with origin() as site:
        site.answer = missing
        answer = await by_url(edge, f"http://127.0.0.1:{site.port}/")
        assert told(answer) == (
            400,
            "failed_image_download",
            "Failed to download image from given image_url: HTTP Status 404",
        )
        answer = await edge.remove(bg_image_url=f"http://127.0.0.1:{site.port}/")
    assert told(answer)[:2] == (400, "failed_bg_download")
    assert edge.books.held_milli == edge.books.spent_milli == 0


def redirecting(*locations: str) -> Origin:
    site = Origin()
    remaining = list(locations)

    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        if remaining:
            location = remaining.pop(0).replace("PORT", str(site.port))
            writer.write(
                b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: %b\r\n\r\n" % location.encode()
            )
        else:
            await Origin.serve_picture(head, writer)

    site.answer = answer
    return site


async def redirected(edge: EdgeStack, *locations: str) -> tuple[httpx.Response, Origin]:
    async with origin() as site:
        site.answer = redirecting(*(text.replace("PORT", str(site.port)) for text in locations)).answer
        return await by_url(edge, f"http://127.0.0.1:{site.port}/0"), site


async def test_three_redirects_are_followed(edge: EdgeStack) -> None:
    answer, site = await redirected(edge, "/1", "http://127.0.0.1:PORT/2", "3")
    assert answer.status_code == 200
    assert [head.split()[1] for head in site.heads] == [b"/0", b"/1", b"/2", b"/3"]


async def test_a_fourth_redirect_is_not_followed(edge: EdgeStack) -> None:
    answer, site = await redirected(edge, "/1", "/2", "/3", "/4")
    assert told(answer)[:2] == (400, "failed_image_download")
    assert len(site.heads) == 4


@pytest.mark.parametrize(
    "location",
    [
        "http://10.0.0.1/",
        "http://[::1]/",
        "http://169.254.169.254/latest/meta-data/",
        "file:///etc/passwd",
        "gopher://127.0.0.1/",
        "http://user:pass@127.0.0.1:PORT/",
        "",
    ],
)
async def test_a_redirect_to_a_refused_place_is_not_followed(edge: EdgeStack, location: str) -> None:
    answer, site = await redirected(edge, location)
    if location:
        assert told(answer)[:2] == (400, "failed_image_download")
        assert len(site.heads) == 1
    else:
        assert answer.status_code == 200  # An empty location is the same address again.


async def test_a_body_without_end_is_cut_at_the_limit(edge: EdgeStack) -> None:
    written = 0

    async def endless(head: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"\xff\xd8\xff" * 100_000)
            written += 300_000
            await writer.drain()

    async with origin() as site:
        site.answer = endless
        answer = await by_url(edge, f"http://127.0.0.1:{site.port}/")
    assert told(answer)[:2] == (400, "file_too_large")
    assert written < 2 * MAX_FILE_BYTES


async def test_a_declared_size_above_the_limit_is_refused_unread(edge: EdgeStack) -> None:
    async def large(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (MAX_FILE_BYTES + 1))

    async with origin() as site:
        site.answer = large
        answer = await by_url(edge, f"http://127.0.0.1:{site.port}/")
    assert told(answer)[:2] == (400, "file_too_large")


async def test_nothing_is_decompressed(edge: EdgeStack) -> None:
    async def zipped(head: bytes, writer: asyncio.StreamWriter) -> None:
        body = gzip.compress(picture() + b"\0" * 1_000_000)
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        )

    async with origin() as site:
        site.answer = zipped
        answer = await by_url(edge, f"http://127.0.0.1:{site.port}/")
    assert told(answer)[:2] == (400, "invalid_file_type")


@pytest.mark.parametrize(
    "wire",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000,
        b"",
    ],
    ids=["short", "garbage", "negative", "chunk", "header", "closed"],
)
async def test_a_broken_answer_is_a_failed_download(edge: EdgeStack, wire: bytes) -> None:
    async def broken(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(wire)

    async with origin() as site:
        site.answer = broken
        answer = await by_url(edge, f"http://127.0.0.1:{site.port}/")
    assert told(answer)[:2] == (400, "failed_image_download")


async def test_a_drip_ends_with_the_time() -> None:
    dripping = asyncio.Event()

    async def drip(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n\xff\xd8")
        await writer.drain()
        await dripping.wait()

    async with (
        origin() as site,
        edge_stack(internal_sources="127.0.0.0/8", fetch_timeout_s=0.2) as edge,
    ):
        site.answer = drip
        answer = await by_url(edge, f"http://127.0.0.1:{site.port}/")
        dripping.set()
    assert told(answer)[:2] == (400, "failed_image_download")
    assert told(answer)[2].endswith("Timed out")


async def test_refused_and_unreachable_look_the_same() -> None:
    async with origin() as site:
        closed_port = site.port
    async with edge_stack() as guarded, origin() as inside:
        refused = await by_url(guarded, f"http://127.0.0.1:{inside.port}/")
    assert not inside.heads
    async with edge_stack(internal_sources="127.0.0.0/8") as open_edge:
        unreachable = await by_url(open_edge, f"http://127.0.0.1:{closed_port}/")
    assert told(refused) == told(unreachable)
    assert refused.content == unreachable.content


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "localhost", "localhost.", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254",
        "100.64.0.1", "0.0.0.0", "[::1]",  # noqa: S104
        "[::]", "[fc00::1]", "[fe80::1]", "[::ffff:127.0.0.1]",
        "[::127.0.0.1]", "[2002:7f00:1::]", "[64:ff9b::7f00:1]", "[64:ff9b:1::a00:1]",
        "[2001:0:7f00:1::]", "[2a00::5efe:7f00:1]", "[ff02::1]", "224.0.0.1", "255.255.255.255",
        "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "[fec0::1]",
    ],
)  # fmt: skip
@pytest.mark.parametrize("field", ["image_url", "bg_image_url"])
async def test_no_address_inside_is_ever_connected_to(
    guarded: EdgeStack, inside: Origin, host: str, field: str
) -> None:
    url = f"http://{host}:{inside.port}/"
    if field == "image_url":
        answer = await by_url(guarded, url)
    else:
        answer = await guarded.remove(bg_image_url=url)
    assert told(answer)[1] in ("failed_image_download", "failed_bg_download")
    assert not inside.heads


@pytest.mark.parametrize(
    "url", ["http://u:p@127.0.0.1/", "file:///etc/passwd", "gopher://x/", "http://", "x"]
)
async def test_what_is_no_web_address_is_an_invalid_url(guarded: EdgeStack, url: str) -> None:
    answer = await by_url(guarded, url)
    assert told(answer)[:2] == (400, "invalid_image_url")


async def test_an_odd_port_is_refused() -> None:
    async with (
        origin() as site,
        edge_stack(internal_sources="127.0.0.0/8", fetch_ports="80,443") as edge,
    ):
        answer = await by_url(edge, f"http://127.0.0.1:{site.port}/")
    assert told(answer)[:2] == (400, "failed_image_download")
    assert not site.heads


async def test_a_name_with_one_private_answer_is_refused() -> None:
    async def mixed(host: str, port: int) -> list[object]:
        return [ip_address("93.184.215.14"), ip_address("127.0.0.1")]

    async with origin() as site, edge_stack(EdgeDependencies(resolver=mixed)) as edge:  # type: ignore[arg-type]
        answer = await by_url(edge, f"http://mixed.example:{site.port}/")
    assert told(answer)[:2] == (400, "failed_image_download")
    assert not site.heads


async def test_a_name_is_resolved_once_and_the_judged_address_is_used() -> None:
    judged: list[tuple[str, str]] = []
    answers = [["127.0.0.1"], ["127.0.0.2"]]

    async def rebinding(host: str, port: int) -> list[object]:
        return [ip_address(text) for text in answers.pop(0)]

    class Judge:
        def allows(self, address: object, host: str = "") -> bool:
            judged.append((str(address), host))
            return True

    deps = EdgeDependencies(resolver=rebinding, judge=Judge())  # type: ignore[arg-type]
    async with origin() as site, edge_stack(deps) as edge:
        answer = await by_url(edge, f"http://rebinding.example:{site.port}/")
    assert answer.status_code == 200
    assert judged == [("127.0.0.1", "rebinding.example")]
    assert len(answers) == 1
    assert b"rebinding.example" in site.heads[0]
