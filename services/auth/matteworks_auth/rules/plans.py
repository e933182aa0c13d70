"""Plans: what an account may, read from a TOML file once."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_auth.rules.quota import MAX_LIMIT
from matteworks_common.errors import NotFound
from matteworks_common.settings import SettingsError

# A picture of 50 megapixels must be able to pass, else it could never be served.
MIN_MEGAPIXELS_PER_MINUTE = 50
MAX_ENTRY = 10**15
MAX_NAME_LENGTH = 64
# Beyond the general range: what each of these would break outside its own.
_RANGES = {
    "megapixels_per_minute": (MIN_MEGAPIXELS_PER_MINUTE, MAX_LIMIT),
    "requests_per_minute": (1, MAX_LIMIT),
    "max_batch_items": (1, 10_000),
    # Sums of an account stay exact for thousands of months.
    "monthly_credits_milli": (0, 10**12),
    "retention_hours": (0, 10 * 366 * 24),
    "max_file_mb": (0, 1024),
}


@dataclass(frozen=True, slots=True)
class Plan:
    """Limits of one plan. Requests a day, a month and at once: 0 is unlimited.

    `max_file_mb` in units of 1,048,576 bytes; 0: as the dialect says. `monthly_credits_milli`: what the
    subscription is set to when a month begins; 0: it is not renewed. Free calls: 0 of both is none.
    """

    name: str
    megapixels_per_minute: int
    concurrent_requests: int
    requests_per_day: int
    requests_per_month: int
    starting_credits_milli: int
    free_calls_per_month: int
    retention_hours: int = 24
    requests_per_minute: int = 60
    free_calls_per_day: int = 0
    monthly_credits_milli: int = 0
    max_file_mb: int = 0
    max_batch_items: int = 20
    display_name: str = ""

    def free_calls_left(self, used_today: int, used_this_month: int) -> int:
        """Free calls that remain, by the day's or the month's bound, whichever is less."""
        bounds = [(self.free_calls_per_day, used_today), (self.free_calls_per_month, used_this_month)]
        return min((max(0, bound - used) for bound, used in bounds if bound), default=0)


@dataclass(frozen=True, slots=True)
class Plans:
    """All plans, and the one that a new account gets unless it names another."""

    by_name: Mapping[str, Plan]
    default: str

    def find(self, name: str) -> Plan:
        """The plan `name`, or the default for an empty name. Raises NotFound."""
        try:
            return self.by_name[name or self.default]
        except KeyError:
            known = ", ".join(sorted(self.by_name))
            raise NotFound(
                reasons.ERROR_REASON_PLAN_NOT_FOUND,
                f"There is no such plan; the plans are {known}.",
                field="plan",
                metadata={"plan": name},
            ) from None

    def monthly_credits_milli(self) -> dict[str, int]:
        """By name, of the plans that are renewed."""
        return {
            plan.name: plan.monthly_credits_milli
            for plan in self.by_name.values()
            if plan.monthly_credits_milli
        }


def load_plans(path: Path) -> Plans:
    """Read `path`. Raises SettingsError that names each plan and entry at fault."""
    try:
        document = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path}: {error}") from error
    problems = [f"unknown entry {name!r}" for name in sorted(set(document) - {"default", "plans"})]
    tables = document.get("plans")
    plans: dict[str, Plan] = {}
    if not isinstance(tables, dict):
        problems.append("give at least one table [plans.NAME]")
        tables = {}
    for name, entries in tables.items():
        faults = _faults(entries)
        problems += [f"plan {name!r}: {fault}" for fault in faults]
        if not faults:
            plans[name] = Plan(name=name, **{"display_name": name, **entries})
    default = document.get("default")
    if default not in tables:
        problems.append(f"default = {default!r} names no plan")
    if problems:
        raise SettingsError(f"{path}:\n" + "\n".join(problems))
    return Plans(plans, str(default))


def _faults(entries: object) -> list[str]:
    if not isinstance(entries, dict):
        return ["must be a table"]
    known = {entry.name: entry for entry in fields(Plan) if entry.name != "name"}
    faults = [
        f"{name} is missing"
        for name, entry in known.items()
        if name not in entries and entry.default is MISSING
    ]
    faults += [f"unknown entry {name!r}" for name in sorted(set(entries) - set(known))]
    for name, value in entries.items():
        if name == "display_name":
            if not (isinstance(value, str) and 0 < len(value) <= MAX_NAME_LENGTH):
                faults.append(f"display_name must be a text of 1 to {MAX_NAME_LENGTH} characters")
        elif name in known:
            low, high = _RANGES.get(name, (0, MAX_ENTRY))
            if type(value) is not int or not low <= value <= high:
                faults.append(f"{name} must be a whole number from {low} to {high}")
    return faults
