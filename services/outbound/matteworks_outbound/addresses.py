"""Which addresses a picture may be fetched from: public ones, however they are written.

An IPv6 address can carry an IPv4 address inside (mapped, compatible, 6to4, NAT64, Teredo, ISATAP), and a
gateway on the way would unwrap it. So an IPv6 address passes only inside the global unicast block and
outside every transition prefix; the two forms that are in honest use, mapped and the well-known NAT64
prefix, pass when the address inside does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, Protocol

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")
_NAT64: Final = IPv6Network("64:ff9b::/96")
_TRANSITION: Final = (IPv6Network("2001::/32"), IPv6Network("2002::/16"))
# 6to4 relays: deprecated, and a route into whatever network answers for them.
_REFUSED_IPV4: Final = (IPv4Network("192.88.99.0/24"),)
_ISATAP_IDS: Final = (0x0000_5EFE, 0x0200_5EFE)
# Private use, shared use of providers (where clusters put their pods), unique local.
_INSIDE: Final = (
    IPv4Network("10.0.0.0/8"),
    IPv4Network("172.16.0.0/12"),
    IPv4Network("192.168.0.0/16"),
    IPv4Network("100.64.0.0/10"),
    IPv6Network("fc00::/7"),
)
# Those among them where clouds tell a machine its credentials: Amazon, Google, Alibaba.
_METADATA: Final = (IPv6Address("fd00:ec2::254"), IPv6Address("fd20:ce::254"), IPv4Address("100.100.100.200"))
# Labels of letters, digits, - and _, not all of digits and dots.
_HOST_NAME: Final = re.compile(r"(?=.*[a-z_-])(?!-)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")


class AddressJudge(Protocol):
    """Decides whether a connection may be opened."""

    def allows(self, address: Address, host: str = "") -> bool:
        """Whether `address` may be connected to. `host` is the name that led to it; empty: none did."""

    def allows_name(self, host: str) -> bool:
        """Whether a URL with this name may be accepted; where it leads is judged when it is connected to."""


@dataclass(frozen=True, slots=True)
class InternalHosts:
    """What an operator named: hosts, in lower case, and networks."""

    hosts: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()


class PublicAddresses:
    """Allows public unicast addresses, and what the operator named.

    A host that was named may have a private address. Loopback, link-local and the addresses where clouds
    hand out credentials pass only as a part of a network that was named, whatever host leads to them.
    """

    def __init__(self, internal: InternalHosts | None = None) -> None:
        self._internal = internal or InternalHosts()

    def allows(self, address: Address, host: str = "") -> bool:
        if isinstance(address, IPv6Address):
            if address.scope_id is not None:
                return False
            if address.ipv4_mapped is not None:
                return self.allows(address.ipv4_mapped, host)
        if any(_holds(network, address) for network in self._internal.networks):
            return True
        return is_public(address) or (host in self._internal.hosts and _is_inside(address))

    def allows_name(self, host: str) -> bool:
        is_local = host == "localhost" or host.endswith((".localhost", ".local", ".internal"))
        return not is_local or host in self._internal.hosts


def is_public(address: Address) -> bool:
    """Whether `address` is globally routable unicast and hides no address that is not."""
    if address.is_multicast or not address.is_global:
        return False
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _REFUSED_IPV4)
    if address in _NAT64:
        return is_public(IPv4Address(int(address) & 0xFFFF_FFFF))
    if address not in _GLOBAL_UNICAST or any(address in network for network in _TRANSITION):
        return False
    return (int(address) >> 32) & 0xFFFF_FFFF not in _ISATAP_IDS


def parse_address(text: str) -> Address | None:
    """The address that `text` spells in the strict form; None when it is a name or anything else."""
    try:
        return ip_address(text)
    except ValueError:
        return None


def parse_internal_hosts(text: str) -> InternalHosts:
    """Host names, addresses and networks in CIDR notation, separated by commas. Raises ValueError."""
    hosts, networks = set(), []
    for part in filter(None, (part.strip().lower() for part in text.split(","))):
        if _HOST_NAME.fullmatch(part):
            hosts.add(part)
            continue
        try:
            networks.append(ip_network(part))
        except ValueError as error:
            raise ValueError(
                f"give names of hosts, addresses and networks such as 10.1.0.0/16 by commas, not {part!r}"
            ) from error
    return InternalHosts(frozenset(hosts), tuple(networks))


def _is_inside(address: Address) -> bool:
    """Whether it belongs to somebody's own network, and credentials of the machine are not had there."""
    return address not in _METADATA and any(_holds(network, address) for network in _INSIDE)


def _holds(network: Network, address: Address) -> bool:
    return network.version == address.version and address in network
