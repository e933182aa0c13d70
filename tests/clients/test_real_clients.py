"""Clients that we did not write, unmodified but for the URL, against the whole stack."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image, ImageDraw

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


def test_pyclipdrop_cleans_up_and_uncrops(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = next(client for client in CLIENTS if client.name == "pyclipdrop")
    mask = Image.new("L", (512, 512))
    ImageDraw.Draw(mask).ellipse((20, 20, 80, 80), fill=255)
    mask.save(tmp_path / "mask.png")
    monkeypatch.setenv("MASK", str(tmp_path / "mask.png"))

    with Image.open(bench.use(client, "cleanup").output) as cleaned:
        assert (cleaned.format, cleaned.size) == ("PNG", (512, 512))
    with Image.open(bench.use(client, "uncrop").output) as larger:
        assert (larger.format, larger.size) == ("JPEG", (552, 532))


def test_pyclipdrop_upscales(
    bench: Bench, small_photo: Path, upscaler_weights: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = next(client for client in CLIENTS if client.name == "pyclipdrop")
    monkeypatch.setenv("SMALL", str(small_photo))

    with Image.open(bench.use(client, "upscale").output) as larger:
        assert (larger.format, larger.size) == ("JPEG", (96, 60))
