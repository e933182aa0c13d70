"""How long the certificates of a deployment still last."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from matteworks_cli.doctor.findings import Deployment, Finding
from matteworks_common.settings import SettingsError
from matteworks_common.tls import identity_in

_PATIENCE_S: Final = 5.0
_DAY_S: Final = 86_400.0
# Whoever renews does so a third of the life before the end; less than this means that nobody does.
_LEAST_DAYS: Final = 7.0


def certificates_last(deployment: Deployment) -> Iterator[Finding]:
    """One finding for each listener that speaks TLS; none for plaintext."""
    url = urlsplit(deployment.base_url)
    if url.scheme == "https":
        address = (url.hostname or "", url.port or 443)
        yield _lasts("public certificate", address, ssl.create_default_context())
    if deployment.tls_directory is None:
        return
    host, _, port = deployment.target.rpartition(":")
    try:
        identity = identity_in(deployment.tls_directory)
    except SettingsError as error:
        yield Finding("own certificate", str(error), "Give the right directory with --tls-directory.")
        return
    if identity:
        yield _lasts("internal certificate", (host.strip("[]"), int(port)), identity.client_context())


def _lasts(what: str, address: tuple[str, int], context: ssl.SSLContext) -> Finding:
    host, port = address
    try:
        with (
            socket.create_connection(address, timeout=_PATIENCE_S) as plain,
            context.wrap_socket(plain, server_hostname=host) as connection,
        ):
            end = (connection.getpeercert() or {})["notAfter"]
    except ssl.SSLCertVerificationError as error:
        return Finding(
            what,
            f"{host}:{port}: {error.verify_message}",
            f"Its names must hold {host}, and its authority be known here: SSL_CERT_FILE, or ca.crt inside.",
        )
    except OSError as error:
        return Finding(
            what, f"{host}:{port}: {error}", "Does the listener speak TLS, and is this the right port?"
        )
    days = (ssl.cert_time_to_seconds(str(end)) - time.time()) / _DAY_S
    told = f"{host}:{port} is valid for {days:.0f} more days"
    return Finding(what, told, "" if days >= _LEAST_DAYS else "Renew it, and see why that did not happen.")
