"""What the network lets through is what the topology says, and nothing else."""

from __future__ import annotations

import ipaddress

import pytest

from matteworks_deploy.topology import METRICS_PORT, SERVICES, Protocol
from tests.contract.chart.rendering import VALUES, Object, of_kind, selects

Call = tuple[str, str, int]


def calls(name: str) -> set[Call]:
    """(caller, called, port): what the egress of one and the ingress of the other both let through."""
    pods = of_kind(name, "Deployment") | of_kind(name, "StatefulSet")
    policies = of_kind(name, "NetworkPolicy").values()

    def sides(pod: Object, direction: str, peer_key: str) -> list[tuple[str, int]]:
        found = []
        for policy in policies:
            if not selects(policy["spec"]["podSelector"]["matchLabels"], pod):
                continue
            for rule in policy["spec"].get(direction, []):
                for peer in rule.get(peer_key, []):
                    if "podSelector" not in peer or "namespaceSelector" in peer:
                        continue
                    found += [
                        (other, port["port"])
                        for other, pod_ in pods.items()
                        if selects(peer["podSelector"]["matchLabels"], pod_)
                        for port in rule["ports"]
                    ]
        return found

    sent = {(key, other, port) for key, pod in pods.items() for other, port in sides(pod, "egress", "to")}
    taken = {(other, key, port) for key, pod in pods.items() for other, port in sides(pod, "ingress", "from")}
    assert sent == taken
    return sent


@pytest.mark.parametrize("name", VALUES)
def test_only_the_calls_of_the_topology_get_through(name: str) -> None:
    workloads = {
        key: found["metadata"]["labels"]["app.kubernetes.io/component"]
        for key, found in of_kind(name, "Deployment").items()
    }
    expected: set[Call] = set()
    for row in SERVICES:
        for key in (key for key, component in workloads.items() if component == row.name):
            if row.protocol is not Protocol.NONE:
                expected |= {("envoy", key, port) for port in (row.port, row.http_port) if port}
            # The console asks every process how it is.
            expected |= {(other, key, row.port) for other in workloads if workloads[other] == "console"}
            if row.targets:
                expected.add((key, "envoy", 8081))
            if row.store and VALUES[name].get("valkey", {}).get("builtIn", True):
                expected.add((key, "valkey", 6379))

    assert calls(name) == expected


@pytest.mark.parametrize("name", VALUES)
def test_every_pod_is_closed_by_default(name: str) -> None:
    default = of_kind(name, "NetworkPolicy")["default"]["spec"]

    assert default["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in default
    for pod in (*of_kind(name, "Deployment").values(), *of_kind(name, "StatefulSet").values()):
        assert selects(default["podSelector"]["matchLabels"], pod)


def test_only_services_that_fetch_or_deliver_reach_the_internet_and_no_private_address() -> None:
    private = ["10.1.2.3", "172.20.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "fd00::1", "fe80::1"]
    reaching = set()
    for key, policy in of_kind("as it is", "NetworkPolicy").items():
        for rule in policy["spec"].get("egress", []):
            for block in (peer["ipBlock"] for peer in rule["to"] if "ipBlock" in peer):
                reaching.add(key)
                assert [one for one in private if _is_let_through(one, block)] == []
                assert _is_let_through("198.51.100.7", block) or _is_let_through("2001:db8::7", block)

    assert reaching == {row.name for row in SERVICES if row.reaches_outside}


def _is_let_through(address: str, block: Object) -> bool:
    one = ipaddress.ip_address(address)
    return one in ipaddress.ip_network(block["cidr"]) and not any(
        one in ipaddress.ip_network(excepted) for excepted in block["except"]
    )


def test_strangers_reach_only_the_public_listener() -> None:
    open_to_all = {
        (key, port["port"])
        for key, policy in of_kind("as it is", "NetworkPolicy").items()
        for rule in policy["spec"].get("ingress", [])
        if "from" not in rule
        for port in rule["ports"]
    }

    assert open_to_all == {("envoy", 8080)}


def test_metrics_are_read_by_those_who_watch() -> None:
    for row in SERVICES:
        rules = of_kind("as it is", "NetworkPolicy")[row.name]["spec"]["ingress"]
        (watching,) = (rule for rule in rules if rule["ports"][0]["port"] == METRICS_PORT)
        assert all("namespaceSelector" in peer for peer in watching["from"])


def test_clients_past_envoy_are_named() -> None:
    rules = of_kind("gpu", "NetworkPolicy")["inference"]["spec"]["ingress"]

    assert {"podSelector": {"matchLabels": {"team": "portraits"}}} in rules[0]["from"]
