"""Plans: what an account may, read from a TOML file once."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_auth.quota import MAX_LIMIT
from matteworks_common.errors import NotFound
from matteworks_common.settings import SettingsError

# A picture of 50 megapixels must be able to pass, else it could never be served.
MIN_MEGAPIXELS_PER_MINUTE = 50
MAX_ENTRY = 10**15


@dataclass(frozen=True, slots=True)
class Plan:
    """Limits of one plan. Requests a day, a month and at once: 0 is unlimited."""

    name: str
    megapixels_per_minute: int
    concurrent_requests: int
    requests_per_day: int
    requests_per_month: int
    starting_credits_milli: int
    free_calls_per_month: int
    retention_hours: int = 24


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
            plans[name] = Plan(name=name, **entries)
    default = document.get("default")
    if default not in tables:
        problems.append(f"default = {default!r} names no plan")
    if problems:
        raise SettingsError(f"{path}:\n" + "\n".join(problems))
    return Plans(plans, str(default))


def _faults(entries: object) -> list[str]:
    if not isinstance(entries, dict):
        return ["must be a table"]
    names = [entry.name for entry in fields(Plan) if entry.name != "name"]
    faults = [f"{name} is missing" for name in names if name not in entries]
    faults += [f"unknown entry {name!r}" for name in sorted(set(entries) - set(names))]
    for name in names:
        value = entries.get(name, 0)
        if type(value) is not int or not 0 <= value <= MAX_ENTRY:
            faults.append(f"{name} must be a whole number from 0 to 10^15")
    limit = entries.get("megapixels_per_minute")
    if isinstance(limit, int) and not MIN_MEGAPIXELS_PER_MINUTE <= limit <= MAX_LIMIT:
        faults.append(f"megapixels_per_minute must be from {MIN_MEGAPIXELS_PER_MINUTE} to {MAX_LIMIT}")
    return faults
