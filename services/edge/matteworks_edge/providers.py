"""The list of providers whose APIs are served, and whose a path is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from matteworks_edge.dialects.base import Dialect, Endpoint
from matteworks_edge.dialects.bgeraser import BGERASER
from matteworks_edge.dialects.bgremover import BGREMOVER
from matteworks_edge.dialects.clipdrop import CLIPDROP
from matteworks_edge.dialects.photoroom import PHOTOROOM
from matteworks_edge.dialects.remove_bg import REMOVE_BG
from matteworks_edge.dialects.slazzer import SLAZZER

__all__ = ["PROVIDERS", "PathOwners", "SharedPath", "owned_root", "shared_paths"]

# Of a path that several have, the first owns it for callers whose key says nothing else.
PROVIDERS: Final = (REMOVE_BG, BGERASER, BGREMOVER, PHOTOROOM, CLIPDROP, SLAZZER)


@dataclass(frozen=True, slots=True)
class SharedPath:
    """A path without a prefix, and who has it; the first of several is for keys without a dialect."""

    method: str
    path: str
    endpoints: Mapping[str, tuple[Dialect, Endpoint]]


def shared_paths(dialects: Sequence[Dialect]) -> list[SharedPath]:
    """Every path of `dialects` with those who have it, by the name of the dialect."""
    found: dict[tuple[str, str], dict[str, tuple[Dialect, Endpoint]]] = {}
    for dialect in dialects:
        for endpoint in dialect.endpoints:
            found.setdefault((endpoint.method, endpoint.path), {})[dialect.name] = (dialect, endpoint)
    return [SharedPath(method, path, endpoints) for (method, path), endpoints in found.items()]


def owned_root(path: str) -> str:
    """`path` up to its first variable part, without a slash at its end: `/v1/batch/{id}` to `/v1/batch`."""
    return path.partition("{")[0].rstrip("/")


class PathOwners:
    """Knows in which dialect a path is answered, also when nothing is served there.

    `hosts` are names, in small letters, under which one provider alone is served.
    """

    def __init__(self, dialects: Sequence[Dialect], hosts: Mapping[str, Dialect] | None = None) -> None:
        self._hosts = dict(hosts or {})
        self._owners: dict[str, Dialect] = {}
        for dialect in dialects:
            for root in (dialect.prefix, *(owned_root(endpoint.path) for endpoint in dialect.endpoints)):
                self._owners.setdefault(root, dialect)
            for endpoint in dialect.endpoints:
                self._owners.setdefault(dialect.prefix + owned_root(endpoint.path), dialect)
        self._default = REMOVE_BG

    def prefix_of_host(self, host: str) -> str:
        """The prefix that requests to `host` need not have; empty: they are like all others."""
        dialect = self._hosts.get(host.partition(":")[0].lower())
        return dialect.prefix if dialect else ""

    def dialect_of(self, path: str) -> Dialect:
        """Whoever serves `path`, or its nearest parent."""
        while path:
            if path in self._owners:
                return self._owners[path]
            path = path.rpartition("/")[0]
        return self._default
