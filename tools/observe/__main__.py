"""The dashboards under load: docs/images/dashboard-*.webp.

    python -m tools.observe [--seconds 180] [--callers 2] [--model u2netp] [--out docs/images]

Starts a stack and Debian's Prometheus with our own configuration and rules, sends mixed traffic from
loopback, and draws every panel of every dashboard from what Prometheus then has, with the expressions of
the dashboards' own JSON. No Grafana is involved: no registry that we may use has one.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.async_api import Browser, async_playwright

from matteworks_deploy.local.options import StackOptions
from matteworks_deploy.local.stack import running_stack
from tools.observe.charts import Series, board_page
from tools.observe.load import Load, receiving
from tools.observe.prometheus import MONITORING, Prometheus, missing, running_prometheus
from tools.page_screenshots import FLAGS, PHOTO, chromium_path

ROOT = Path(__file__).resolve().parents[2]
SCRAPED_EVERY_S = 5
# What Grafana takes at this interval of scraping.
RATE_INTERVAL = "30s"


def photos() -> list[bytes]:
    """The demo's photo in three sizes."""
    found = []
    with Image.open(PHOTO) as photo:
        for side_px in (300, 600, 1000):
            stream = io.BytesIO()
            photo.convert("RGB").resize((side_px, side_px)).save(stream, "JPEG", quality=90)
            found.append(stream.getvalue())
    return found


def series_of(prometheus: Prometheus, panel: dict[str, Any], start: float, end: float) -> list[Series]:
    """The curves of a panel, as Grafana would ask for them."""
    found = []
    for target in panel.get("targets", []):
        answer = prometheus.get(
            "/query_range",
            query=target["expr"].replace("$__rate_interval", RATE_INTERVAL),
            start=start,
            end=end,
            step=SCRAPED_EVERY_S,
        )
        for one in answer["result"]:
            name = target["legendFormat"]
            for label, value in one["metric"].items():
                name = name.replace(f"{{{{{label}}}}}", value)
            points = [(float(at), float(value)) for at, value in one["values"]]
            found.append(Series(name, points))
    return found


async def photograph(browser: Browser, page_html: str, target: Path) -> None:
    """Write the whole page to one small picture."""
    page = await browser.new_page(viewport={"width": 1480, "height": 900})
    await page.set_content(page_html)
    shot = Image.open(io.BytesIO(await page.screenshot(full_page=True)))
    await page.close()
    shot.convert("RGB").save(target, "WEBP", quality=78, method=6)
    print(f"{target.name}: {target.stat().st_size / 1000:.0f} kB")


async def run(
    seconds: float, callers: int, models: tuple[str, ...], out: Path, models_directory: Path
) -> list[str]:
    """Everything, with processes that end with it. The panels that stayed empty."""
    environment = {**os.environ, "MATTEWORKS_JOBS_INTERNAL_RECEIVERS": "127.0.0.0/8"}
    with tempfile.TemporaryDirectory() as scratch:
        options = StackOptions(
            port=0,
            state_directory=Path(scratch) / "state",
            models_directory=models_directory,
            models=models,
        )
        async with (
            running_stack(options, environment, lambda _name, _line: None) as stack,
            receiving() as hook_url,
            async_playwright() as playwright,
        ):
            with running_prometheus(
                Path(scratch) / "prometheus",
                stack.metrics_targets,
                every_s=SCRAPED_EVERY_S,
                evaluates_every_s=5,
            ) as prometheus:
                start = time.time()
                load = Load(stack.base_url, stack.key, hook_url, photos())
                await load.run(seconds, callers)
                # The last scrape and its rules.
                await asyncio.sleep(2 * SCRAPED_EVERY_S)
                end = time.time()
                print(f"answers by status: {dict(sorted(load.answers.items()))}")
                alerts = await asyncio.to_thread(prometheus.get, "/alerts")
                print(f"alerts: {[(a['labels']['alertname'], a['state']) for a in alerts['alerts']]}")
                browser = await playwright.chromium.launch(executable_path=chromium_path(), args=FLAGS)
                empty = []
                for path in sorted((MONITORING / "dashboards").glob("*.json")):
                    board = json.loads(path.read_text())
                    series = {
                        panel["id"]: await asyncio.to_thread(series_of, prometheus, panel, start, end)
                        for panel in board["panels"]
                    }
                    empty += [
                        f"{board['title']}: {panel['title']}"
                        for panel in board["panels"]
                        if panel["type"] != "row" and not series[panel["id"]]
                    ]
                    name = board["uid"].replace("matteworks", "dashboard")
                    await photograph(browser, board_page(board, series, start, end), out / f"{name}.webp")
                await browser.close()
    return empty


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=180)
    parser.add_argument("--callers", type=int, default=2)
    parser.add_argument("--model", action="append", help="as `matteworks up --model`; u2netp by default")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/images")
    parser.add_argument("--models-dir", type=Path, default=ROOT / "models")
    arguments = parser.parse_args()
    if reason := missing("prometheus"):
        sys.exit(f"{reason}; run: apt-get install prometheus")
    models = tuple(arguments.model or ["u2netp"])
    empty = asyncio.run(
        run(arguments.seconds, arguments.callers, models, arguments.out, arguments.models_dir)
    )
    print("\n".join(f"no data: {one}" for one in empty) or "every panel shows something")


if __name__ == "__main__":
    main()
