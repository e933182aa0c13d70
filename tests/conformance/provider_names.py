"""What each provider's API consists of, as data: names of paths, fields, values, headers and codes."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.conformance.runner import Case

FOLDER = Path(__file__).parent / "providers"
PROVIDERS = tuple(path.stem for path in sorted(FOLDER.glob("*.yaml")))


@dataclass(frozen=True)
class Entry:
    """Names that belong together. `elsewhere` names the proof where no case can be one."""

    provider: str
    names: tuple[str, ...]
    vendor: str
    ours: str
    mark: str
    elsewhere: str

    @property
    def id(self) -> str:
        return f"{self.provider}: {self.names[0]}"


def entries_of(provider: str) -> list[Entry]:
    """The list of one provider, in the order of its file."""
    return [
        Entry(
            provider,
            tuple(map(str, entry["names"])),
            entry["vendor"],
            entry.get("ours", "the same"),
            entry["mark"],
            entry.get("elsewhere", ""),
        )
        for entry in yaml.safe_load((FOLDER / f"{provider}.yaml").read_text())
    ]


def uses(cases: Sequence[Case], provider: str, name: str) -> list[str]:
    """The cases of the provider whose request or expectation has `name` as a whole word."""
    pattern = re.compile(rf"(?<![\w/-]){re.escape(name)}(?![\w-])" if name[-1] != "/" else re.escape(name))
    return [
        case.id
        for case in cases
        if case.feature == provider and pattern.search(json.dumps([case.request, case.expect]))
    ]
