"""Clients that we did not write, unmodified but for the URL, against the whole stack."""

from __future__ import annotations

import pytest

from tests.clients.conftest import WRONG_KEY, Bench, open_cutout
from tests.clients.installs import CLIENTS, INSTALL_TIMEOUT_S, Client

pytestmark = [pytest.mark.stack, pytest.mark.clients, pytest.mark.timeout(2 * INSTALL_TIMEOUT_S + 120)]

every_client = pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
clients_with_account_call = pytest.mark.parametrize(
    "client", [client for client in CLIENTS if client.has_account_call], ids=lambda client: client.name
)


@every_client
def test_it_removes_a_background(client: Client, bench: Bench) -> None:
    outcome = bench.use(client, "remove")

    assert open_cutout(outcome.output.read_bytes()).width in (500, 512)


@every_client
def test_it_tells_its_user_about_an_error(client: Client, bench: Bench) -> None:
    outcome = bench.use(client, "error", key=WRONG_KEY)

    assert "403" in str(outcome.facts["error"]) or "API Key invalid" in str(outcome.facts["error"])
    assert not outcome.output.exists()


@clients_with_account_call
def test_it_reads_the_balance(client: Client, bench: Bench) -> None:
    outcome = bench.use(client, "account")

    assert float(str(outcome.facts["credits"]).replace(",", "")) > 0


def test_json_mode_gives_headers_and_body(bench: Bench) -> None:
    client = next(client for client in CLIENTS if client.name == "remove.bg")

    facts = bench.use(client, "remove").facts

    assert facts["creditsCharged"] == "1"
    assert facts["detectedType"] == "person"
    assert (facts["resultWidth"], facts["resultHeight"]) == ("512", "512")
    assert all(str(facts[name]).isdigit() for name in ("rateLimit", "rateLimitRemaining", "rateLimitReset"))
