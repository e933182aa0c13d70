"""What a dashboard is made of, before it is Grafana's JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# Units as Grafana names them.
Unit = Literal["short", "reqps", "s", "percentunit", "bytes", "Bps", "none"]
# What `rate` looks back over: Grafana fits it to the interval of scraping and to the zoom.
WINDOW = "$__rate_interval"


@dataclass(frozen=True)
class Curve:
    """One expression, and the legend of its series in Grafana's form: `{{label}}`."""

    expression: str
    legend: str


@dataclass(frozen=True)
class Panel:
    """Curves over time. `is_stacked`: their sum means something too."""

    title: str
    unit: Unit
    curves: tuple[Curve, ...]
    told: str = ""
    is_stacked: bool = False


@dataclass(frozen=True)
class Board:
    """A dashboard; `rows` are titles with the panels below them."""

    uid: str
    title: str
    told: str
    rows: tuple[tuple[str, tuple[Panel, ...]], ...]


def panel(
    title: str, unit: Unit, *curves: tuple[str, str], told: str = "", is_stacked: bool = False
) -> Panel:
    """A panel of pairs of expression and legend."""
    return Panel(title, unit, tuple(Curve(*curve) for curve in curves), told, is_stacked)


def rate(metric: str, by: str = "", where: str = "") -> str:
    """Events a second, summed by labels."""
    selector = f"{metric}{{{where}}}" if where else metric
    return f"sum{f' by ({by})' if by else ''} (rate({selector}[{WINDOW}]))"


def quantile(share: float, metric: str, by: str = "", where: str = "") -> str:
    """A quantile of a histogram, by labels."""
    return f"histogram_quantile({share}, {rate(metric + '_bucket', f'{by}, le' if by else 'le', where)})"


def mean(metric: str, by: str = "") -> str:
    """The mean of a histogram, by labels."""
    return f"{rate(metric + '_sum', by)} / {rate(metric + '_count', by)}"
