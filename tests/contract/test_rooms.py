"""Rooms stay rooms: files that a person reads in one go, folders that a person sees at one glance."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("services", "deploy", "client", "cli", "tools")
MAX_LINES = 400
MAX_FILES = 12
# Folders of one kind of thing, of which there may be many.
COLLECTIONS = {
    "services/compositor/matteworks_compositor/pipeline/steps": "one step of the pipeline a file",
    "services/edge/matteworks_edge/dialects": "one provider a file",
    "services/common/matteworks_common": "the skeleton, one concern a file",
    "cli/matteworks_cli/commands": "one command a file",
    "tools": "one command a file",
    "tools/bench": "one measurement a file",
}


def sources() -> list[Path]:
    return [path for folder in SOURCES for path in (ROOT / folder).rglob("*.py") if ".venv" not in path.parts]


def test_no_file_is_longer_than_a_person_reads() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in sources()}

    assert {path: lines for path, lines in lengths.items() if lines > MAX_LINES} == {}


def test_no_folder_holds_more_than_a_person_sees() -> None:
    counts = Counter(
        str(path.parent.relative_to(ROOT)) for path in sources() if not path.name.startswith("__")
    )

    crowded = {folder: count for folder, count in counts.items() if count > MAX_FILES}

    assert {folder: count for folder, count in crowded.items() if folder not in COLLECTIONS} == {}


def test_collections_are_there_and_crowded() -> None:
    """An exception that is no longer needed goes."""
    assert [folder for folder in COLLECTIONS if not (ROOT / folder).is_dir()] == []
