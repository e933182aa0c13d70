"""Which shadow a subject gets: the vendor's tables, row by row."""

from __future__ import annotations

import numpy as np
import pytest

from matteworks_compositor.kernels.shadows.choice import draw_shadow, opacity_percent_for, resolve_kind
from matteworks_compositor.options.model import RenderOptions, ShadowChoice, ShadowType, SubjectType

AUTO = ShadowChoice(ShadowType.AUTO)


@pytest.mark.parametrize(
    ("subject_type", "kind"),
    [
        (SubjectType.CAR, ShadowType.CAR),
        (SubjectType.PERSON, ShadowType.THREE_D),
        (SubjectType.TRANSPORTATION, ShadowType.THREE_D),
        (SubjectType.PRODUCT, ShadowType.DROP),
        (SubjectType.ANIMAL, ShadowType.DROP),
        (SubjectType.GRAPHICS, ShadowType.DROP),
        (SubjectType.OTHER, ShadowType.DROP),
        (SubjectType.UNSPECIFIED, ShadowType.DROP),
        (SubjectType.CAR_PART, ShadowType.DROP),
        (SubjectType.CAR_INTERIOR, ShadowType.DROP),
    ],
)
def test_auto_follows_the_documented_table(subject_type: SubjectType, kind: ShadowType) -> None:
    assert resolve_kind(AUTO, subject_type) is kind


@pytest.mark.parametrize("subject_type", [t for t in SubjectType if t is not SubjectType.CAR])
def test_the_car_shadow_is_drawn_for_nothing_but_cars(subject_type: SubjectType) -> None:
    assert resolve_kind(ShadowChoice(ShadowType.CAR), subject_type) is ShadowType.NONE


def test_a_car_may_have_any_shadow() -> None:
    for kind in (ShadowType.NONE, ShadowType.DROP, ShadowType.THREE_D, ShadowType.CAR):
        assert resolve_kind(ShadowChoice(kind), SubjectType.CAR) is kind


def test_no_choice_is_no_shadow() -> None:
    assert resolve_kind(None, SubjectType.PRODUCT) is ShadowType.NONE


@pytest.mark.parametrize(
    ("subject_type", "opacity_percent"),
    [(SubjectType.CAR, 90), (SubjectType.PERSON, 50), (SubjectType.OTHER, 50)],
)
def test_opacity_defaults_by_type(subject_type: SubjectType, opacity_percent: int) -> None:
    assert opacity_percent_for(AUTO, subject_type) == opacity_percent


def test_an_opacity_of_0_is_not_the_default() -> None:
    assert opacity_percent_for(ShadowChoice(ShadowType.AUTO, 0), SubjectType.CAR) == 0


def test_the_entry_of_the_own_type_wins_and_unnamed_types_get_none() -> None:
    options = RenderOptions(shadows={SubjectType.CAR: ShadowChoice(ShadowType.DROP)})
    assert resolve_kind(options.shadow_for(SubjectType.CAR), SubjectType.CAR) is ShadowType.DROP
    assert resolve_kind(options.shadow_for(SubjectType.PERSON), SubjectType.PERSON) is ShadowType.NONE


def test_every_drawable_kind_has_a_kernel() -> None:
    alpha = np.zeros((60, 60), np.uint8)
    alpha[10:50, 15:45] = 255
    for kind in ShadowType:
        is_drawn = kind in (ShadowType.DROP, ShadowType.THREE_D, ShadowType.CAR)
        assert draw_shadow(kind, alpha, is_cut_below=False).is_empty is not is_drawn
