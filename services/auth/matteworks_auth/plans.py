"""Plans: what an account may, read from a TOML file once."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_common.errors import NotFound
from matteworks_common.settings import SettingsError


@dataclass(frozen=True, slots=True)
class Plan:
    """Limits of one plan; 0 is unlimited, except for `free_calls_per_month`."""

    name: str
    megapixels_per_minute: int
    concurrent_requests: int
    requests_per_day: int
    requests_per_month: int
    starting_credits_milli: int
    free_calls_per_month: int


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
    """Read `path`. Raises SettingsError that names the plan and the entry at fault."""
    try:
        document = tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path}: {error}") from error
    names = [f.name for f in fields(Plan) if f.name != "name"]
    plans: dict[str, Plan] = {}
    problems: list[str] = []
    for name, entries in document.get("plans", {}).items():
        wrong = sorted(set(entries) ^ set(names))
        wrong += [n for n in names if n in entries and (type(entries[n]) is not int or entries[n] < 0)]
        if wrong:
            problems.append(
                f"plan {name!r}: give {', '.join(wrong)} as whole numbers of 0 or more, no other entry"
            )
            continue
        # A 50 MP picture must be able to pass, else it could never be served.
        if 0 < entries["megapixels_per_minute"] < 50:
            problems.append(f"plan {name!r}: megapixels_per_minute must be 0 or at least 50")
        plans[name] = Plan(name=name, **entries)
    default = document.get("default", "")
    if default not in plans:
        problems.append(f"default = {default!r} names no plan")
    if problems:
        raise SettingsError(f"{path}:\n" + "\n".join(problems))
    return Plans(plans, default)
