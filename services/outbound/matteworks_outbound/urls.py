"""URLs of pictures, taken apart once; what the fetcher connects to is what was checked here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urljoin, urlsplit

from matteworks_common.errors import InvalidField, Reason

MAX_URL_LENGTH: Final = 8192
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_PATH_SAFE: Final = "/%:@!$&'()*+,;=~-._"


@dataclass(frozen=True, slots=True)
class PictureUrl:
    """An http or https URL without credentials. `host` is a name in ASCII or an address."""

    scheme: str
    host: str
    port: int
    target: str

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.target}"

    def follow(self, location: str) -> PictureUrl | None:
        """Where a redirect leads; None when that is no URL that may be fetched, or gives up TLS."""
        try:
            url = split_url(urljoin(str(self), location))
        except ValueError:
            return None
        if url is None or (self.scheme == "https" and url.scheme != "https"):
            return None
        return url


def check_url(text: str, field: str, reason: Reason) -> PictureUrl:
    """The URL in `text`. Raises InvalidField with `reason`."""
    try:
        url = split_url(text.strip())
    except ValueError:
        url = None
    if url is None:
        raise InvalidField(
            field, f"Give an http or https URL without user name and password in {field}.", reason=reason
        )
    return url


def split_url(text: str) -> PictureUrl | None:
    """The parts of an http or https URL; None when it is anything else. May raise ValueError."""
    if len(text) > MAX_URL_LENGTH or any(ord(character) < 0x20 or character == "\x7f" for character in text):
        return None
    parts = urlsplit(text)
    scheme = parts.scheme.lower()
    if scheme not in _DEFAULT_PORTS or "@" in parts.netloc or "\\" in parts.netloc or not parts.hostname:
        return None
    if "%" in parts.hostname:
        return None
    host = parts.hostname if ":" in parts.hostname else parts.hostname.encode("idna").decode("ascii")
    port = _DEFAULT_PORTS[scheme] if parts.port is None else parts.port
    if not host or port == 0 or any(character in " /?#" for character in host):
        return None
    target = quote(parts.path or "/", safe=_PATH_SAFE)
    if not target.startswith("/"):
        target = f"/{target}"
    if parts.query:
        target += "?" + quote(parts.query, safe=_PATH_SAFE + "?")
    return PictureUrl(scheme, host.lower(), port, target)
