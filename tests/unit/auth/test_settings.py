"""Wrong settings are told by the variable's name; secrets are not printed."""

from __future__ import annotations

import pytest

from matteworks_auth.settings import AuthSettings
from matteworks_common.settings import SettingsError, load_settings


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MATTEWORKS_AUTH_KEY_PEPPER", "pepper-of-the-tests")
    monkeypatch.setenv("MATTEWORKS_AUTH_ADMIN_TOKEN", "token-of-the-tests-0")


def test_the_secrets_are_enough_to_start() -> None:
    assert load_settings(AuthSettings).store_url.startswith("redis://")


@pytest.mark.parametrize("name", ["KEY_PEPPER", "ADMIN_TOKEN"])
def test_a_missing_secret_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(f"MATTEWORKS_AUTH_{name}")
    with pytest.raises(SettingsError, match=f"MATTEWORKS_AUTH_{name}"):
        load_settings(AuthSettings)


def test_a_store_of_another_kind_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MATTEWORKS_AUTH_STORE_URL", "postgres://somewhere")
    with pytest.raises(SettingsError, match="MATTEWORKS_AUTH_STORE_URL"):
        load_settings(AuthSettings)


def test_secrets_are_not_printed() -> None:
    assert "of-the-tests" not in repr(load_settings(AuthSettings))
