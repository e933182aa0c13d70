"""One matte of several networks': each test draws the networks' answers, right or wrong, itself."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from matteworks_inference.tasks.segmentation.ensemble import (
    GENERAL,
    PORTRAIT,
    SMALL,
    Look,
    Quality,
    blend,
    networks_needed,
    second_look,
    still_needed,
    with_second_look,
)

Bytes = NDArray[np.uint8]
HEIGHT, WIDTH = 200, 300
PICTURE: Bytes = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
BODY = (slice(60, 160), slice(100, 200))


def answer(*parts: tuple[tuple[slice, slice], int]) -> Bytes:
    """A matte that is 0 but for these boxes."""
    matte = np.zeros((HEIGHT, WIDTH), np.uint8)
    for box, level in parts:
        matte[box] = level
    return matte


SURE = answer((BODY, 255))


def test_what_all_networks_are_sure_of_comes_back_unchanged() -> None:
    matte = blend(PICTURE, {GENERAL: SURE, SMALL: SURE, PORTRAIT: SURE}, "person", "balanced")
    assert (matte == SURE).all()


def test_a_grey_interior_becomes_solid() -> None:
    veiled = answer((BODY, 255), ((slice(90, 130), slice(130, 170)), 140))
    assert (blend(PICTURE, {GENERAL: veiled, SMALL: SURE}, "product", "balanced") == SURE).all()


def test_a_half_recognised_subject_becomes_solid() -> None:
    weak = answer((BODY, 110))
    assert (blend(PICTURE, {GENERAL: weak, SMALL: weak}, "animal", "balanced") == SURE).all()


def test_a_faint_background_disappears() -> None:
    veil = np.maximum(SURE, np.uint8(20))
    assert (blend(PICTURE, {GENERAL: veil, SMALL: veil}, "product", "balanced") == SURE).all()


def test_a_persons_hair_keeps_the_portrait_networks_softness() -> None:
    ramp = np.zeros((HEIGHT, WIDTH), np.uint8)
    ramp[BODY] = 255
    ramp[30:60, 100:200] = np.linspace(0, 255, 30)[:, None].astype(np.uint8)
    matte = blend(PICTURE, {GENERAL: ramp, SMALL: ramp, PORTRAIT: ramp}, "person", "balanced")
    soft = (matte > 0) & (matte < 255)
    assert np.count_nonzero(soft) >= 12 * 100


def test_a_passer_by_whom_no_general_network_sees_is_left_out() -> None:
    passer_by = (slice(60, 160), slice(250, 270))
    portrait = answer((BODY, 255), (passer_by, 255))
    matte = blend(PICTURE, {GENERAL: SURE, SMALL: SURE, PORTRAIT: portrait}, "person", "balanced")
    assert not matte[passer_by].any()


def test_a_portrait_network_that_means_something_else_is_not_heard() -> None:
    portrait = answer(((slice(0, 60), slice(0, 60)), 255))
    matte = blend(PICTURE, {GENERAL: SURE, SMALL: SURE, PORTRAIT: portrait}, "person", "balanced")
    assert (matte == SURE).all()


def test_a_product_is_not_decided_by_the_portrait_network() -> None:
    portrait = answer(((slice(70, 160), slice(100, 200)), 255))
    matte = blend(PICTURE, {GENERAL: SURE, SMALL: SURE, PORTRAIT: portrait}, "product", "best")
    assert (matte == SURE).all()


def test_a_far_speck_is_dropped() -> None:
    speckled = answer((BODY, 255), ((slice(10, 16), slice(10, 16)), 255))
    assert (blend(PICTURE, {GENERAL: speckled, SMALL: speckled}, "product", "balanced") == SURE).all()


def test_a_veil_over_background_disappears_whatever_its_size() -> None:
    veil = answer((BODY, 255), ((slice(0, 50), slice(0, 300)), 75))
    assert (blend(PICTURE, {GENERAL: veil, SMALL: veil}, "product", "balanced") == SURE).all()


def test_a_near_strap_is_kept() -> None:
    strap = (slice(60, 66), slice(203, 209))
    answered = answer((BODY, 255), (strap, 255))
    matte = blend(PICTURE, {GENERAL: answered, SMALL: answered}, "product", "balanced")
    assert (matte[strap] == 255).all()


def test_a_second_subject_of_weight_is_kept() -> None:
    second = (slice(60, 160), slice(240, 290))
    answered = answer((BODY, 255), (second, 255))
    matte = blend(PICTURE, {GENERAL: answered, SMALL: answered}, "product", "balanced")
    assert (matte[second] == 255).all()


def test_a_pinhole_is_closed_and_a_handle_stays_open() -> None:
    handle = (slice(80, 100), slice(110, 130))
    answered = answer((BODY, 255), ((slice(140, 142), slice(150, 152)), 0), (handle, 0))
    matte = blend(PICTURE, {GENERAL: answered, SMALL: answered}, "product", "balanced")
    assert (matte == answer((BODY, 255), (handle, 0))).all()


def test_mattes_of_any_size_and_scale_are_taken() -> None:
    small = np.asarray(cv2.resize(SURE, (150, 100), interpolation=cv2.INTER_AREA), np.float32)
    small /= 255
    matte = blend(PICTURE, {GENERAL: SURE, SMALL: small}, "product", "balanced")
    assert matte.shape == (HEIGHT, WIDTH)
    assert matte.dtype == np.uint8


@pytest.mark.parametrize("roles", [(GENERAL,), (SMALL,), (PORTRAIT,), (GENERAL, PORTRAIT)])
def test_networks_that_are_not_loaded_are_done_without(roles: tuple[str, ...]) -> None:
    assert (blend(PICTURE, dict.fromkeys(roles, SURE), "person", "balanced") == SURE).all()


def test_no_matte_at_all_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one"):
        blend(PICTURE, {}, "person", "balanced")


def test_an_empty_answer_stays_empty() -> None:
    assert not blend(PICTURE, {GENERAL: answer(), SMALL: answer()}, "product", "balanced").any()


def test_what_both_general_networks_hold_against_the_portrait_one_stays() -> None:
    """A bag belongs to who carries it, and the portrait network knows nothing but people."""
    bag = (slice(100, 130), slice(200, 240))
    person_with_bag = answer((BODY, 255), (bag, 255))
    mattes = {GENERAL: person_with_bag, SMALL: person_with_bag, PORTRAIT: SURE}
    assert (blend(PICTURE, mattes, "person", "balanced")[bag] == 255).all()


def test_one_general_network_alone_does_not_overrule_the_portrait_one() -> None:
    bag = (slice(100, 130), slice(200, 230))
    mattes = {GENERAL: answer((BODY, 255), (bag, 255)), SMALL: SURE, PORTRAIT: SURE}
    assert (blend(PICTURE, mattes, "person", "balanced") == SURE).all()


def test_general_networks_that_disagree_about_the_picture_do_not_overrule_the_portrait_one() -> None:
    lamp = (slice(100, 130), slice(200, 240))
    general = answer((BODY, 255), (lamp, 255))
    small = answer((BODY, 255), (lamp, 255), ((slice(60, 100), slice(210, 270)), 255))
    matte = blend(PICTURE, {GENERAL: general, SMALL: small, PORTRAIT: SURE}, "person", "balanced")
    assert ((matte > 127) == (SURE > 127)).all()


def test_a_rim_that_only_coarse_mattes_see_is_not_added_to_a_person() -> None:
    fat = answer(((slice(57, 163), slice(97, 203)), 255))
    matte = blend(PICTURE, {GENERAL: fat, SMALL: fat, PORTRAIT: SURE}, "person", "balanced")
    assert ((matte > 127) == (SURE > 127)).all()


def test_fast_runs_the_small_network_alone() -> None:
    assert networks_needed("person", "fast") == (SMALL,)


def test_a_veil_that_hangs_on_the_subject_goes_where_it_is_far_from_anything_solid() -> None:
    veil = (slice(60, 160), slice(200, 260))
    half_seen = answer((BODY, 255), (veil, 110))
    matte = blend(PICTURE, {GENERAL: half_seen, SMALL: SURE}, "product", "balanced")
    soft = matte[110, 200:260]
    assert 0 < soft[1] < 128, "beside the subject it may be its soft edge"
    assert not soft[15:].any()
    assert (matte[BODY] == 255).all()


def test_where_the_portrait_network_is_sure_of_nobody_no_veil_is_left() -> None:
    arm = (slice(100, 110), slice(200, 206))
    seen = {GENERAL: answer((BODY, 255), (arm, 255)), PORTRAIT: SURE}
    assert not blend(PICTURE, seen, "person", "balanced")[arm].any()
    seen[PORTRAIT] = answer((BODY, 255), (arm, 128))
    assert blend(PICTURE, seen, "person", "balanced")[arm].all()


def test_the_small_network_waits_for_a_person_and_is_spared_where_two_agree() -> None:
    wanted = networks_needed("person", "balanced")
    assert still_needed(wanted, {}, "balanced") == (GENERAL, PORTRAIT)
    assert still_needed(wanted, {GENERAL: SURE, PORTRAIT: SURE}, "balanced") == ()
    armless = answer((BODY, 255), ((slice(60, 160), slice(100, 106)), 0))
    assert still_needed(wanted, {GENERAL: SURE, PORTRAIT: armless}, "balanced") == (SMALL,)


def test_best_and_everything_but_people_are_never_spared_a_voice() -> None:
    assert still_needed(networks_needed("person", "best"), {}, "best") == (GENERAL, SMALL, PORTRAIT)
    product = networks_needed("product", "balanced")
    assert still_needed(product, {}, "balanced", "product") == (GENERAL, SMALL)
    # A portrait network was asked too early: the picture shows no person.
    assert still_needed(product, {GENERAL: SURE, PORTRAIT: SURE}, "balanced", "product") == (SMALL,)


def test_the_portrait_network_is_asked_about_a_thing_only_where_its_contour_is_soft() -> None:
    product = networks_needed("product", "balanced")
    furry = cv2.GaussianBlur(SURE, (0, 0), 9)
    assert still_needed(product, {GENERAL: SURE, SMALL: SURE}, "balanced", "product") == ()
    assert still_needed(product, {GENERAL: np.asarray(furry), SMALL: SURE}, "balanced", "product") == (
        PORTRAIT,
    )
    assert PORTRAIT not in networks_needed("car", "best")


@pytest.mark.parametrize(("available", "wanted"), [((GENERAL, PORTRAIT), (GENERAL,)), ((PORTRAIT,), ())])
def test_fast_without_the_small_network_falls_back_to_the_general_one(
    available: tuple[str, ...], wanted: tuple[str, ...]
) -> None:
    assert networks_needed("person", "fast", available) == wanted


@settings(deadline=None)
@given(
    levels=arrays(np.bool_, (3, 6)),
    roles=st.sets(st.sampled_from([GENERAL, SMALL, PORTRAIT]), min_size=1),
    subject=st.sampled_from(["person", "product", None]),
)
def test_what_every_network_is_sure_of_comes_back_whatever_ran(
    levels: NDArray[np.bool_], roles: set[str], subject: str | None
) -> None:
    sure = np.asarray(np.kron(levels, np.full((40, 40), 255, np.uint8)), np.uint8)
    picture = np.zeros((*sure.shape, 3), np.uint8)
    assert (blend(picture, dict.fromkeys(roles, sure), subject, "balanced") == sure).all()


def test_the_portrait_network_runs_for_people_and_for_the_unsure() -> None:
    asked = {subject: PORTRAIT in networks_needed(subject, "balanced") for subject in ("person", None, "car")}
    assert asked == {"person": True, None: True, "car": False}


def test_a_small_subject_gets_a_second_look_with_a_margin() -> None:
    look = second_look(answer(((slice(90, 110), slice(140, 160)), 255)))
    assert look == Look(128, 78, 172, 122)


def test_a_subject_that_fills_the_frame_gets_none() -> None:
    assert second_look(answer(((slice(10, 190), slice(10, 290)), 255))) is None


def test_a_second_look_changes_nothing_outside_its_box() -> None:
    look = Look(100, 60, 200, 160)
    closer = np.zeros((50, 50), np.uint8)
    merged = with_second_look({GENERAL: answer((BODY, 200), ((slice(0, 9), slice(0, 9)), 77))}, look,
                              {GENERAL: closer}, (WIDTH, HEIGHT))[GENERAL]  # fmt: skip
    assert (merged == answer((BODY, 100), ((slice(0, 9), slice(0, 9)), 77))).all()


@pytest.mark.parametrize("quality", ["fast", "balanced", "best"])
def test_a_faint_hint_becomes_a_subject_and_an_empty_picture_stays_empty(quality: Quality) -> None:
    """A landscape has no clear subject; its cut-out is what the network leans to, not a refusal."""
    picture = np.zeros((40, 40, 3), np.uint8)
    hint, nothing = np.zeros((40, 40), np.uint8), np.full((40, 40), 4, np.uint8)
    hint[10:30, 10:30] = 12
    assert blend(picture, {GENERAL: hint}, None, quality)[20, 20] == 255
    assert blend(picture, {GENERAL: hint}, None, quality)[2, 2] == 0
    assert not blend(picture, {GENERAL: nothing}, None, quality).any()


def test_a_hint_of_the_small_network_is_enough() -> None:
    picture = np.zeros((40, 40, 3), np.uint8)
    hint, nothing = np.zeros((40, 40), np.uint8), np.full((40, 40), 4, np.uint8)
    hint[10:30, 10:30] = 120
    assert blend(picture, {GENERAL: nothing, SMALL: hint}, None, "balanced")[20, 20] == 255
    hint[hint > 0] = 38
    assert not blend(picture, {GENERAL: nothing, SMALL: hint}, None, "balanced").any()
