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
# Sections of the reference by its headings, and whose names they have.
_SECTIONS = {
    "1. bgeraser `/v1/removebg`": "bgeraser",
    "2. bgeraser tools": "bgeraser-tools",
    "3. bgremover": "bgremover",
    "4. BackgroundErase": "backgrounderase",
}


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


@pytest.mark.parametrize("heading", _SECTIONS)
def test_every_name_of_the_reference_is_in_the_list(heading: str) -> None:
    path = os.environ.get("MATTEWORKS_PROVIDER_REFERENCE", "")
    if not path:
        pytest.skip("MATTEWORKS_PROVIDER_REFERENCE names no reference text")
    sections = re.split(r"^## ", Path(path).read_text(), flags=re.MULTILINE)
    section = next(text for text in sections if text.startswith(heading))
    provider = _SECTIONS[heading]
    listed = {name for entry in entries_of(provider) for name in entry.names}
    words = {part for name in listed for part in re.findall(r"[A-Za-z][\w-]*", name)} | listed
    no_names = yaml.safe_load((Path(__file__).parent / "no_names.yaml").read_text())
    missing = reference_names(section) - words - set(no_names["everywhere"]) - set(no_names[provider])
    assert not missing, sorted(missing)
