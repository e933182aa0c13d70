"""Where the time of one request went: its stages as bars, each where it began.

Stages are told in the order in which they ended, those of one level one after the other, and a stage with
a dot is a part of the stage before the dot. So a bar begins where the one before it on its level ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# What another service did in a stage that has another name.
_INSIDE = {"inference": "segment"}


@dataclass(frozen=True, slots=True)
class Span:
    """One stage. `begin` and `width` are parts of the whole, 0 to 1; `depth` 0 is a stage of the request."""

    name: str
    depth: int
    begin: float
    width: float
    duration_s: float


def waterfall(stages: Sequence[tuple[str, float]], total_s: float) -> list[Span]:
    """The stages as bars, parts behind their whole; durations in seconds."""
    total_s = max(total_s, sum(duration_s for name, duration_s in stages if "." not in name), 1e-9)
    durations_s = dict(stages)
    begins_s: dict[str, float] = {}
    ends_s: dict[str, float] = {}
    spans: dict[str, Span] = {}
    for name, duration_s in sorted(stages, key=lambda stage: stage[0].count(".")):
        parent = _parent_of(name, durations_s)
        # On one level the next begins where the last ended.
        level = name.rpartition(".")[0]
        begin_s = ends_s.get(level, begins_s.get(parent, 0.0))
        begins_s[name], ends_s[level] = begin_s, begin_s + duration_s
        begin = min(1.0, begin_s / total_s)
        width = min(1.0 - begin, duration_s / total_s)
        spans[name] = Span(name.rpartition(".")[2], name.count("."), begin, width, duration_s)
    return [spans[name] for name in _by_parent(list(durations_s), durations_s)]


def _parent_of(name: str, durations_s: dict[str, float]) -> str:
    path = name.split(".")[:-1]
    while path:
        for candidate in (path, [*path[:-1], _INSIDE.get(path[-1], path[-1])]):
            if ".".join(candidate) in durations_s:
                return ".".join(candidate)
        path.pop()
    return ""


def _by_parent(names: list[str], durations_s: dict[str, float], parent: str = "") -> list[str]:
    found = []
    for name in names:
        if _parent_of(name, durations_s) == parent:
            found += [name, *_by_parent(names, durations_s, name)]
    return found
