"""`/account`: the closed key set in the recorded order."""

from __future__ import annotations

import pytest

from tests.support.edge_harness import EdgeStack

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize("path", ["/v1.0/account", "/v1/account"])
async def test_balances_come_in_exactly_the_known_keys(edge: EdgeStack, path: str) -> None:
    edge.key = edge.accounts.new_key(credits_milli=49_750, free_calls=50)
    answer = await edge.http.get(path, headers={"X-Api-Key": edge.key})
    assert answer.status_code == 200
    assert answer.text == (
        '{"data":{"attributes":{"credits":{"subscription":49.75,"payg":0,"enterprise":0,"total":49.75},'
        '"api":{"free_calls":50,"sizes":"all"}}}}'
    )
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert answer.headers["etag"].startswith('W/"')


async def test_asking_costs_nothing(edge: EdgeStack) -> None:
    await edge.http.get("/v1.0/account", headers={"X-Api-Key": edge.key})
    assert edge.accounts.calls == ["Authenticate", "GetAccount"]


async def test_a_bad_key_is_403(edge: EdgeStack) -> None:
    answer = await edge.http.get("/v1.0/account", headers={"X-Api-Key": "x"})
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (403, "auth_failed")
