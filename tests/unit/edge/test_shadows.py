"""Shadow parameters in both spellings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matteworks.common.v1 import image_pb2
from matteworks.compositor.v1 import compositor_pb2
from matteworks_common.errors import InvalidField
from matteworks_edge.fields.shadows import combine_shadows, parse_shadow_opacities, parse_shadow_types

CAR, PERSON = image_pb2.SUBJECT_TYPE_CAR, image_pb2.SUBJECT_TYPE_PERSON
DROP, THREE_D, NONE = (
    compositor_pb2.SHADOW_TYPE_DROP,
    compositor_pb2.SHADOW_TYPE_THREE_D,
    compositor_pb2.SHADOW_TYPE_NONE,
)


def combined(
    types: dict[str, str], opacities: dict[str, str], old: bool = False
) -> list[tuple[int, int, int | None]]:
    shadows = combine_shadows(
        parse_shadow_types(types), parse_shadow_opacities(opacities), is_old_switch_on=old
    )
    return [
        (
            shadow.subject_type,
            shadow.shadow_type,
            shadow.opacity_percent if shadow.HasField("opacity_percent") else None,
        )
        for shadow in shadows
    ]


@pytest.mark.parametrize(
    ("types", "opacities", "old", "expected"),
    [
        ({}, {}, False, []),
        ({}, {"": "50"}, False, []),
        ({"": "none"}, {}, False, []),
        ({"": "drop"}, {}, False, [(0, DROP, None)]),
        ({"": "3D"}, {"": "0"}, False, [(0, THREE_D, 0)]),
        ({"": "drop"}, {"": "auto"}, False, [(0, DROP, None)]),
        ({"": "drop"}, {"car": "90"}, False, [(0, DROP, None), (CAR, DROP, 90)]),
        ({"car": "drop"}, {"": "40", "person": "1"}, False, [(CAR, DROP, 40)]),
        ({"": "3d", "car": "none"}, {}, False, [(0, THREE_D, None), (CAR, NONE, None)]),
        ({"person": "drop", "car": "3D"}, {"car": "7"}, False, [(PERSON, DROP, None), (CAR, THREE_D, 7)]),
        ({}, {}, True, [(CAR, compositor_pb2.SHADOW_TYPE_CAR, None)]),
        ({"": "drop"}, {}, True, [(0, DROP, None)]),
    ],
)
def test_types_and_opacities_are_combined(
    types: dict[str, str],
    opacities: dict[str, str],
    old: bool,
    expected: list[tuple[int, int, int | None]],
) -> None:
    assert combined(types, opacities, old) == expected


@given(st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=4))
def test_any_map_is_read_or_refused(given_map: dict[str, str]) -> None:
    for parse, field in ((parse_shadow_types, "shadow_type"), (parse_shadow_opacities, "shadow_opacity")):
        try:
            parse(given_map)
        except InvalidField as error:
            assert error.field == field  # noqa: PT017


@pytest.mark.parametrize("text", ["-1", "101", "50.5", "half", "1e1", "\uff15"])
def test_an_opacity_outside_0_to_100_is_refused(text: str) -> None:
    with pytest.raises(InvalidField):
        parse_shadow_opacities({"": text})
