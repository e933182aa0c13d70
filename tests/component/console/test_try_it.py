"""The page to try, as the server makes it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from matteworks_console.security.headers import SECURITY_HEADERS
from tests.component.console.conftest import Serve

KEY = "mw_live_visitors_key"


@pytest.mark.parametrize("path", ["/", "/console/try/call", "/console/nothing", "/console/static/0/site.css"])
async def test_every_answer_forbids_foreign_scripts_and_frames(serve: Serve, path: str) -> None:
    async with serve() as client:
        answer = await client.get(path)

    assert {name: answer.headers.get(name) for name in SECURITY_HEADERS} == SECURITY_HEADERS
    policy = answer.headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy


async def test_no_page_has_scripts_or_styles_of_its_own(serve: Serve) -> None:
    async with serve() as client:
        page = (await client.get("/")).text

    assert re.findall(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=", page) == []
    assert re.findall(r'(?:src|href)="(?!/)(?!#)', page) == []


async def test_the_key_of_visitors_is_read_anew_for_every_page(serve: Serve, tmp_path: Path) -> None:
    file = tmp_path / "key"
    async with serve(browser_key_file=str(file)) as client:
        without = (await client.get("/")).text
        file.write_text(KEY + "\n")
        with_key = (await client.get("/")).text

    assert 'id="key"' in without
    assert f'data-key="{KEY}"' in with_key
    assert 'id="key"' not in with_key


async def test_switched_off_it_leads_to_the_console(serve: Serve) -> None:
    async with serve(try_it=False) as client:
        answer = await client.get("/")

    assert (answer.status_code, answer.headers["location"]) == (303, "/console")


async def test_a_strange_host_header_gets_into_no_program(serve: Serve) -> None:
    async with serve() as client:
        page = (await client.get("/", headers={"Host": "evil.example/$(id)"})).text

    assert "$(id)" not in page
    assert "https://your-host.example/v1.0/removebg" in page


async def test_programs_call_the_public_address(serve: Serve) -> None:
    async with serve(public_url="https://cutouts.example") as client:
        part = (await client.get("/console/try/call", params={"language": "python"})).text

    assert "https://cutouts.example/v1.0/removebg" in part


async def test_files_may_be_kept_forever_only_under_their_own_digest(serve: Serve) -> None:
    async with serve() as client:
        url = re.search(r'href="([^"]+/site\.css)"', (await client.get("/")).text)
        assert url is not None
        own = await client.get(url[1])
        other = await client.get("/console/static/0/site.css")

    assert "immutable" in own.headers["Cache-Control"]
    assert own.headers["Content-Encoding"] == "gzip"
    assert other.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("name", ["../settings.py", "..%2fsettings.py", "%2e%2e/settings.py", "nothing.css"])
async def test_nothing_but_the_pages_files_is_served(serve: Serve, name: str) -> None:
    async with serve() as client:
        answer = await client.get(f"/console/static/0/{name}")

    assert answer.status_code == 404
    assert "ConsoleSettings" not in answer.text


async def test_an_unknown_page_says_so_in_words(serve: Serve) -> None:
    async with serve() as client:
        answer = await client.get("/console/nothing")

    assert answer.status_code == 404
    assert "There is nothing here" in answer.text
