"""Names that everybody uses for the values of the contracts' enums, taken from the contracts themselves."""

from __future__ import annotations

from typing import Final

from matteworks.common.v1 import image_pb2

__all__ = ["QUALITIES", "SUBJECT_TYPES", "subject_type_name"]

_SUBJECT_PREFIX: Final = "SUBJECT_TYPE_"
_QUALITY_PREFIX: Final = "QUALITY_"

# `person`, `car_interior` …, in the order of the enum; what was not determined has no name.
SUBJECT_TYPES: Final[dict[str, image_pb2.SubjectType.ValueType]] = {
    name.removeprefix(_SUBJECT_PREFIX).lower(): number
    for name, number in image_pb2.SubjectType.items()
    if number != image_pb2.SUBJECT_TYPE_UNSPECIFIED
}
# `fast`, `balanced`, `best`.
QUALITIES: Final[dict[str, image_pb2.Quality.ValueType]] = {
    name.removeprefix(_QUALITY_PREFIX).lower(): number
    for name, number in image_pb2.Quality.items()
    if number != image_pb2.QUALITY_UNSPECIFIED
}
_SUBJECT_NAMES: Final[dict[int, str]] = {number: name for name, number in SUBJECT_TYPES.items()}


def subject_type_name(number: int) -> str:
    """The name of a subject type; empty for one that was not determined or is not known here."""
    return _SUBJECT_NAMES.get(number, "")
