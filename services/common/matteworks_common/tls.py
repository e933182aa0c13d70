"""Mutual TLS between our processes: one directory holds who a process is and whom it believes.

The files have the names that cert-manager gives them: `tls.crt` (the certificate and what leads to its
authority), `tls.key`, `ca.crt` (the authority). A process shows its certificate to whoever calls it and to
whomever it calls, and talks only to those whose certificate comes from the same authority.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import ssl
from dataclasses import dataclass
from pathlib import Path

import grpc
import structlog

from matteworks_common.settings import SettingsError

_LOOK_EVERY_S = 10.0
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Identity:
    """The files of one process. Made by `identity_in`, which has read them once."""

    directory: Path

    @property
    def certificate(self) -> Path:
        """Its certificate, with what leads to its authority."""
        return self.directory / "tls.crt"

    @property
    def key(self) -> Path:
        """The certificate's private key."""
        return self.directory / "tls.key"

    @property
    def authority(self) -> Path:
        """The certificate of the authority that is believed."""
        return self.directory / "ca.crt"

    def fingerprint(self) -> str:
        """Changes when one of the files does. Raises OSError when one is away."""
        digest = hashlib.sha256()
        for path in (self.certificate, self.key, self.authority):
            digest.update(path.read_bytes())
        return digest.hexdigest()

    def server_credentials(self) -> grpc.ServerCredentials:
        """For a gRPC server that serves only callers of the same authority."""
        pair = (self.key.read_bytes(), self.certificate.read_bytes())
        return grpc.ssl_server_credentials(
            [pair], root_certificates=self.authority.read_bytes(), require_client_auth=True
        )

    def channel_credentials(self) -> grpc.ChannelCredentials:
        """For calls to servers of the same authority, whose certificate must hold the name that is called."""
        return grpc.ssl_channel_credentials(
            self.authority.read_bytes(), self.key.read_bytes(), self.certificate.read_bytes()
        )

    def client_context(self) -> ssl.SSLContext:
        """The same for HTTP."""
        context = ssl.create_default_context(cafile=str(self.authority))
        context.load_cert_chain(self.certificate, self.key)
        return context


def identity_in(directory: Path | None) -> Identity | None:
    """The identity whose files lie there; None for no directory, which means plaintext.

    Raises SettingsError that names the file and what is wrong with it.
    """
    if directory is None:
        return None
    identity = Identity(directory)
    for path in (identity.certificate, identity.key, identity.authority):
        try:
            path.read_bytes()
        except OSError as error:
            raise SettingsError(
                f"TLS needs {path}: {error.strerror}. The directory must hold tls.crt, tls.key and ca.crt."
            ) from error
    try:
        identity.client_context()
    except ssl.SSLError as error:
        raise SettingsError(
            f"The files in {directory} do not belong together, or are not PEM: {error.reason or error}"
        ) from error
    return identity


async def until_renewed(identity: Identity, spread_s: float) -> None:
    """Return once other files lie there than at the call, after a random part of `spread_s`: replicas whose
    certificates are renewed together should not leave together.
    """
    loaded = identity.fingerprint()
    while True:
        await asyncio.sleep(_LOOK_EVERY_S)
        try:
            if identity.fingerprint() != loaded:
                # Half of a change may be on the disk; a process that starts with that would end at once.
                identity.client_context()
                break
        except (OSError, ssl.SSLError):
            continue
    delay_s = random.uniform(0, spread_s)  # noqa: S311 - spreads work, hides nothing
    log.info("certificate_renewed", restart_in_s=round(delay_s, 1))
    await asyncio.sleep(delay_s)
