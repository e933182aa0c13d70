"""The plans file is read whole or refused with the place at fault."""

from __future__ import annotations

from pathlib import Path

import pytest

import matteworks_auth
from matteworks_auth.rules.plans import load_plans
from matteworks_common.errors import NotFound
from matteworks_common.settings import SettingsError

PACKAGED = Path(str(matteworks_auth.__file__)).with_name("plans.toml")


def test_the_packaged_plans_are_valid() -> None:
    plans = load_plans(PACKAGED)
    assert plans.find("").name == plans.default
    assert {"starter", "team", "development"} <= set(plans.by_name)


def test_an_unknown_plan_is_not_found_and_the_known_ones_are_named() -> None:
    with pytest.raises(NotFound, match="starter"):
        load_plans(PACKAGED).find("gold")


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "plans.toml"
    path.write_text(
        'default = "x"\n[plans.a]\nmegapixels_per_minute = 10\nconcurrent_requests = 1\n'
        "requests_per_day = 0\nrequests_per_month = 0\nstarting_credits_milli = 0\nfree_calls_per_month = 0\n"
        "[plans.b]\nmegapixels_per_minute = -1\n"
    )
    with pytest.raises(SettingsError) as caught:
        load_plans(path)
    for part in ("'a'", "from 50 to", "'b'", "concurrent_requests", "'x' names no plan"):
        assert part in str(caught.value)
