"""The samples in the documentation: which fenced blocks they are, and which do not run."""

from __future__ import annotations

import enum
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PAGES = ("README.md", "docs/*.md", "services/*/README.md")

_FENCE = re.compile(r"^(?P<indent> *)(?P<ticks>`{3,})(?P<word>\w*)[^`]*$")
_MARKER = re.compile(r"^ *<!-- sample:(?P<rule>.*)-->$")
_TALKS_TO_A_STACK = re.compile(r"^ *(?:curl|(?:\.venv/bin/)?matteworks remove)\b", re.MULTILINE)
_NOT_RUN = "not run,"


class BadMarker(ValueError):
    """A comment for us that says nothing known. The message starts with page and line."""


class Language(enum.Enum):
    """What runs a sample."""

    SHELL = "shell"
    PYTHON = "python"
    NODE = "node"


_LANGUAGES = {
    "sh": Language.SHELL,
    "bash": Language.SHELL,
    "python": Language.PYTHON,
    "py": Language.PYTHON,
    "javascript": Language.NODE,
    "js": Language.NODE,
    "mjs": Language.NODE,
}


@dataclass(frozen=True)
class Sample:
    """One block. `line` is that of its first line of text; `not_run_because` is empty when it runs."""

    page: str
    line: int
    language: Language
    text: str
    not_run_because: str = ""

    @property
    def id(self) -> str:
        return f"{self.page}:{self.line}"


def samples_below(root: Path) -> list[Sample]:
    """The samples of every page of documentation, in page order."""
    pages = [page for pattern in PAGES for page in sorted(root.glob(pattern))]
    return [
        sample
        for page in pages
        for sample in find_samples(page.read_text(), page.relative_to(root).as_posix())
    ]


def find_samples(markdown: str, page: str) -> Iterator[Sample]:
    """The samples of one page. Raises BadMarker."""
    lines = iter(enumerate(markdown.splitlines(), start=1))
    rule: str | None = None
    for number, line in lines:
        if marker := _MARKER.match(line):
            rule = marker["rule"].strip()
        elif fence := _FENCE.match(line):
            text = _read_block(lines, fence["ticks"])
            sample = _sample(page, number, _LANGUAGES.get(fence["word"]), text, rule)
            if sample is not None:
                yield sample
            rule = None
        elif line.strip():
            rule = None


def _read_block(lines: Iterator[tuple[int, str]], ticks: str) -> str:
    """The lines up to a fence at least as long as the opening one, without their common indent."""
    block = []
    for _, line in lines:
        closing = line.strip()
        if len(closing) >= len(ticks) and set(closing) == {"`"}:
            break
        block.append(line)
    return textwrap.dedent("".join(f"{line}\n" for line in block))


def _sample(page: str, number: int, language: Language | None, text: str, rule: str | None) -> Sample | None:
    reason = ""
    if rule is not None and rule != "run":
        opening, reason = rule[: len(_NOT_RUN)], rule[len(_NOT_RUN) :].strip()
        if opening != _NOT_RUN or not reason:
            raise BadMarker(f"{page}:{number}: {rule!r} is neither 'run' nor 'not run, WHY'")
    if language is None:
        return None
    is_sample = language is not Language.SHELL or rule is not None or _TALKS_TO_A_STACK.search(text)
    return Sample(page, number + 1, language, text, reason) if is_sample else None
