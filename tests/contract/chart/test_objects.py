"""Every object that the chart can make is one that a cluster takes."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
from kubernetes_validate import utils
from tools import helm

from tests.contract.chart.rendering import CHART, NAMESPACE, VALUES, Object, rendered

KUBERNETES = "1.37"
OLDEST_KUBERNETES = "1.27"
CUSTOM = Path(__file__).parent / "custom_resources"
CUSTOM_GROUPS = {"gateway.networking.k8s.io", "keda.sh", "cert-manager.io", "monitoring.coreos.com"}


@pytest.fixture(autouse=True, scope="module")
def _schemas_are_read_once() -> Iterator[None]:
    """The library reads megabytes of definitions for each object."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(utils, "schema_contents", cache(utils.schema_contents))
        yield


def problem(found: Object, kubernetes: str = KUBERNETES) -> str | None:
    """What a cluster has against an object; None when it takes it."""
    if found["apiVersion"].partition("/")[0] in CUSTOM_GROUPS:
        schema = json.loads((CUSTOM / f"{found['kind']}.json").read_text())
        error = jsonschema.Draft202012Validator(schema)
        return next((one.message for one in error.iter_errors(found)), None)
    try:
        kubernetes_validate.validate(found, kubernetes, strict=True)
    except kubernetes_validate.ValidationError as error:
        return f"{list(error.path)}: {error.message}"
    except kubernetes_validate.SchemaNotFoundError as error:
        return str(error.message)
    return None


@pytest.mark.parametrize("name", VALUES)
def test_every_object_fits_its_schema(name: str) -> None:
    found = {f"{one['kind']} {one['metadata']['name']}": problem(one) for one in rendered(name)}

    assert {what: why for what, why in found.items() if why} == {}


def test_the_oldest_kubernetes_that_the_chart_names_takes_it() -> None:
    assert helm.metadata(CHART)["kubeVersion"] == f">={OLDEST_KUBERNETES}.0-0"

    found = {f"{one['kind']}": problem(one, OLDEST_KUBERNETES) for one in rendered("as it is")}

    assert {what: why for what, why in found.items() if why} == {}


def _broken(found: Object, path: tuple[str | int, ...], value: Any) -> Object:
    broken = copy.deepcopy(found)
    inner: Any = broken
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    return broken


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("Deployment", ("spec", "replica"), 2),
        ("Deployment", ("apiVersion",), "apps/v9"),
        ("HTTPRoute", ("spec", "rules", 0, "timeouts", "requests"), "1s"),
        ("HTTPRoute", ("spec", "rules", 0, "timeouts", "request"), "1 s"),
        ("Gateway", ("spec", "listeners", 0, "port"), "https"),
        ("Certificate", ("spec", "privateKey", "algorithm"), "DSA"),
        ("Certificate", ("spec", "issuer"), "team"),
        ("ServiceMonitor", ("spec", "endpoints", 0, "intervall"), "15s"),
        ("PrometheusRule", ("spec", "groups", 0, "rules", 0, "expression"), "up"),
        ("ScaledObject", ("spec", "triggers", 0, "metadata", "threshold"), 5),
        ("ScaledObject", ("spec", "maxReplicas"), 5),
    ],
)
def test_a_broken_object_is_refused(kind: str, path: tuple[str | int, ...], value: Any) -> None:
    """Otherwise the test above would prove nothing."""
    found = next(one for one in rendered("everything on") if one["kind"] == kind)

    assert problem(found) is None
    assert problem(_broken(found, path, value)) is not None


def test_every_kind_is_rendered_by_some_values() -> None:
    kinds = {one["kind"] for name in VALUES for one in rendered(name)}

    assert {path.stem for path in CUSTOM.glob("*.json")} <= kinds
    assert {"Deployment", "StatefulSet", "NetworkPolicy", "HorizontalPodAutoscaler"} < kinds


@pytest.mark.parametrize("name", VALUES)
def test_helm_has_nothing_against_the_chart(name: str) -> None:
    report = helm.lint(CHART, VALUES[name], namespace=NAMESPACE)

    assert report["errors"] == []
    assert [message for message in report["messages"] if message["severity"] > 1] == []


@pytest.mark.parametrize("name", VALUES)
def test_no_two_objects_have_the_same_name(name: str) -> None:
    names = [(one["kind"], one["metadata"]["name"]) for one in rendered(name)]

    assert len(set(names)) == len(names)
    assert {one["metadata"]["namespace"] for one in rendered(name)} == {NAMESPACE}


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"servics": {}}, "servics"),
        ({"services": {"edgy": {}}}, "edgy"),
        ({"services": {"edge": {"replica": 3}}}, "replica"),
        ({"services": {"edge": {"settings": {"MATTEWORKS_EDGE_LOG_LEVEL": "DEBUG"}}}}, "MATTEWORKS_EDGE"),
        ({"image": {"tag": "latest"}}, "tag"),
        ({"secrets": {"adminToken": "x"}}, "adminToken"),
        ({"valkey": {"builtIn": False}}, "host"),
        ({"gateway": {"enabled": True}}, "hostnames"),
        ({"gateway": {"enabled": True, "hostnames": ["a.example"]}}, "className"),
        ({"objectStore": {"url": "results"}}, "url"),
        ({"inference": {"deployments": {"cpu": {"device": "tpu"}}}}, "device"),
    ],
)
def test_wrong_values_are_refused_by_name(values: dict[str, Any], named: str) -> None:
    with pytest.raises(helm.HelmRefused, match=named):
        helm.render(CHART, values, name="cutouts", namespace=NAMESPACE)
