"""The chart has every service of the topology, and its parts fit together."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from matteworks_deploy.chart import chart_files, chart_topology
from matteworks_deploy.compose import ENVOY_IMAGE, VALKEY_IMAGE, compose_yaml
from matteworks_deploy.local.parts import envoy_binary
from matteworks_deploy.topology import METRICS_PORT, SERVICES, Protocol, Service
from matteworks_inference.metrics import InferenceMetrics
from matteworks_jobs.metrics import JobsMetrics
from tests.contract.chart.rendering import (
    CHART,
    NAMESPACE,
    VALUES,
    Object,
    container,
    environment,
    of_kind,
    rendered,
    selects,
)
from tests.support.envoy_builder import validation_problem

ROOT = Path(__file__).resolve().parents[3]
INFERENCE = next(row for row in SERVICES if row.name == "inference")


def deployments(name: str, row: Service) -> dict[str, Object]:
    """The deployments of a row, by their names."""
    return {
        key: found
        for key, found in of_kind(name, "Deployment").items()
        if found["metadata"]["labels"]["app.kubernetes.io/component"] == row.name
    }


def envoy_config(name: str) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(of_kind(name, "ConfigMap")["envoy"]["data"]["envoy.json"])
    return parsed


def test_the_generated_files_are_current() -> None:
    files = (path for path in CHART.rglob("*") if path.is_file())
    written = {path.relative_to(CHART).as_posix(): path.read_text() for path in files}

    assert chart_files(CHART).items() <= written.items(), "run: matteworks chart-config"


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("row", SERVICES, ids=lambda row: row.name)
def test_every_service_runs_from_its_own_image_on_its_own_ports(row: Service, name: str) -> None:
    found = deployments(name, row)

    assert found
    for deployment in found.values():
        image = container(deployment)["image"]
        ports = {entry["name"]: entry["containerPort"] for entry in container(deployment)["ports"]}
        assert re.search(rf"(^|/)matteworks-{row.name}(-gpu)?(:|@sha256:)", image)
        assert ports == {"main": row.port, "metrics": METRICS_PORT} | (
            {"http": row.http_port} if row.http_port else {}
        )


@pytest.mark.parametrize("name", VALUES)
def test_a_service_finds_its_own_pods_alone_and_on_ports_that_they_have(name: str) -> None:
    pods = of_kind(name, "Deployment") | of_kind(name, "StatefulSet")
    for service_name, service in of_kind(name, "Service").items():
        found = {key: pod for key, pod in pods.items() if selects(service["spec"]["selector"], pod)}
        components = {pod["metadata"]["labels"]["app.kubernetes.io/component"] for pod in found.values()}

        assert components == {service["metadata"]["labels"]["app.kubernetes.io/component"]}, service_name
        for pod in found.values():
            named = {port["name"] for port in container(pod)["ports"]}
            assert {port["targetPort"] for port in service["spec"]["ports"]} <= named


@pytest.mark.parametrize("name", VALUES)
def test_services_of_grpc_have_no_address_of_their_own(name: str) -> None:
    """A connection through a cluster IP would stay at one pod."""
    by_address = {key for key, found in of_kind(name, "Service").items() if "clusterIP" not in found["spec"]}

    assert by_address == {""}


def test_networks_that_are_not_pooled_are_not_behind_envoy() -> None:
    services = of_kind("gpu", "Service")
    found = deployments("gpu", INFERENCE)

    assert {key for key, pod in found.items() if selects(services["inference"]["spec"]["selector"], pod)} == {
        "inference-cuda"
    }
    assert selects(
        services["inference-portraits"]["spec"]["selector"],
        of_kind("gpu", "Deployment")["inference-portraits"],
    )


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("row", SERVICES, ids=lambda row: row.name)
def test_every_variable_is_a_setting(row: Service, name: str) -> None:
    documented = set(re.findall(r"`(MATTEWORKS_\w+)`", (ROOT / "docs/settings.md").read_text()))
    # What every service has is documented for auth.
    documented |= {
        row.variable(one.removeprefix("MATTEWORKS_AUTH_")) for one in documented if "_AUTH_" in one
    }

    for deployment in deployments(name, row).values():
        variables = set(environment(deployment)) - {"VALKEY_PASSWORD"}
        assert variables - documented == set()


@pytest.mark.parametrize("row", SERVICES, ids=lambda row: row.name)
def test_a_pod_gets_what_compose_gives(row: Service) -> None:
    in_compose = yaml.safe_load(compose_yaml())["services"][row.name].get("environment", {})
    (deployment,) = deployments("as it is", row).values()

    # Where callers reach the gateway is the one thing that no default can know.
    assert set(in_compose) - set(environment(deployment)) <= {"MATTEWORKS_JOBS_PUBLIC_URL"}


def test_the_programs_that_are_not_ours_are_those_of_compose() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())

    assert (values["envoy"]["image"], values["valkey"]["image"]) == (ENVOY_IMAGE, VALKEY_IMAGE)


@pytest.mark.parametrize("name", VALUES)
def test_secrets_come_from_the_secret_of_the_deployment(name: str) -> None:
    for row in SERVICES:
        wanted = {row.variable(secret.value) for secret in row.secrets}
        for deployment in deployments(name, row).values():
            variables = environment(deployment)
            assert {variables[one]["secretKeyRef"]["name"] for one in wanted} <= {"matteworks"}
            texts = [value for value in variables.values() if isinstance(value, str)]
            assert not any(re.search(r"://[^@/]*:(?!\$\(VALKEY_PASSWORD\))[^@/]*@", text) for text in texts)


def test_a_store_of_yours_is_reached_with_its_login() -> None:
    (auth,) = (
        environment(one)
        for one in of_kind("stores elsewhere", "Deployment").values()
        if "auth" in one["metadata"]["name"]
    )

    assert auth["MATTEWORKS_AUTH_STORE_URL"] == "rediss://matte:$(VALKEY_PASSWORD)@valkey.example:6380/0"
    assert list(auth).index("VALKEY_PASSWORD") < list(auth).index("MATTEWORKS_AUTH_STORE_URL")


@pytest.mark.parametrize("name", VALUES)
def test_envoy_accepts_its_configuration_and_finds_every_service(name: str, tmp_path: Path) -> None:
    config = envoy_config(name)
    for file, text in of_kind(name, "ConfigMap")["envoy"]["data"].items():
        (tmp_path / file).write_text(text)
    services = {
        f"{found['metadata']['name']}.{NAMESPACE}.svc.cluster.local": {
            port["port"] for port in found["spec"]["ports"]
        }
        for found in of_kind(name, "Service").values()
    }
    addresses = {
        cluster["name"]: cluster["loadAssignment"]["endpoints"][0]["lbEndpoints"][0]["endpoint"]["address"]
        for cluster in config["staticResources"]["clusters"]
        if cluster["name"] != "admin"
    }

    # Where the volume would be, this machine has nothing.
    text = json.dumps(config).replace("/etc/envoy", str(tmp_path))
    assert validation_problem(text, envoy_binary()) is None
    assert set(addresses) == {row.name for row in SERVICES if row.protocol is not Protocol.NONE} | {
        row.http_name for row in SERVICES if row.http_port
    }
    for address in addresses.values():
        where = address["socketAddress"]
        assert where["portValue"] in services[where["address"]]


@pytest.mark.parametrize(
    ("name", "most"), [("as it is", 64 * 2), ("everything on", 64 * 10), ("gpu", 64 * 10)]
)
def test_envoy_lets_as_many_calls_through_as_all_processes_may_take(name: str, most: int) -> None:
    clusters = {cluster["name"]: cluster for cluster in envoy_config(name)["staticResources"]["clusters"]}

    for cluster in ("inference", "inference-http"):
        (threshold,) = clusters[cluster]["circuitBreakers"]["thresholds"]
        assert {threshold[key] for key in ("maxRequests", "maxPendingRequests", "maxConnections")} == {most}


def test_proxies_in_front_are_believed_only_when_named() -> None:
    def hops(name: str) -> Any:
        public = envoy_config(name)["staticResources"]["listeners"][0]
        return public["filterChains"][0]["filters"][0]["typedConfig"].get("xffNumTrustedHops")

    assert (hops("as it is"), hops("everything on")) == (None, 1)


@pytest.mark.parametrize("name", VALUES)
def test_every_pod_is_nobody_special(name: str) -> None:
    for pod in (*of_kind(name, "Deployment").values(), *of_kind(name, "StatefulSet").values()):
        spec = pod["spec"]["template"]["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsUser"] == 10001
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for one in (*spec["containers"], *spec.get("initContainers", [])):
            assert one["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "runAsNonRoot": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert {"requests", "limits"} <= one["resources"].keys()
            assert "memory" in one["resources"]["limits"]


@pytest.mark.parametrize("name", VALUES)
def test_a_pod_has_the_time_to_drain(name: str) -> None:
    for row in SERVICES:
        for deployment in deployments(name, row).values():
            variables = environment(deployment)
            needed_s = sum(float(variables[row.variable(key)]) for key in ("DRAIN_DELAY_S", "GRACE_S"))
            assert deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > needed_s


@pytest.mark.parametrize("name", VALUES)
def test_every_deployment_is_ready_alive_spread_and_guarded(name: str) -> None:
    budgets = of_kind(name, "PodDisruptionBudget")
    for key, deployment in of_kind(name, "Deployment").items():
        assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container(deployment).keys()
        spec = deployment["spec"]["template"]["spec"]
        for spread in spec["topologySpreadConstraints"]:
            assert selects(spread["labelSelector"]["matchLabels"], deployment)
        guarded = [
            other
            for other, pod in of_kind(name, "Deployment").items()
            if selects(budgets[key]["spec"]["selector"]["matchLabels"], pod)
        ]
        assert guarded == [key]
        assert budgets[key]["spec"]["maxUnavailable"] == 1


@pytest.mark.parametrize("name", VALUES)
def test_mounts_are_volumes_and_volumes_are_claimed(name: str) -> None:
    claims = {
        found["metadata"]["name"] for found in rendered(name) if found["kind"] == "PersistentVolumeClaim"
    }
    for deployment in of_kind(name, "Deployment").values():
        spec = deployment["spec"]["template"]["spec"]
        volumes = {volume["name"] for volume in spec["volumes"]}
        for one in (*spec["containers"], *spec.get("initContainers", [])):
            assert {mount["name"] for mount in one["volumeMounts"]} <= volumes
        claimed = {
            volume["persistentVolumeClaim"]["claimName"]
            for volume in spec["volumes"]
            if "persistentVolumeClaim" in volume
        }
        assert claimed - claims <= {"weights"}


def test_weights_are_read_only() -> None:
    (inference,) = deployments("as it is", INFERENCE).values()
    (mount,) = (entry for entry in container(inference)["volumeMounts"] if entry["name"] == "models")

    assert mount == {"name": "models", "mountPath": "/models", "readOnly": True}


def test_a_service_computes_on_the_cores_that_its_pod_asks_for() -> None:
    for row in SERVICES:
        for deployment in deployments("as it is", row).values():
            threads = environment(deployment).get(row.variable("THREADS"))
            assert (threads is not None) == row.workers_by_cores
            if threads:
                assert threads["resourceFieldRef"]["resource"] == "requests.cpu"


@pytest.mark.parametrize("name", ["everything on", "stores elsewhere", "gpu"])
def test_what_is_scaled_is_there_and_has_no_number_of_its_own(name: str) -> None:
    scalers = {**of_kind(name, "HorizontalPodAutoscaler"), **of_kind(name, "ScaledObject")}
    found = of_kind(name, "Deployment")

    assert set(scalers) == set(found)
    for key, scaler in scalers.items():
        assert scaler["spec"]["scaleTargetRef"]["name"] == found[key]["metadata"]["name"]
        assert "replicas" not in found[key]["spec"]


def test_inference_and_workers_scale_on_metrics_that_there_are() -> None:
    registry = CollectorRegistry()
    InferenceMetrics(registry)
    JobsMetrics(registry)
    samples = {sample for family in registry.collect() for sample in _sample_names(family.name, family.type)}
    queries = [
        trigger["metadata"]["query"]
        for found in of_kind("everything on", "ScaledObject").values()
        for trigger in found["spec"]["triggers"]
    ]

    assert len(queries) == 3
    assert {one for query in queries for one in re.findall(r"matteworks_\w+", query)} <= samples
    assert f'namespace="{NAMESPACE}"' in "".join(queries)


def _sample_names(name: str, kind: str) -> list[str]:
    endings = {"counter": ["_total"], "histogram": ["_sum", "_count", "_bucket"]}
    return [name + ending for ending in endings.get(kind, [""])]


def test_metrics_are_found_by_their_label() -> None:
    (monitor,) = of_kind("everything on", "ServiceMonitor").values()
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    watched = {
        key
        for key, found in of_kind("everything on", "Service").items()
        if wanted <= found["metadata"]["labels"].items()
    }

    assert watched == {row.name for row in SERVICES} | {"envoy-internal"}


def test_the_gateway_waits_as_long_as_envoy() -> None:
    (route,) = of_kind("everything on", "HTTPRoute").values()
    public = envoy_config("everything on")["staticResources"]["listeners"][0]
    hosts = public["filterChains"][0]["filters"][0]["typedConfig"]["routeConfig"]["virtualHosts"]
    edge = next(one for one in hosts[0]["routes"] if one["name"] == "edge")

    assert route["spec"]["rules"][0]["timeouts"]["request"] == edge["route"]["timeout"] == "150s"


def test_with_mutual_tls_everybody_uses_the_certificate_that_is_mounted() -> None:
    """Names as the settings and Envoy's builder ask for: the service's, and that by which Envoy is called."""
    certificates = {
        key.removesuffix("-tls"): found["spec"]["dnsNames"]
        for key, found in of_kind("everything on", "Certificate").items()
        if key != "gateway-tls"
    }
    called = environment(of_kind("everything on", "Deployment")["edge"])["MATTEWORKS_EDGE_AUTH_TARGET"]
    data = of_kind("everything on", "ConfigMap")["envoy"]["data"]

    assert called.partition(":")[0] in certificates["envoy"]
    for row in SERVICES:
        assert row.name in certificates[row.name]
        for deployment in deployments("everything on", row).values():
            at = environment(deployment)[row.variable("TLS_DIRECTORY")]
            assert at in {mount["mountPath"] for mount in container(deployment)["volumeMounts"]}
            assert f"{at}/tls.crt" in "".join(data.values())
    for name in re.findall(r"/etc/envoy/([\w.-]+)", data["envoy.json"]):
        assert name in data
    assert (
        "tls" not in of_kind("as it is", "ConfigMap")["envoy"]["data"]["envoy.json"].lower().split("tlsv")[0]
    )


def test_each_service_has_a_certificate_where_it_is_mounted() -> None:
    secrets = {found["spec"]["secretName"] for found in of_kind("everything on", "Certificate").values()}
    for deployment in of_kind("everything on", "Deployment").values():
        (mounted,) = (
            volume["secret"]["secretName"]
            for volume in deployment["spec"]["template"]["spec"]["volumes"]
            if volume["name"] == "tls"
        )
        assert mounted in secrets


def test_a_new_service_would_be_in_the_chart() -> None:
    """The templates name no service: they loop over the rows."""
    texts = {path.name: path.read_text() for path in (CHART / "templates").iterdir()}
    names = "|".join(row.name for row in SERVICES if row.name not in ("inference", "worker"))

    assert [row["name"] for row in chart_topology()["services"]] == [row.name for row in SERVICES]
    assert {
        file: found
        for file, text in texts.items()
        if (found := re.findall(rf'"(?:{names})"', text)) and file != "NOTES.txt"
    } == {}
