"""Which shadow a subject gets: the vendor's table for `auto`, its opacities, and what only cars get."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from matteworks_compositor.kernels.shadows.car import car_shadow
from matteworks_compositor.kernels.shadows.cast import cast_shadow
from matteworks_compositor.kernels.shadows.drop import drop_shadow
from matteworks_compositor.kernels.shadows.layer import EMPTY_FIELD, ShadowField
from matteworks_compositor.options.model import ShadowChoice, ShadowType, SubjectType

__all__ = ["draw_shadow", "opacity_percent_for", "resolve_kind"]

CAR_OPACITY_PERCENT = 90
OTHER_OPACITY_PERCENT = 50
AS_PHOTOGRAPHED_PERCENT = 100
AUTO_KINDS = {
    SubjectType.CAR: ShadowType.CAR,
    SubjectType.PERSON: ShadowType.THREE_D,
    SubjectType.TRANSPORTATION: ShadowType.THREE_D,
}
KERNELS: dict[ShadowType, Callable[..., ShadowField]] = {
    ShadowType.DROP: drop_shadow,
    ShadowType.THREE_D: cast_shadow,
    ShadowType.CAR: car_shadow,
}


def resolve_kind(choice: ShadowChoice | None, subject_type: SubjectType) -> ShadowType:
    """The kind of shadow that is really drawn: never AUTO, and CAR only for a car."""
    if choice is None:
        return ShadowType.NONE
    kind = choice.kind
    if kind is ShadowType.AUTO:
        kind = AUTO_KINDS.get(subject_type, ShadowType.DROP)
    if kind is ShadowType.CAR and subject_type is not SubjectType.CAR:
        return ShadowType.NONE
    return kind


def opacity_percent_for(choice: ShadowChoice, subject_type: SubjectType) -> int:
    """What the caller said, 0 to 100, or the default of the kind and of the subject's type."""
    if choice.opacity_percent is not None:
        return choice.opacity_percent
    if choice.kind is ShadowType.ORIGINAL:
        return AS_PHOTOGRAPHED_PERCENT
    return CAR_OPACITY_PERCENT if subject_type is SubjectType.CAR else OTHER_OPACITY_PERCENT


def draw_shadow(kind: ShadowType, alpha: NDArray[np.uint8], *, is_cut_below: bool) -> ShadowField:
    """The drawn shadow of the subject of `alpha` (H×W); empty for other kinds and without a subject."""
    kernel = KERNELS.get(kind)
    return EMPTY_FIELD if kernel is None else kernel(alpha, is_cut_below=is_cut_below)
