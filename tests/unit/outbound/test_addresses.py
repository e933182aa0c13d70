"""Public addresses pass; every way to write another one does not."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matteworks_outbound.addresses import InternalHosts, PublicAddresses, parse_internal_hosts

PRIVATE_V4 = ["127.0.0.1", "10.0.0.1", "172.31.255.255", "192.168.0.1", "169.254.169.254", "100.64.0.1",
              "0.0.0.0", "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.0.2.1",  # noqa: S104
              "198.18.0.1",
              "192.88.99.1"]  # fmt: skip
JUDGE = PublicAddresses()


def embedded(text: str) -> list[IPv6Address]:
    """Every IPv6 form that carries an IPv4 address."""
    number = int(IPv4Address(text))
    high, low = number >> 16, number & 0xFFFF
    return [
        IPv6Address(f"::ffff:{text}"),
        IPv6Address(number),
        IPv6Address((0x2002 << 112) | (number << 80)),
        IPv6Address((int(IPv6Address("64:ff9b::"))) | number),
        IPv6Address(f"64:ff9b:1:{high:x}:{low >> 8:x}:{(low & 0xFF) << 8:x}::"),
        IPv6Address((0x20010000 << 96) | (number << 64) | (~number & 0xFFFFFFFF)),
        IPv6Address((0x2A00 << 112) | (0x5EFE << 32) | number),
        IPv6Address((0x2A00 << 112) | (0x02005EFE << 32) | number),
    ]


@pytest.mark.parametrize("text", PRIVATE_V4)
def test_an_inside_address_is_refused_in_every_embedding(text: str) -> None:
    assert not JUDGE.allows(ip_address(text))
    assert [str(form) for form in embedded(text) if JUDGE.allows(form)] == []


@pytest.mark.parametrize(
    "text",
    ["::1", "::", "fc00::1", "fd12:3456::1", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "100::1",
     "2001:db8::1", "2001::1", "2002::1", "64:ff9b:1::1", "2606:4700::1%eth0"],
)  # fmt: skip
def test_an_inside_ipv6_address_is_refused(text: str) -> None:
    assert not JUDGE.allows(ip_address(text))


@pytest.mark.parametrize(
    "text",
    ["93.184.215.14", "8.8.8.8", "2606:4700::1111", "2a00:1450::1", "::ffff:8.8.8.8", "64:ff9b::808:808"],
)
def test_a_public_address_passes(text: str) -> None:
    assert JUDGE.allows(ip_address(text))


@given(st.integers(0, 2**32 - 1))
def test_an_embedding_never_passes_when_its_address_does_not(number: int) -> None:
    address = IPv4Address(number)
    if not JUDGE.allows(address):
        assert not any(JUDGE.allows(form) for form in embedded(str(address)))


def test_only_the_networks_that_the_operator_named_are_added() -> None:
    judge = PublicAddresses(parse_internal_hosts("10.1.0.0/16, fd00::/8"))
    assert judge.allows(ip_address("10.1.2.3"))
    assert judge.allows(ip_address("::ffff:10.1.2.3"))
    assert judge.allows(ip_address("fd00::1"))
    assert not judge.allows(ip_address("10.2.0.1"))
    assert not judge.allows(ip_address("127.0.0.1"))


def test_a_host_that_the_operator_named_may_have_a_private_address_and_no_other_may() -> None:
    judge = PublicAddresses(parse_internal_hosts("Pictures.Corp, minio"))
    for text in (
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "fd12::1",
        "::ffff:10.1.2.3",
    ):
        assert judge.allows(ip_address(text), "pictures.corp")
        assert judge.allows(ip_address(text), "minio")
    for host in ("", "other.corp", "a.pictures.corp", "pictures.corp.example.com"):
        assert not judge.allows(ip_address("10.1.2.3"), host)


@pytest.mark.parametrize(
    "text",
    ["127.0.0.1", "::1", "0.0.0.0", "169.254.169.254", "fe80::1", "fd00:ec2::254", "fd20:ce::254",  # noqa: S104
     "100.100.100.200", "224.0.0.1", "64:ff9b::a01:203", "2002:a01:203::1"],
)  # fmt: skip
def test_loopback_and_metadata_pass_only_as_a_network_that_the_operator_named(text: str) -> None:
    by_name = PublicAddresses(parse_internal_hosts("pictures.corp"))
    by_network = PublicAddresses(parse_internal_hosts(f"pictures.corp, {text}"))

    assert not by_name.allows(ip_address(text), "pictures.corp")
    assert by_network.allows(ip_address(text))


def test_names_addresses_and_networks_stand_side_by_side() -> None:
    internal = parse_internal_hosts(" minio , 10.0.0.0/8,pictures.corp.internal,, 192.168.1.7,fd00::/8,a_b")

    assert internal.hosts == {"minio", "pictures.corp.internal", "a_b"}
    assert [str(network) for network in internal.networks] == ["10.0.0.0/8", "192.168.1.7/32", "fd00::/8"]
    assert parse_internal_hosts("") == InternalHosts()


@pytest.mark.parametrize(
    "text", ["http://minio", "minio:9000", "*.corp", "10.0.0.0/33", "10.0.0", "1.2.3.4.5"]
)
def test_what_is_neither_a_name_nor_a_network_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match="give names of hosts") as caught:
        parse_internal_hosts(f"minio,{text}")

    assert text in str(caught.value)


def test_a_local_name_is_accepted_only_when_it_was_named() -> None:
    judge = PublicAddresses(parse_internal_hosts("hooks.internal"))
    assert judge.allows_name("hooks.internal")
    assert judge.allows_name("hooks.example.com")
    assert not any(
        judge.allows_name(name) for name in ("localhost", "a.localhost", "printer.local", "x.internal")
    )
