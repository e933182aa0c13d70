"""Shadow parameters: one value for all subjects, or one per type, and the old `add_shadow` switch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks.common.v1 import image_pb2
from matteworks.compositor.v1 import compositor_pb2
from matteworks_common.errors import InvalidField
from matteworks_edge.fields.parameters import SUBJECT_WORDS

SHADOW_TYPES: Final = {
    "none": compositor_pb2.SHADOW_TYPE_NONE,
    "auto": compositor_pb2.SHADOW_TYPE_AUTO,
    "drop": compositor_pb2.SHADOW_TYPE_DROP,
    "3d": compositor_pb2.SHADOW_TYPE_THREE_D,
    "car": compositor_pb2.SHADOW_TYPE_CAR,
    "original": compositor_pb2.SHADOW_TYPE_ORIGINAL,
}
# The types that have a shadow of their own; parts of a car go with the car.
SHADOW_SUBJECTS: Final = {
    name: SUBJECT_WORDS[name]
    for name in ("car", "product", "person", "animal", "transportation", "graphic", "graphics", "other")
}
# Key of a value for every subject, in the maps below.
ALL: Final = image_pb2.SUBJECT_TYPE_UNSPECIFIED
_OPACITY = re.compile(r"([0-9]{1,3})(?:\.0{1,6})?%?")

Opacity = int | None
TypeMap = dict[image_pb2.SubjectType.ValueType, compositor_pb2.ShadowType.ValueType]
OpacityMap = dict[image_pb2.SubjectType.ValueType, Opacity]


def parse_shadow_types(given: Mapping[str, str]) -> TypeMap:
    """`given` maps a type name, or "" for all, to a shadow name.

    Raises InvalidField (INVALID_SHADOW_TYPE).
    """
    result: TypeMap = {}
    for subject, text in given.items():
        shadow = SHADOW_TYPES.get(text.strip().lower())
        key = _subject(subject)
        if shadow is None or key is None:
            raise InvalidField(
                "shadow_type",
                "Give auto, car, 3D, drop, original or none, for all subjects or per type as in "
                "shadow_type[car]=drop.",
                reason=reasons.ERROR_REASON_INVALID_SHADOW_TYPE,
            )
        result[key] = shadow
    return result


def parse_shadow_opacities(given: Mapping[str, str]) -> OpacityMap:
    """As above, to percent; None: the default of the type. Raises InvalidField (INVALID_SHADOW_OPACITY)."""
    result: OpacityMap = {}
    for subject, text in given.items():
        key = _subject(subject)
        value = text.strip().lower()
        match = _OPACITY.fullmatch(value)
        if key is None or (value != "auto" and (match is None or int(match[1]) > 100)):
            raise InvalidField(
                "shadow_opacity",
                "Give 0 to 100 or auto, for all subjects or per type as in shadow_opacity[car]=90.",
                reason=reasons.ERROR_REASON_INVALID_SHADOW_OPACITY,
            )
        result[key] = int(match[1]) if match else None
    return result


def combine_shadows(
    types: TypeMap, opacities: OpacityMap, *, is_old_switch_on: bool
) -> list[compositor_pb2.Shadow]:
    """The list for the compositor. A type named only among the opacities has the shadow of all subjects.

    `is_old_switch_on` (add_shadow) means a car's shadow, unless a shadow type is given.
    """
    if not types and is_old_switch_on:
        types = {image_pb2.SUBJECT_TYPE_CAR: compositor_pb2.SHADOW_TYPE_CAR}
    subjects = list(types)
    if ALL in types:
        subjects += [subject for subject in opacities if subject not in types]
    return [
        compositor_pb2.Shadow(
            subject_type=subject,
            shadow_type=types.get(subject, types.get(ALL, compositor_pb2.SHADOW_TYPE_NONE)),
            opacity_percent=opacities.get(subject, opacities.get(ALL)),
        )
        for subject in subjects
        if types.get(subject, types.get(ALL)) != compositor_pb2.SHADOW_TYPE_NONE or len(subjects) > 1
    ]


def _subject(name: str) -> image_pb2.SubjectType.ValueType | None:
    return ALL if not name else SHADOW_SUBJECTS.get(name.strip().lower())
