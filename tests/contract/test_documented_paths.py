"""What documents point to exists: files of the repository, other pages, and sections of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/**/*.md", "services/*/README.md", "tests/**/README.md")
    for path in ROOT.glob(pattern)
)
SOURCE_FOLDERS = "cli|client|compose|deploy|docs|protos|services|tests|tools"

_FENCED_BLOCK = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?!https?:|mailto:)([^)\s]+)\)")
_PATH_IN_TICKS = re.compile(rf"`((?:{SOURCE_FOLDERS})/[\w./-]*)`")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


def anchors(markdown: str) -> set[str]:
    """The fragments that GitHub gives the headings of a page."""
    headings = _HEADING.findall(_FENCED_BLOCK.sub("", markdown))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def dead_references(page: Path) -> Iterator[str]:
    """References of one page that lead nowhere."""
    text = _FENCED_BLOCK.sub("", page.read_text())
    for reference in _LINK.findall(text):
        name, _, fragment = reference.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (fragment and fragment not in anchors(target.read_text())):
            yield reference
    yield from (path for path in _PATH_IN_TICKS.findall(text) if not (ROOT / path).exists())


@pytest.mark.parametrize("page", PAGES)
def test_everything_a_page_points_to_exists(page: str) -> None:
    assert list(dead_references(ROOT / page)) == []


def test_a_dead_path_link_and_section_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One\n`services/no/such.py` [a](gone.md) [b](#two) [c](#one) `tests/contract/`\n")

    assert list(dead_references(page)) == ["gone.md", "#two", "services/no/such.py"]
