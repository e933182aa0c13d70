"""The counters of every real process, and what dashboards and rules ask of them."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tools.observe.prometheus import Prometheus, missing, running_prometheus

from matteworks_client import MatteworksClient
from tests.support.edge_harness import picture
from tests.support.promql import everything_asked, rules
from tests.support.stack import RunningStack

pytestmark = pytest.mark.stack

# What Prometheus or a target's own labels add.
ADDED = {"job", "instance", "process", "component", "le"}
# Empty unless something fails, or something is there that this stack has not.
MAY_BE_EMPTY = ("fail", "Fail", "not 2xx", "errors:ratio")


def pages(stack: RunningStack) -> dict[str, str]:
    """The page of every target, by process."""
    targets = json.loads((stack.state_directory / "metrics-targets.json").read_text())
    found = {}
    for target in targets:
        (address,) = target["targets"]
        path = target["labels"].get("__metrics_path__", "/metrics")
        found[target["labels"]["process"]] = httpx.get(f"http://{address}{path}", timeout=20).text
    return found


@pytest.fixture(scope="module")
def busy_stack(running_stack: RunningStack) -> RunningStack:
    """The stack after work of every kind."""
    photo = picture(200)
    headers = {"X-Api-Key": running_stack.key}
    with httpx.Client(base_url=running_stack.base_url, timeout=60) as http:
        for fields in ({"size": "auto"}, {"size": "nonsense"}):
            http.post("/v1.0/removebg", headers=headers, data=fields, files={"image_file": photo})
        http.post(
            "/remove-background/v1", headers={"x-api-key": running_stack.key}, files={"image_file": photo}
        )
        # Of a name that leads nowhere, so that a webhook fails.
        http.post(
            "/v1/remove/batch",
            headers={"Authorization": f"Bearer {running_stack.key}"},
            files=[("images", ("a.jpg", photo))],
            data={"webhook_url": "https://receiver.invalid/hook"},
        )
    with MatteworksClient(running_stack.internal_target) as client:
        batch = client.submit_batch([photo], key=running_stack.key)
        *_, last = client.watch(batch.batch_id, key=running_stack.key)
    assert last.is_ended
    return running_stack


def test_every_process_and_the_proxy_tell_their_counters(busy_stack: RunningStack) -> None:
    found = pages(busy_stack)

    assert set(found) == set(busy_stack.process_names) - {"valkey"}
    for process, page in found.items():
        if process != "envoy":
            for name in ("process_resident_memory_bytes", "process_open_fds", "matteworks_build_info"):
                assert name in page, process
            assert busy_stack.key not in page
    assert "envoy_cluster_retry_or_shadow_abandoned" in found["envoy"]


def test_of_envoys_admin_page_nothing_else_is_reached(busy_stack: RunningStack) -> None:
    targets = json.loads((busy_stack.state_directory / "metrics-targets.json").read_text())
    (address,) = next(t["targets"] for t in targets if t["labels"]["process"] == "envoy")

    for path in ("/", "/config_dump", "/quitquitquit", "/stats/prometheus/../config_dump"):
        assert httpx.post(f"http://{address}{path}", timeout=10).status_code == 404
        assert httpx.get(f"http://{address}{path}", timeout=10).status_code == 404


def test_labels_come_from_closed_sets(busy_stack: RunningStack) -> None:
    """Nothing that a caller sends becomes a series."""
    for route in ("/v1.0/removebg", "/some/path", "/v1/other"):
        httpx.post(f"{busy_stack.base_url}{route}", headers={"X-Api-Key": "no-key-of-ours"}, timeout=10)

    text = "\n".join(page for name, page in pages(busy_stack).items() if name != "envoy")
    assert "no-key-of-ours" not in text
    assert "some/path" not in text
    assert "development" not in text, "no account's name either"


def test_dashboards_and_rules_ask_for_what_there_is(busy_stack: RunningStack) -> None:
    labels: dict[str, set[str]] = defaultdict(set)
    for page in pages(busy_stack).values():
        for family in text_string_to_metric_families(page):
            # A counter without series yet is told under its name alone.
            labels.setdefault(family.name, set())
            labels.setdefault(f"{family.name}_total", set())
            for sample in family.samples:
                labels[sample.name] |= set(sample.labels)
                # Envoy's counters do without the suffix, which the parser adds.
                labels[family.name] |= set(sample.labels)
    labels["up"] = set()
    for rule in rules("recording"):
        (asked,) = [one for one in everything_asked() if one.expression == rule["expr"]]
        labels[rule["record"]] |= asked.grouped | set(rule.get("labels", ())) | {"instance"}

    for asked in everything_asked():
        assert asked.metrics, f"{asked.where}: nothing is asked"
        known = set(ADDED)
        for name, selected in asked.metrics.items():
            assert name in labels, f"{asked.where} asks for {name}, which nobody tells"
            assert selected <= labels[name] | ADDED, f"{asked.where}: {name} has only {labels[name]}"
            known |= labels[name]
        assert asked.grouped <= known, f"{asked.where} groups by {asked.grouped - known}"


def empty_panels(prometheus: Prometheus) -> list[str]:
    """The panels and rules without a value that should have one."""
    return [
        asked.where
        for asked in everything_asked()
        if not asked.where.startswith("Matteworks")
        and not any(part in asked.where for part in MAY_BE_EMPTY)
        and not prometheus.query(asked.expression.replace("$__rate_interval", "1m"))
    ]


@pytest.mark.skipif(bool(missing("prometheus")), reason=missing("prometheus"))
def test_a_real_prometheus_fills_every_panel_and_fires_no_alert(
    busy_stack: RunningStack, tmp_path: Path
) -> None:
    targets = busy_stack.state_directory / "metrics-targets.json"
    photo = picture(100)
    with running_prometheus(tmp_path, targets, every_s=2) as prometheus:
        deadline_s = time.monotonic() + 45
        while time.monotonic() < deadline_s:
            httpx.post(
                f"{busy_stack.base_url}/v1.0/removebg",
                headers={"X-Api-Key": busy_stack.key}, files={"image_file": photo}, timeout=60,
            )  # fmt: skip
            seen = prometheus.get("/targets")["activeTargets"]
            # Rates need two looks at each process.
            empty = empty_panels(prometheus)
            if not empty and all(target["health"] == "up" for target in seen):
                break
            time.sleep(1)
        assert {target["health"] for target in seen} == {"up"}, [target["lastError"] for target in seen]
        unhealthy = [
            (rule["name"], rule.get("lastError"))
            for group in prometheus.get("/rules")["groups"]
            for rule in group["rules"]
            if rule["health"] == "err"
        ]
        firing = [alert["labels"]["alertname"] for alert in prometheus.get("/alerts")["alerts"]]

    assert unhealthy == []
    assert empty == []
    # Other tests on this stack may kill what they like; what they do not is money.
    assert "MatteworksBooksDrift" not in firing
