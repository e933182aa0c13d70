"""What a release is made of: packages and weights as a CycloneDX document, and a report of their licences."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from matteworks_inference.networks.registry import ModelEntry

# Copyleft that reaches whoever imports it. The lesser and the library's licence do not.
_REFUSED: Final = re.compile(r"(?<![A-Za-z])(A?GPL|GNU (Affero )?General Public)", re.IGNORECASE)
_ALTERNATIVES: Final = re.compile(r"\s+OR\s+")


@dataclass(frozen=True, slots=True)
class Part:
    """A package, a network. `licences` as its author names them; empty: its metadata does not say."""

    name: str
    version: str
    licences: tuple[str, ...]

    @property
    def is_refused(self) -> bool:
        """Whether every licence that may be chosen is the GPL or the AGPL."""
        return bool(self.licences) and all(
            all(_REFUSED.search(choice) for choice in _ALTERNATIVES.split(licence))
            for licence in self.licences
        )


def with_weights(document: Mapping[str, Any], entries: Sequence[ModelEntry]) -> dict[str, Any]:
    """The document with a component for each network whose weights the release fetches by itself."""
    components = [*document.get("components", []), *(_component(entry) for entry in entries)]
    return {**document, "components": components}


def parts_of(document: Mapping[str, Any]) -> list[Part]:
    """Every component of the document, by name."""
    found = [
        Part(
            component["name"],
            component.get("version", ""),
            tuple(dict.fromkeys(filter(None, map(_licence, component.get("licenses", []))))),
        )
        for component in document.get("components", [])
    ]
    return sorted(found, key=lambda part: part.name.lower())


def report(parts: Sequence[Part]) -> str:
    """A table for people, in Markdown."""
    lines = ["# Licences of what the release uses", "", "| part | version | licence |", "|---|---|---|"]
    lines += [
        f"| {part.name} | {part.version} | {'; '.join(part.licences) or 'not told in its metadata'} |"
        for part in parts
    ]
    return "\n".join(lines) + "\n"


def _component(entry: ModelEntry) -> dict[str, Any]:
    notes = [{"name": "code licence", "value": entry.code_license}] if entry.code_license else []
    notes += [{"name": "licence note", "value": entry.license_note}] if entry.license_note else []
    return {
        "type": "machine-learning-model",
        "bom-ref": f"weights:{entry.name}",
        "name": entry.name,
        "description": entry.summary,
        "licenses": [{"license": {"name": entry.license}}],
        "hashes": [{"alg": "SHA-256", "content": entry.sha256}] if entry.sha256 else [],
        "properties": notes,
    }


def _licence(choice: Mapping[str, Any]) -> str:
    told = choice.get("expression")
    if told is None:
        licence = choice.get("license", {})
        told = licence.get("id") or licence.get("name") or ""
    # Some put the whole text where the name belongs.
    return str(told).strip().splitlines()[0][:80] if str(told).strip() else ""
