"""Stages of a request become bars that stand where the time went."""

from __future__ import annotations

import pytest

from matteworks_console.charts.waterfall import Span, waterfall

STAGES = [
    ("authenticate", 0.1),
    ("reserve", 0.1),
    ("render", 0.6),
    ("render.decode", 0.1),
    ("render.segment", 0.4),
    ("render.encode", 0.1),
    ("render.inference.queue", 0.1),
    ("render.inference.infer", 0.2),
    ("commit", 0.1),
]


def placed(spans: list[Span]) -> dict[str, tuple[float, float]]:
    return {span.name: (round(span.begin, 6), round(span.width, 6)) for span in spans}


def test_a_stage_begins_where_the_one_before_it_on_its_level_ended() -> None:
    assert placed(waterfall(STAGES, 1.0)) == {
        "authenticate": (0.0, 0.1),
        "reserve": (0.1, 0.1),
        "render": (0.2, 0.6),
        "decode": (0.2, 0.1),
        "segment": (0.3, 0.4),
        "queue": (0.3, 0.1),
        "infer": (0.4, 0.2),
        "encode": (0.7, 0.1),
        "commit": (0.8, 0.1),
    }


def test_parts_stand_below_their_whole() -> None:
    assert [(span.name, span.depth) for span in waterfall(STAGES, 1.0)] == [
        ("authenticate", 0),
        ("reserve", 0),
        ("render", 0),
        ("decode", 1),
        ("segment", 1),
        ("queue", 2),
        ("infer", 2),
        ("encode", 1),
        ("commit", 0),
    ]


@pytest.mark.parametrize("total_s", [0.0, 0.05, 100.0])
def test_no_bar_leaves_the_chart(total_s: float) -> None:
    for span in waterfall(STAGES, total_s):
        assert 0 <= span.begin <= 1
        assert span.width >= 0
        assert span.begin + span.width <= 1 + 1e-9


def test_a_stage_without_its_whole_stands_by_itself() -> None:
    assert placed(waterfall([("render.queue", 0.5)], 1.0)) == {"queue": (0.0, 0.5)}


def test_nothing_makes_no_bars() -> None:
    assert waterfall([], 0.0) == []
