"""Every field, header and code of every provider is in a list, and every one in the list is in a case."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import yaml

from tests.conformance.provider_names import PROVIDERS, Entry, entries_of, uses
from tests.conformance.runner import load_cases

CASES = load_cases()
# Sections of the reference by how their headings begin, and whose names they have.
_SECTIONS = {
    "1. bgeraser `/v1/removebg`": "bgeraser",
    "2. bgeraser tools": "bgeraser-tools",
    "3. bgremover": "bgremover",
    "4. BackgroundErase": "backgrounderase",
    "5.1 Photoroom": "photoroom",
    "5.2 ClipDrop": "clipdrop",
    "5.3 Slazzer": "slazzer",
    "5.4 Picsart": "picsart",
}
_REFERENCE = "MATTEWORKS_PROVIDER_REFERENCE"


@pytest.mark.parametrize(
    "entry", [entry for provider in PROVIDERS for entry in entries_of(provider)], ids=lambda entry: entry.id
)
def test_every_name_is_in_a_case(entry: Entry) -> None:
    if entry.elsewhere:
        return
    unused = [name for name in entry.names if not uses(CASES, entry.provider, name)]
    assert not unused, f"no case of {entry.provider} names {unused}"


def test_every_provider_with_cases_of_its_own_has_a_list() -> None:
    assert set(PROVIDERS) <= {case.feature for case in CASES}


def reference_names(section: str) -> set[str]:
    """What the text writes as code: words in backticks, and the keys of its JSON samples."""
    names = {
        name
        for block in re.findall(r"```json\n(.*?)```", section, re.DOTALL)
        for name in re.findall(r'"([A-Za-z_]\w*)"\s*:', block)
    }
    for code in re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", section, flags=re.DOTALL)):
        names |= set(re.findall(r"[A-Za-z][\w-]*", code))
    return names


def section_of(texts: list[str], heading: str) -> str:
    """The section under a heading of the second or third level, with what lies below it."""
    for mark in ("##", "###"):
        for text in texts:
            for section in re.split(rf"^{mark} ", text, flags=re.MULTILINE):
                if section.startswith(heading):
                    return section
    raise AssertionError(f"the reference has no section {heading!r}")


@pytest.mark.parametrize("heading", _SECTIONS)
def test_every_name_of_the_reference_is_in_the_list(heading: str) -> None:
    paths = os.environ.get(_REFERENCE, "")
    if not paths:
        pytest.skip(f"{_REFERENCE} names no reference texts")
    texts = [Path(path).read_text() for path in paths.split(os.pathsep)]
    provider = _SECTIONS[heading]
    listed = {name for entry in entries_of(provider) for name in entry.names}
    words = {part for name in listed for part in re.findall(r"[A-Za-z][\w-]*", name)} | listed
    known = {word.lower() for word in words}
    no_names = yaml.safe_load((Path(__file__).parent / "no_names.yaml").read_text())
    prose = {*no_names["everywhere"], *no_names[provider]}
    names = reference_names(section_of(texts, heading)) - prose
    assert not sorted(name for name in names if name.lower() not in known)
