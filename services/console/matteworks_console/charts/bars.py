"""Stacked bars over days: where every rectangle goes. A template draws them, so that all text is escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor, log10
from typing import Final

WIDTH: Final = 720
HEIGHT: Final = 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 8, 10, 26
_TICKS: Final = 4


@dataclass(frozen=True, slots=True)
class Bar:
    """One rectangle; `series` is its number, from 0 at the bottom."""

    x: float
    y: float
    width: float
    height: float
    series: int
    label: str


@dataclass(frozen=True, slots=True)
class Tick:
    """A text beside an axis, and where."""

    place: float
    text: str


@dataclass(frozen=True, slots=True)
class Chart:
    """All places in units of the view box, `width` by `height`."""

    width: int
    height: int
    left: int
    base: int
    bars: tuple[Bar, ...]
    values: tuple[Tick, ...]
    days: tuple[Tick, ...]
    series: tuple[str, ...]


def stacked_bars(days: Sequence[str], series: Mapping[str, Sequence[float]]) -> Chart:
    """Bars for `days` (YYYY-MM-DD); each of `series` has one value of 0 or more a day."""
    totals = [sum(values[index] for values in series.values()) for index in range(len(days))]
    top = _round_up(max(totals, default=0))
    room = HEIGHT - _TOP - _BOTTOM
    base = HEIGHT - _BOTTOM
    step = (WIDTH - _LEFT - _RIGHT) / max(1, len(days))
    bars = []
    for index, day in enumerate(days):
        y = float(base)
        for number, (name, values) in enumerate(series.items()):
            height = values[index] / top * room
            if height > 0:
                y -= height
                bars.append(
                    Bar(
                        round(_LEFT + index * step + step * 0.1, 2), round(y, 2), round(step * 0.8, 2),
                        round(height, 2), number, f"{day}: {values[index]:g} {name}",
                    )
                )  # fmt: skip
    every = max(1, round(len(days) / 6))
    return Chart(
        WIDTH,
        HEIGHT,
        _LEFT,
        base,
        tuple(bars),
        tuple(
            Tick(round(base - room * tick / _TICKS, 2), f"{top * tick / _TICKS:g}")
            for tick in range(_TICKS + 1)
        ),
        tuple(
            Tick(round(_LEFT + (index + 0.5) * step, 2), days[index][5:])
            for index in range(0, len(days), every)
        ),
        tuple(series),
    )


def _round_up(value: float) -> float:
    """The next of 4, 8, 20, 40, 80, 200 ...: quarters of it are round numbers."""
    if value <= 4:
        return 4
    scale = 10.0 ** floor(log10(value))
    return next(scale * step for step in (1, 2, 4, 8, 20) if value <= scale * step and scale * step >= 4)
