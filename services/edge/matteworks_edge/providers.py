"""The list of providers whose APIs are served, and whose a path is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from matteworks_edge.dialects.base import Dialect
from matteworks_edge.dialects.bgeraser import BGERASER
from matteworks_edge.dialects.clipdrop import CLIPDROP
from matteworks_edge.dialects.photoroom import PHOTOROOM
from matteworks_edge.dialects.remove_bg import REMOVE_BG
from matteworks_edge.dialects.slazzer import SLAZZER

PROVIDERS: Final = (REMOVE_BG, BGERASER, PHOTOROOM, CLIPDROP, SLAZZER)


class PathOwners:
    """Knows in which dialect a path is answered, also when nothing is served there."""

    def __init__(self, dialects: Sequence[Dialect]) -> None:
        self._owners = {endpoint.path: dialect for dialect in dialects for endpoint in dialect.endpoints}
        self._default = REMOVE_BG

    def dialect_of(self, path: str) -> Dialect:
        """Whoever serves `path`, or its nearest parent."""
        while path:
            if path in self._owners:
                return self._owners[path]
            path = path.rpartition("/")[0]
        return self._default
