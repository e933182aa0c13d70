"""The document and its page are served from here, complete."""

from __future__ import annotations

import pytest

from tests.support.edge_harness import EdgeStack

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_the_page_and_all_its_parts_are_served(edge: EdgeStack) -> None:
    page = await edge.http.get("/docs")
    assert page.status_code == 200
    parts = [part.split('"')[0] for part in page.text.split('="/docs/')[1:]]
    assert len(parts) == 4
    for part in parts:
        assert (await edge.http.get(f"/docs/{part}")).status_code == 200
    assert "http" not in page.text.replace("https://www.w3.org", "")


async def test_the_document_is_served(edge: EdgeStack) -> None:
    answer = await edge.http.get("/openapi.json")
    assert answer.json()["openapi"] == "3.1.0"


@pytest.mark.parametrize("name", ["..%2fsecrets", "index.j2", "nothing"])
async def test_nothing_else_of_the_package_is_served(edge: EdgeStack, name: str) -> None:
    answer = await edge.http.get(f"/docs/{name}")
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (404, "not_found")
