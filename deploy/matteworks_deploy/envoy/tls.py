"""TLS at Envoy's listeners and towards the services.

Certificates come from documents beside the configuration, by Envoy's secret discovery, because Envoy looks
again only at what it got that way: when the files in a directory are renewed, new connections use them.
"""

from __future__ import annotations

import json

from envoy_data_plane.envoy.config.core.v3 import (
    ConfigSource,
    DataSource,
    PathConfigSource,
    TransportSocket,
    WatchedDirectory,
)
from envoy_data_plane.envoy.extensions.transport_sockets.tls.v3 import (
    CertificateValidationContext,
    CommonTlsContext,
    CommonTlsContextCombinedCertificateValidationContext,
    DownstreamTlsContext,
    SdsSecretConfig,
    Secret,
    SubjectAltNameMatcher,
    SubjectAltNameMatcherSanType,
    TlsCertificate,
    TlsParameters,
    TlsParametersTlsProtocol,
    UpstreamTlsContext,
)
from envoy_data_plane.envoy.service.discovery.v3 import DiscoveryResponse
from envoy_data_plane.envoy.type.matcher.v3 import StringMatcher
from envoy_data_plane.google.protobuf import Any

from matteworks_deploy.envoy.settings import EnvoySettings

_SOCKET = "envoy.transport_sockets.tls"
_PUBLIC, _INTERNAL, _AUTHORITY = "public", "internal", "authority"


def secret_documents(settings: EnvoySettings) -> dict[str, str]:
    """The documents in `settings.tls.secrets` by their file names: where the files of each certificate lie.
    Envoy takes one secret a document.
    """
    secrets = []
    if settings.tls.public:
        secrets.append(_certificate(_PUBLIC, settings.tls.public))
    if settings.tls.internal:
        authority = CertificateValidationContext(
            trusted_ca=DataSource(filename=f"{settings.tls.internal}/ca.crt"),
            watched_directory=WatchedDirectory(path=settings.tls.internal),
        )
        secrets += [
            _certificate(_INTERNAL, settings.tls.internal),
            Secret(name=_AUTHORITY, validation_context=authority),
        ]
    return {_file_name(secret.name): _document(secret) for secret in secrets}


def public_tls(settings: EnvoySettings) -> TransportSocket | None:
    """For strangers: TLS 1.2 and up, no certificate asked of them. None: plain HTTP."""
    if not settings.tls.public:
        return None
    common = _common(settings, _PUBLIC)
    common.alpn_protocols = ["h2", "http/1.1"]
    return _socket(DownstreamTlsContext(common_tls_context=common))


def internal_tls(settings: EnvoySettings) -> TransportSocket | None:
    """For services and platform teams: they must show a certificate of the same authority."""
    if not settings.tls.internal:
        return None
    common = _common(settings, _INTERNAL)
    common.alpn_protocols = ["h2", "http/1.1"]
    common.validation_context_sds_secret_config = _secret(settings, _AUTHORITY)
    return _socket(DownstreamTlsContext(common_tls_context=common, require_client_certificate=True))


def upstream_tls(settings: EnvoySettings, service: str, *, http2: bool) -> TransportSocket | None:
    """Towards a service, whose certificate must hold the service's name as a DNS name."""
    if not settings.tls.internal:
        return None
    common = _common(settings, _INTERNAL)
    common.alpn_protocols = ["h2"] if http2 else ["http/1.1"]
    name = SubjectAltNameMatcher(
        san_type=SubjectAltNameMatcherSanType.DNS, matcher=StringMatcher(exact=service)
    )
    common.combined_validation_context = CommonTlsContextCombinedCertificateValidationContext(
        default_validation_context=CertificateValidationContext(match_typed_subject_alt_names=[name]),
        validation_context_sds_secret_config=_secret(settings, _AUTHORITY),
    )
    return _socket(UpstreamTlsContext(common_tls_context=common, sni=service))


def _common(settings: EnvoySettings, certificate: str) -> CommonTlsContext:
    return CommonTlsContext(
        tls_params=TlsParameters(tls_minimum_protocol_version=TlsParametersTlsProtocol.TLSv1_2),
        tls_certificate_sds_secret_configs=[_secret(settings, certificate)],
    )


def _secret(settings: EnvoySettings, name: str) -> SdsSecretConfig:
    source = ConfigSource(
        path_config_source=PathConfigSource(path=f"{settings.tls.secrets}/{_file_name(name)}")
    )
    return SdsSecretConfig(name=name, sds_config=source)


def _file_name(secret: str) -> str:
    return f"tls-{secret}.json"


def _document(secret: Secret) -> str:
    response = DiscoveryResponse(resources=[Any.pack(secret)])
    return json.dumps(json.loads(response.to_json()), indent=2) + "\n"


def _certificate(name: str, directory: str) -> Secret:
    return Secret(
        name=name,
        tls_certificate=TlsCertificate(
            certificate_chain=DataSource(filename=f"{directory}/tls.crt"),
            private_key=DataSource(filename=f"{directory}/tls.key"),
            watched_directory=WatchedDirectory(path=directory),
        ),
    )


def _socket(context: DownstreamTlsContext | UpstreamTlsContext) -> TransportSocket:
    return TransportSocket(name=_SOCKET, typed_config=Any.pack(context))
