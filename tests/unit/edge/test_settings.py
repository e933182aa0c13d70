"""Settings are refused as a whole, with names and remedies."""

from __future__ import annotations

import pytest

from matteworks_common.settings import SettingsError, load_settings
from matteworks_edge.providers import PROVIDERS
from matteworks_edge.settings import DIALECT_NAMES, EdgeSettings


def test_the_defaults_are_valid() -> None:
    settings = load_settings(EdgeSettings)
    assert settings.fetch_port_set == {80, 443, 8080, 8443}
    assert not settings.collect_submissions


def test_the_names_are_those_of_the_providers() -> None:
    assert [dialect.name for dialect in PROVIDERS] == list(DIALECT_NAMES)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DISABLED_DIALECTS", "photoroom,removebg"),
        ("DIALECT_HOSTS", "api.example.com=nobody"),
        ("DIALECT_HOSTS", "=photoroom"),
        ("DIALECT_HOSTS", "api.example.com"),
    ],
)
def test_unknown_providers_are_refused_with_the_known_ones(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"MATTEWORKS_EDGE_{name}", value)
    with pytest.raises(SettingsError, match=r"remove\.bg, bgeraser, bgeraser-tools, openai, bgremover"):
        load_settings(EdgeSettings)


def test_every_port_can_be_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MATTEWORKS_EDGE_FETCH_PORTS", "*")
    assert load_settings(EdgeSettings).fetch_port_set is None


def test_all_problems_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MATTEWORKS_EDGE_FETCH_PORTS", "80,x")
    monkeypatch.setenv("MATTEWORKS_EDGE_INTERNAL_SOURCES", "10.0.0.1/8")
    monkeypatch.setenv("MATTEWORKS_EDGE_RECEIVE_TIMEOUT_S", "-1")
    with pytest.raises(SettingsError) as caught:
        load_settings(EdgeSettings)
    message = str(caught.value)
    assert "MATTEWORKS_EDGE_FETCH_PORTS" in message
    assert "MATTEWORKS_EDGE_INTERNAL_SOURCES" in message
    assert "MATTEWORKS_EDGE_RECEIVE_TIMEOUT_S" in message
