"""The parts list of a release: what is in it, and which licences it does not bear."""

from __future__ import annotations

from typing import Any

import pytest
from tools.release.parts import Part, parts_of, report, with_weights

from matteworks_inference.networks.registry import load_registry


def package(name: str, *licences: dict[str, Any]) -> dict[str, Any]:
    return {"type": "library", "name": name, "version": "1.0", "licenses": list(licences)}


DOCUMENT = {
    "bomFormat": "CycloneDX",
    "components": [
        package("b", {"license": {"id": "MIT"}}, {"license": {"id": "MIT"}}),
        package("a", {"expression": "Apache-2.0 OR MIT"}),
        package("c", {"license": {"name": "BSD License\n\nCopyright ...\n"}}),
        package("d"),
    ],
}


def test_every_component_is_a_part_under_the_licence_that_its_author_names() -> None:
    assert parts_of(DOCUMENT) == [
        Part("a", "1.0", ("Apache-2.0 OR MIT",)),
        Part("b", "1.0", ("MIT",)),
        Part("c", "1.0", ("BSD License",)),
        Part("d", "1.0", ()),
    ]
    assert "| d | 1.0 | not told in its metadata |" in report(parts_of(DOCUMENT))


def test_weights_stand_beside_packages_under_the_licence_of_the_weights() -> None:
    """Not that of their code, which is another one for ISNet."""
    entries = [entry for entry in load_registry().entries if entry.is_pulled_by_default]
    parts = {part.name: part for part in parts_of(with_weights(DOCUMENT, entries))}
    assert parts["isnet-general-use"].licences == ("unclear",)
    assert parts["u2netp"].licences == ("Apache-2.0",)
    assert {"a", "b"} <= parts.keys()


@pytest.mark.parametrize(
    ("licence", "is_refused"),
    [
        ("GPL-3.0-only", True),
        ("AGPL-3.0-or-later", True),
        ("GNU General Public License v3 (GPLv3)", True),
        ("GNU Affero General Public License v3", True),
        ("LGPL-3.0-or-later", False),
        ("GNU Lesser General Public License v3 (LGPLv3)", False),
        ("GPL-2.0-only OR MIT", False),
        ("MIT", False),
    ],
)
def test_the_gpl_and_the_agpl_are_refused_where_nothing_else_may_be_chosen(
    licence: str, is_refused: bool
) -> None:
    assert Part("x", "1", (licence,)).is_refused is is_refused
    assert Part("x", "1", (licence, "MIT")).is_refused is False
