"""Where a key may be used: browser origins, networks, dialects."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_common.errors import Forbidden, InvalidField

MAX_ENTRIES = 20
_DIALECT = re.compile(r"[a-z0-9._-]{1,32}")
_HOST = re.compile(r"(?:\*\.)?[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:.]+\]")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_WILDCARD = "*."


@dataclass(frozen=True, slots=True)
class Restrictions:
    """Normalised by `checked_restrictions`. An empty tuple restricts nothing."""

    origins: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    dialects: tuple[str, ...] = ()

    def check(self, *, origin: str, address: str, dialect: str) -> None:
        """Raises Forbidden(KEY_RESTRICTED), with the field at fault, unless all of it is allowed.

        What is restricted and empty is refused.
        """
        if self.origins and not self._allows_origin(origin):
            raise _restricted("origin", "This key works only from the web sites that it was made for.")
        if self.networks and not self._allows_address(address):
            raise _restricted("client_address", "This key works only from the networks that it names.")
        if self.dialects and dialect not in self.dialects:
            raise _restricted(
                "dialect", f"This key works only with these dialects: {', '.join(self.dialects)}."
            )

    def _allows_origin(self, origin: str) -> bool:
        try:
            found = _normalised_origin(origin)
        except ValueError:
            return False
        scheme, _, host = found.partition("://")
        for allowed in self.origins:
            allowed_scheme, _, allowed_host = allowed.partition("://")
            if allowed_scheme != scheme:
                continue
            if allowed_host == host:
                return True
            if allowed_host.startswith(_WILDCARD) and host.endswith(allowed_host[1:]):
                return True
        return False

    def _allows_address(self, text: str) -> bool:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            return False
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        return any(address in ipaddress.ip_network(network) for network in self.networks)


UNRESTRICTED = Restrictions()


def checked_dialect(field: str, text: str) -> str:
    """`text` when it can name a dialect, or is empty. Raises InvalidField."""
    if text and not _DIALECT.fullmatch(text):
        raise InvalidField(field, "Give 1 to 32 characters of a-z 0-9 . _ -, or none.")
    return text


def checked_restrictions(
    origins: Sequence[str], networks: Sequence[str], dialects: Sequence[str]
) -> Restrictions:
    """Each entry in its one form, without doubles. Raises InvalidField, which names the list."""
    for field, entries in (
        ("allowed_origins", origins),
        ("allowed_networks", networks),
        ("allowed_dialects", dialects),
    ):
        if len(entries) > MAX_ENTRIES:
            raise InvalidField(field, f"Give at most {MAX_ENTRIES} entries.")
    return Restrictions(
        tuple(dict.fromkeys(_checked_origin(origin) for origin in origins)),
        tuple(dict.fromkeys(_checked_network(network) for network in networks)),
        tuple(dict.fromkeys(_checked_entry(dialect) for dialect in dialects)),
    )


def _checked_entry(dialect: str) -> str:
    if not dialect:
        raise InvalidField("allowed_dialects", "Name each dialect.")
    return checked_dialect("allowed_dialects", dialect)


def _checked_origin(text: str) -> str:
    try:
        return _normalised_origin(text)
    except ValueError as error:
        raise InvalidField(
            "allowed_origins", "Give origins as https://shop.example or https://*.shop.example."
        ) from error


def _checked_network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text.strip()))
    except ValueError as error:
        raise InvalidField(
            "allowed_networks", "Give addresses or networks: 203.0.113.7, 203.0.113.0/24, 2001:db8::/32."
        ) from error


def _normalised_origin(text: str) -> str:
    """Lower case, without the scheme's own port. Raises ValueError."""
    parts = urlsplit(text.strip().lower())
    port = parts.port  # Raises ValueError itself.
    host = parts.netloc.removesuffix(f":{port}") if port is not None else parts.netloc
    if parts.scheme not in _DEFAULT_PORTS or parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("not an origin")
    if not _HOST.fullmatch(host):
        raise ValueError("not a host")
    ending = "" if port in (None, _DEFAULT_PORTS[parts.scheme]) else f":{port}"
    return f"{parts.scheme}://{host}{ending}"


def _restricted(field: str, message: str) -> Forbidden:
    return Forbidden(
        reasons.ERROR_REASON_KEY_RESTRICTED, message, field=field, metadata={"restriction": field}
    )
