"""Writes deploy/monitoring/dashboards/*.json from tools/dashboards; --check fails when a file differs."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

from grafana_foundation_sdk.builders import common, dashboard, prometheus, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import StackingMode
from grafana_foundation_sdk.models.dashboard import DataSourceRef

from tools.dashboards.boards import BOARDS
from tools.dashboards.panels import Board, Panel

FOLDER = Path(__file__).resolve().parents[1] / "deploy" / "monitoring" / "dashboards"
_WHOLE_WIDTH, _HEIGHT = 24, 8
_SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")


def dashboard_json(board: Board) -> str:
    """The dashboard as Grafana imports it."""
    made = (
        dashboard.Dashboard(board.title)
        .uid(board.uid)
        .description(board.told)
        .tags(["matteworks"])
        .editable()
        .refresh("10s")
        .time("now-1h", "now")
        .timezone("browser")
        .with_variable(dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
    )
    numbers = itertools.count(1)
    for title, panels in board.rows:
        made = made.with_row(dashboard.Row(title).id(next(numbers)))
        for one in panels:
            width = _WHOLE_WIDTH // (4 if len(panels) == 4 else 3)
            made = made.with_panel(_panel(one, width).id(next(numbers)))
    return JSONEncoder(sort_keys=True, indent=2).encode(made.build()) + "\n"


def _panel(one: Panel, width: int) -> timeseries.Panel:
    made = (
        timeseries.Panel()
        .title(one.title)
        .description(one.told)
        .datasource(_SOURCE)
        .unit(one.unit)
        .min(0)
        .height(_HEIGHT)
        .span(width)
        .fill_opacity(20 if one.is_stacked else 0)
    )
    if one.is_stacked:
        made = made.stacking(common.StackingConfig().mode(StackingMode.NORMAL))
    for index, curve in enumerate(one.curves):
        made = made.with_target(
            prometheus.Dataquery()
            .expr(curve.expression)
            .legend_format(curve.legend)
            .ref_id(chr(ord("A") + index))
            .range()
        )
    return made


def main() -> None:
    """See the module."""
    texts = {FOLDER / f"{board.uid}.json": dashboard_json(board) for board in BOARDS}
    if sys.argv[1:] == ["--check"]:
        old = [path.name for path, text in texts.items() if not path.is_file() or path.read_text() != text]
        left = [path.name for path in FOLDER.glob("*.json") if path not in texts]
        if old or left:
            sys.exit(f"{', '.join(old + left)} not current; run: python -m tools.gen_dashboards")
        return
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path, text in texts.items():
        path.write_text(text)


if __name__ == "__main__":
    main()
