"""Where the rectangles of a chart go."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matteworks_console.charts.bars import stacked_bars

DAYS = ["2026-11-22", "2026-11-23"]


def test_bars_stand_on_each_other_and_are_as_high_as_their_values() -> None:
    chart = stacked_bars(DAYS, {"done": [4, 0], "failed": [4, 0]})
    done, failed = chart.bars

    assert done.y + done.height == pytest.approx(chart.base)
    assert failed.y + failed.height == pytest.approx(done.y)
    assert done.height == failed.height
    assert [tick.text for tick in chart.values] == ["0", "2", "4", "6", "8"]


def test_nothing_is_an_empty_chart() -> None:
    assert stacked_bars(DAYS, {"done": [0, 0]}).bars == ()
    assert stacked_bars([], {"done": []}).bars == ()


@given(st.lists(st.floats(0, 1e12), min_size=1, max_size=60))
def test_every_bar_is_inside_the_picture(values: list[float]) -> None:
    days = [f"2026-01-{number:02}" for number in range(len(values))]
    chart = stacked_bars(days, {"a": values, "b": values})

    for bar in chart.bars:
        assert 0 <= bar.x <= bar.x + bar.width <= chart.width
        assert 0 <= bar.y <= bar.y + bar.height <= chart.base + 0.1
