"""The list of providers whose APIs are served, and whose a path is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from matteworks_edge.dialects.backgrounderase import BACKGROUNDERASE
from matteworks_edge.dialects.base import Dialect, Endpoint
from matteworks_edge.dialects.bgeraser import BGERASER
from matteworks_edge.dialects.bgeraser_tools import BGERASER_TOOLS
from matteworks_edge.dialects.bgremover import BGREMOVER
from matteworks_edge.dialects.clipdrop import CLIPDROP
from matteworks_edge.dialects.openai import OPENAI
from matteworks_edge.dialects.photoroom import PHOTOROOM
from matteworks_edge.dialects.picsart import PICSART
from matteworks_edge.dialects.remove_bg import REMOVE_BG
from matteworks_edge.dialects.slazzer import SLAZZER

__all__ = ["PROVIDERS", "PathOwners", "SharedPath", "owned_roots", "shared_paths"]

# Of a path that several have, the first owns it for callers whose key says nothing else.
PROVIDERS: Final = (
    REMOVE_BG,
    BGERASER,
    BGERASER_TOOLS,
    # Before bgremover, which has what else is below /v1/images.
    OPENAI,
    BGREMOVER,
    BACKGROUNDERASE,
    PHOTOROOM,
    CLIPDROP,
    SLAZZER,
    PICSART,
)


@dataclass(frozen=True, slots=True)
class SharedPath:
    """A path without a prefix, and who has it; the first of several is for keys without a dialect."""

    method: str
    path: str
    endpoints: Mapping[str, tuple[Dialect, Endpoint]]


def shared_paths(dialects: Sequence[Dialect]) -> list[SharedPath]:
    """Every path of `dialects` that needs no prefix, with those who have it, by the name of the dialect."""
    found: dict[tuple[str, str], dict[str, tuple[Dialect, Endpoint]]] = {}
    for dialect in dialects:
        for endpoint in dialect.endpoints:
            if endpoint.is_apart:
                continue
            found.setdefault((endpoint.method, endpoint.path), {})[dialect.name] = (dialect, endpoint)
    return [SharedPath(method, path, endpoints) for (method, path), endpoints in found.items()]


def owned_roots(dialect: Dialect) -> list[str]:
    """Paths at and below which everything is answered in `dialect`, unless somebody before it has them: its
    endpoints' up to their first variable part (`/v1/batch` of `/v1/batch/{id}`), with and without its prefix.
    """
    paths = (
        endpoint.path.partition("{")[0].rstrip("/") for endpoint in dialect.endpoints if not endpoint.is_apart
    )
    # The front page owns nothing below it.
    own = {*paths, *dialect.roots} - {""}
    highest = sorted(path for path in own if not any(path.startswith(f"{other}/") for other in own))
    return [*highest, *(dialect.prefix + path for path in highest), dialect.prefix]


class PathOwners:
    """Knows in which dialect a path is answered, also when nothing is served there.

    `hosts` are names, in small letters, under which one provider alone is served.
    """

    def __init__(self, dialects: Sequence[Dialect], hosts: Mapping[str, Dialect] | None = None) -> None:
        self._hosts = dict(hosts or {})
        self._owners: dict[str, Dialect] = {}
        for dialect in dialects:
            for root in owned_roots(dialect):
                self._owners.setdefault(root, dialect)
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
