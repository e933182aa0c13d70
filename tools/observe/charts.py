"""A page with the panels of a dashboard, drawn from what Prometheus has. It stands in for Grafana, which is
nowhere to be had as a package: the same titles, expressions and units, simpler axes.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, isfinite, log10
from typing import Any, Final

WIDTH: Final = 400
HEIGHT: Final = 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 10, 8, 20
_COLOURS: Final = (
    "#3274d9", "#e0752d", "#299c46", "#a352cc", "#c4162a",
    "#8f8f00", "#1f9e9e", "#b877d9", "#7a5c3e", "#5a6b7b",
)  # fmt: skip
_MOST_NAMED: Final = 8
_STYLE: Final = """
body { font: 13px/1.35 system-ui, sans-serif; margin: 16px; color: #1f2933; background: #f4f5f7 }
h1 { font-size: 20px; margin: 0 } p { margin: 2px 0 10px; color: #52606d }
h2 { font-size: 14px; margin: 14px 0 6px }
.row { display: grid; grid-template-columns: repeat(24, 1fr); gap: 10px }
figure { margin: 0; background: #fff; border: 1px solid #dde1e6; border-radius: 4px; padding: 8px }
figcaption { font-weight: 600; margin-bottom: 4px } svg text { font-size: 10px; fill: #52606d }
ul { list-style: none; margin: 4px 0 0; padding: 0; columns: 2; font-size: 11px; color: #52606d }
li { white-space: nowrap; overflow: hidden; text-overflow: ellipsis }
i { display: inline-block; width: 10px; height: 3px; margin-right: 5px; vertical-align: middle }
"""


@dataclass(frozen=True)
class Series:
    """A curve: pairs of seconds since 1970 and values."""

    name: str
    points: Sequence[tuple[float, float]]


def board_page(
    board: Mapping[str, Any], series: Mapping[int, Sequence[Series]], start: float, end: float
) -> str:
    """The page of a dashboard's JSON; `series` by the panel's id."""
    parts = [f"<style>{_STYLE}</style><h1>{html.escape(board['title'])}</h1>"]
    parts.append(f"<p>{html.escape(board['description'])}</p>")
    is_open = False
    for panel in board["panels"]:
        if panel["type"] == "row":
            parts.append("</div>" if is_open else "")
            parts.append(f"<h2>{html.escape(panel['title'])}</h2><div class=row>")
            is_open = True
        else:
            parts.append(_figure(panel, series[panel["id"]], start, end))
    return "".join([*parts, "</div>"])


def _figure(panel: Mapping[str, Any], series: Sequence[Series], start: float, end: float) -> str:
    custom = panel["fieldConfig"]["defaults"].get("custom", {})
    is_stacked = custom.get("stacking", {}).get("mode") == "normal"
    unit = panel["fieldConfig"]["defaults"].get("unit", "short")
    shown = sorted(series, key=lambda one: (-_highest(one.points), one.name))
    curves = _stacked(shown) if is_stacked else [(one, one.points, None) for one in shown]
    values = [value for _, points, _ in curves for _, value in points if isfinite(value)]
    top = _nice(max(values, default=0.0), 1024.0 if unit == "bytes" else 1000.0)
    drawn = "".join(
        _curve(points, floor_points, _COLOURS[index % len(_COLOURS)], start, end, top)
        for index, (_, points, floor_points) in reversed(list(enumerate(curves)))
    )
    names = "".join(
        f"<li><i style='background:{_COLOURS[index % len(_COLOURS)]}'></i>{html.escape(one.name)}"
        for index, one in enumerate(shown[:_MOST_NAMED])
    )
    more = f"<li>and {len(shown) - _MOST_NAMED} more" if len(shown) > _MOST_NAMED else ""
    if not values:
        drawn = f"<text x={WIDTH // 2} y={HEIGHT // 2} text-anchor=middle>No data</text>"
    return (
        f"<figure style='grid-column: span {panel['gridPos']['w']}'>"
        f"<figcaption>{html.escape(panel['title'])}</figcaption>"
        f"<svg viewBox='0 0 {WIDTH} {HEIGHT}' width='100%'>{_axes(top, unit, start, end)}{drawn}</svg>"
        f"<ul>{names}{more}</ul></figure>"
    )


Points = Sequence[tuple[float, float]]


def _stacked(series: Sequence[Series]) -> list[tuple[Series, Points, Points | None]]:
    below: dict[float, float] = {}
    found: list[tuple[Series, Points, Points | None]] = []
    for one in series:
        lower = [(at, below.get(at, 0.0)) for at, _ in one.points]
        upper = [(at, below.get(at, 0.0) + (value if isfinite(value) else 0.0)) for at, value in one.points]
        below |= dict(upper)
        found.append((one, upper, lower))
    return found


def _curve(points: Points, lower: Points | None, colour: str, start: float, end: float, top: float) -> str:
    def place(at: float, value: float) -> str:
        x = _LEFT + (at - start) / (end - start) * (WIDTH - _LEFT - _RIGHT)
        y = HEIGHT - _BOTTOM - min(value / top, 1.02) * (HEIGHT - _TOP - _BOTTOM)
        return f"{x:.1f},{y:.1f}"

    line = " ".join(place(at, value) for at, value in points if isfinite(value))
    area = ""
    if lower is not None and points:
        back = " ".join(place(at, value) for at, value in reversed(lower))
        area = f"<polygon points='{line} {back}' fill='{colour}' fill-opacity='.25'/>"
    return f"{area}<polyline points='{line}' fill='none' stroke='{colour}' stroke-width='1.5'/>"


def _axes(top: float, unit: str, start: float, end: float) -> str:
    parts = []
    for step in range(5):
        value = top * step / 4
        y = HEIGHT - _BOTTOM - step / 4 * (HEIGHT - _TOP - _BOTTOM)
        parts.append(f"<line x1={_LEFT} x2={WIDTH - _RIGHT} y1={y:.1f} y2={y:.1f} stroke='#e4e7eb'/>")
        parts.append(f"<text x={_LEFT - 5} y={y + 3:.1f} text-anchor=end>{in_unit(value, unit)}</text>")
    minutes = max(1, ceil((end - start) / 60 / 6))
    for minute in range(0, floor((end - start) / 60) + 1, minutes):
        x = _LEFT + minute * 60 / (end - start) * (WIDTH - _LEFT - _RIGHT)
        anchor = "end" if x > WIDTH - 3 * _RIGHT else "middle"
        parts.append(f"<text x={x:.1f} y={HEIGHT - 6} text-anchor={anchor}>{minute} min</text>")
    return "".join(parts)


def _highest(points: Points) -> float:
    return max((value for _, value in points if isfinite(value)), default=0.0)


def _nice(value: float, base: float) -> float:
    """The next of 1, 2, 4, 5, 8 and 10 times a power of ten, in units of a power of `base`.

    Quarters of it are round too.
    """
    if value <= 0:
        return 1.0
    unit = base ** floor(log10(value) / log10(base))
    power = 10.0 ** floor(log10(value / unit))
    return next(step * power * unit for step in (1, 2, 4, 5, 8, 10) if step * power >= value / unit * 0.999)


def in_unit(value: float, unit: str) -> str:
    """`value` with a unit of Grafana's."""
    if unit == "percentunit":
        return f"{value * 100:.3g} %"
    if unit == "s":
        return f"{value * 1000:.3g} ms" if 0 < value < 1 else f"{value:.4g} s"
    if unit == "bytes":
        for name in ("B", "KiB", "MiB", "GiB"):
            if value < 1024 or name == "GiB":
                return f"{value:.3g} {name}"
            value /= 1024
    if unit == "reqps":
        return f"{value:.3g}/s"
    return f"{value:.4g}"
