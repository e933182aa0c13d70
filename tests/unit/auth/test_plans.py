"""The plans file is read whole or refused with the place at fault."""

from __future__ import annotations

from pathlib import Path

import pytest

import matteworks_auth
from matteworks_auth.rules.plans import Plan, load_plans
from matteworks_common.errors import NotFound
from matteworks_common.settings import SettingsError

PACKAGED = Path(str(matteworks_auth.__file__)).with_name("plans.toml")
NEEDED = (
    "megapixels_per_minute = 100\nconcurrent_requests = 1\nrequests_per_day = 0\nrequests_per_month = 0\n"
    "starting_credits_milli = 0\nfree_calls_per_month = 0\n"
)


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


@pytest.mark.parametrize(
    ("plan", "requests_per_minute", "requests_per_day", "max_file_mb", "retention_hours"),
    [
        ("bgremover-free", 10, 50, 10, 24),
        ("bgremover-pro", 60, 1000, 25, 7 * 24),
        ("bgremover-enterprise", 200, 0, 50, 30 * 24),
        ("bgeraser-free", 10, 10, 0, 24),
        ("bgeraser-business-1k", 100, 0, 0, 24),
        ("bgeraser-business-3k", 100, 0, 0, 24),
        ("bgeraser-business-10k", 200, 0, 0, 24),
    ],
)
def test_the_packaged_plans_promise_what_their_providers_do(
    plan: str, requests_per_minute: int, requests_per_day: int, max_file_mb: int, retention_hours: int
) -> None:
    found = load_plans(PACKAGED).find(plan)
    assert found.requests_per_minute == requests_per_minute
    assert found.requests_per_day == requests_per_day
    assert found.max_file_mb == max_file_mb
    assert found.retention_hours == retention_hours


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ("requests_per_minute = 0", "requests_per_minute must be a whole number from 1"),
        ("max_batch_items = 0", "max_batch_items must be a whole number from 1"),
        ("monthly_credits_milli = 1_000_000_000_001", "monthly_credits_milli must be a whole number"),
        ("free_calls_per_day = true", "free_calls_per_day must be a whole number"),
        ('display_name = ""', "display_name must be a text"),
        ("colour = 1", "unknown entry 'colour'"),
    ],
)
def test_an_entry_out_of_its_range_is_told(tmp_path: Path, entry: str, told: str) -> None:
    path = tmp_path / "plans.toml"
    path.write_text(f'default = "a"\n[plans.a]\n{NEEDED}{entry}\n')
    with pytest.raises(SettingsError, match=told):
        load_plans(path)


def test_a_file_of_the_first_release_is_still_read(tmp_path: Path) -> None:
    path = tmp_path / "plans.toml"
    path.write_text(f'default = "a"\n[plans.a]\n{NEEDED}')
    plan = load_plans(path).find("")
    assert (plan.requests_per_minute, plan.monthly_credits_milli, plan.display_name) == (60, 0, "a")


@pytest.mark.parametrize(
    ("a_day", "a_month", "used", "left"),
    [
        (0, 0, (0, 0), 0),
        (0, 5, (3, 3), 2),
        (2, 0, (1, 9), 1),
        (2, 5, (0, 4), 1),
        (2, 5, (2, 3), 0),
        (2, 5, (3, 6), 0),
    ],
)
def test_free_calls_are_bounded_by_day_and_month(
    a_day: int, a_month: int, used: tuple[int, int], left: int
) -> None:
    plan = Plan("p", 500, 0, 0, 0, 0, a_month, free_calls_per_day=a_day)
    assert plan.free_calls_left(*used) == left
