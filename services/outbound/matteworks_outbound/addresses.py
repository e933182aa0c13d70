"""Which addresses a picture may be fetched from: public ones, however they are written.

An IPv6 address can carry an IPv4 address inside (mapped, compatible, 6to4, NAT64, Teredo, ISATAP), and a
gateway on the way would unwrap it. So an IPv6 address passes only inside the global unicast block and
outside every transition prefix; the two forms that are in honest use, mapped and the well-known NAT64
prefix, pass when the address inside does.
"""

from __future__ import annotations

from collections.abc import Iterable
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


class AddressJudge(Protocol):
    """Decides whether a connection to an address may be opened."""

    def allows(self, address: Address) -> bool:
        """Whether `address` may be connected to."""


class PublicAddresses:
    """Allows public unicast addresses, and the networks that the operator named."""

    def __init__(self, allowed_networks: Iterable[Network] = ()) -> None:
        self._allowed = tuple(allowed_networks)

    def allows(self, address: Address) -> bool:
        if isinstance(address, IPv6Address):
            if address.scope_id is not None:
                return False
            if address.ipv4_mapped is not None:
                return self.allows(address.ipv4_mapped)
        if any(address in network for network in self._allowed if network.version == address.version):
            return True
        return is_public(address)


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


def parse_networks(text: str) -> tuple[Network, ...]:
    """Networks in CIDR notation separated by commas. Raises ValueError."""
    return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())
