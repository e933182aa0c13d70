"""Which networks this process can run, and which of them a picture needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_common.errors import FailedPrecondition, NotFound
from matteworks_inference.networks.registry import ModelEntry, Registry, Role
from matteworks_inference.tasks.segmentation import ensemble

Quality: TypeAlias = Literal["fast", "balanced", "best"]

_ROLES: Final[dict[str, Role]] = {
    ensemble.GENERAL: "general",
    ensemble.SMALL: "small",
    ensemble.PORTRAIT: "portrait",
}


class LoadedModels:
    """The registry, and which of its entries this process can run. The first loaded is the default."""

    def __init__(self, registry: Registry, loaded: Sequence[ModelEntry]) -> None:
        self.registry = registry
        self.loaded = tuple(loaded)
        self._by_name = {entry.name: entry for entry in loaded}

    @property
    def default(self) -> ModelEntry:
        """The model that was named first in the settings."""
        return self.loaded[0]

    def find(self, name: str) -> ModelEntry:
        """The loaded model of that name.

        Raises NotFound (MODEL_NOT_FOUND), FailedPrecondition (MODEL_NOT_LOADED).
        """
        if name in self._by_name:
            return self._by_name[name]
        if any(entry.name == name and not entry.is_upscaler for entry in self.registry.entries):
            raise FailedPrecondition(
                reasons.ERROR_REASON_MODEL_NOT_LOADED,
                f"This server has not loaded {name}. Give one of {', '.join(self._by_name)}; or pull its "
                "weights and name it in the settings.",
                field="model",
                metadata={"model": name, "loaded": ",".join(self._by_name)},
            )
        raise NotFound(
            reasons.ERROR_REASON_MODEL_NOT_FOUND,
            f"No model has this name. Give one of {', '.join(self._by_name)}.",
            field="model",
            metadata={"model": name[:128], "loaded": ",".join(self._by_name)},
        )

    def for_blend(self, subject_type: str | None, quality: Quality) -> dict[str, ModelEntry]:
        """By role of `blending`, the loaded models that such a picture needs; never empty.

        `subject_type` None: it is not known well enough to leave a network out.
        """
        players: dict[str, ModelEntry] = {}
        for entry in self.loaded:
            players.setdefault(entry.role, entry)
        available = {role for role, name in _ROLES.items() if name in players}
        wanted = ensemble.networks_needed(subject_type, quality, available)
        chosen = {role: players[_ROLES[role]] for role in wanted}
        # A server that was given only a portrait network uses that.
        return chosen or {_role_in_blend(self.default): self.default}


def _role_in_blend(entry: ModelEntry) -> str:
    return next(role for role, name in _ROLES.items() if name == entry.role)
