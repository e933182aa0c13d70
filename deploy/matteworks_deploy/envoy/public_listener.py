"""The listener that strangers reach: patience, sizes, what is stripped, and who answers."""

from __future__ import annotations

from envoy_data_plane.envoy.config.common.mutation_rules.v3 import HeaderMutation, HeaderMutationRemoveOnMatch
from envoy_data_plane.envoy.config.core.v3 import (
    Http1ProtocolOptions,
    Http2ProtocolOptions,
    HttpProtocolOptions,
    HttpProtocolOptionsHeadersWithUnderscoresAction,
    TypedExtensionConfig,
)
from envoy_data_plane.envoy.config.listener.v3 import Filter, FilterChain, Listener
from envoy_data_plane.envoy.config.route.v3 import (
    DirectResponseAction,
    HeaderMatcher,
    RetryPolicy,
    Route,
    RouteAction,
    RouteConfiguration,
    RouteMatch,
    VirtualHost,
)
from envoy_data_plane.envoy.extensions.filters.http.router.v3 import Router
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager.v3 import (
    HttpConnectionManager,
    HttpConnectionManagerCodecType,
    HttpConnectionManagerPathWithEscapedSlashesAction,
    HttpConnectionManagerServerHeaderTransformation,
    HttpFilter,
)
from envoy_data_plane.envoy.extensions.http.early_header_mutation.header_mutation.v3 import (
    HeaderMutation as EarlyHeaderMutation,
)
from envoy_data_plane.envoy.type.matcher.v3 import RegexMatcher, StringMatcher
from envoy_data_plane.envoy.type.v3 import Int64Range
from envoy_data_plane.google.protobuf import Any

from matteworks_deploy.envoy.access_log import public_access_log
from matteworks_deploy.envoy.local_replies import local_reply_config
from matteworks_deploy.envoy.page_replies import HTML_FIRST
from matteworks_deploy.envoy.settings import MEBIBYTE, EnvoySettings
from matteworks_deploy.envoy.tls import public_tls
from matteworks_deploy.envoy.wire import seconds, socket_address

# Headers that only our own processes may set.
INTERNAL_HEADER_PREFIXES = ("x-envoy-", "x-matteworks-")

_LARGEST_LENGTH = 2**63 - 1
_STREAM_WINDOW_BYTES = 4 * MEBIBYTE
_CONNECTION_WINDOW_BYTES = 16 * MEBIBYTE


def public_listener(settings: EnvoySettings) -> Listener:
    """HTTP/1.1 and HTTP/2 on `settings.public`, by TLS where there is a certificate for it."""
    manager = HttpConnectionManager(
        stat_prefix="public",
        codec_type=HttpConnectionManagerCodecType.AUTO,
        server_name="matteworks",
        server_header_transformation=HttpConnectionManagerServerHeaderTransformation.OVERWRITE,
        # The peer's address is the client's: nobody in front of us is trusted to say another.
        use_remote_address=True,
        generate_request_id=True,
        # A caller's own id comes back to it; the edge accepts only harmless characters.
        preserve_external_request_id=True,
        normalize_path=True,
        merge_slashes=True,
        path_with_escaped_slashes_action=HttpConnectionManagerPathWithEscapedSlashesAction.REJECT_REQUEST,
        early_header_mutation_extensions=[_strip_internal_headers()],
        request_headers_timeout=seconds(settings.request_headers_timeout_s),
        request_timeout=seconds(settings.request_timeout_s),
        stream_idle_timeout=seconds(settings.public_timeout_s),
        max_request_headers_kb=settings.max_request_headers_kib,
        common_http_protocol_options=HttpProtocolOptions(
            idle_timeout=seconds(settings.connection_idle_timeout_s),
            max_headers_count=settings.max_headers_count,
            # `a_b` and `a-b` are the same header to some programs; nobody sends the first in earnest.
            headers_with_underscores_action=HttpProtocolOptionsHeadersWithUnderscoresAction.DROP_HEADER,
        ),
        http_protocol_options=Http1ProtocolOptions(),
        http2_protocol_options=Http2ProtocolOptions(
            max_concurrent_streams=100,
            initial_stream_window_size=_STREAM_WINDOW_BYTES,
            initial_connection_window_size=_CONNECTION_WINDOW_BYTES,
        ),
        local_reply_config=local_reply_config(settings.provider_hosts),
        access_log=[public_access_log()],
        route_config=RouteConfiguration(
            name="public",
            virtual_hosts=[
                VirtualHost(
                    name="edge",
                    domains=["*"],
                    routes=[_too_large(settings), *_to_console(settings), _to_edge(settings)],
                )
            ],
        ),
        http_filters=[
            HttpFilter(
                name="envoy.filters.http.router",
                typed_config=Any.pack(Router(suppress_envoy_headers=True)),
            )
        ],
    )
    return Listener(
        name="public",
        address=socket_address(settings.public),
        per_connection_buffer_limit_bytes=MEBIBYTE,
        filter_chains=[
            FilterChain(
                transport_socket=public_tls(settings),
                filters=[
                    Filter(
                        name="envoy.filters.network.http_connection_manager", typed_config=Any.pack(manager)
                    )
                ],
            )
        ],
    )


def _too_large(settings: EnvoySettings) -> Route:
    # A body without a declared length is counted by the edge as it arrives.
    declared = Int64Range(start=settings.max_body_bytes + 1, end=_LARGEST_LENGTH)
    return Route(
        name="too-large",
        match=RouteMatch(prefix="/", headers=[HeaderMatcher(name="content-length", range_match=declared)]),
        direct_response=DirectResponseAction(status=413),
    )


def _to_console(settings: EnvoySettings) -> list[Route]:
    if not settings.hosts.get("console"):
        return []
    action = RouteAction(
        cluster="console",
        timeout=seconds(settings.public_timeout_s),
        retry_policy=RetryPolicy(
            retry_on="connect-failure,refused-stream,reset-before-request", num_retries=2
        ),
    )
    prefers_html = HeaderMatcher(
        name="accept", string_match=StringMatcher(safe_regex=RegexMatcher(regex=HTML_FIRST))
    )
    return [
        Route(name="console", match=RouteMatch(path_separated_prefix="/console"), route=action),
        Route(name="front-page", match=RouteMatch(path="/", headers=[prefers_html]), route=action),
    ]


def _to_edge(settings: EnvoySettings) -> Route:
    return Route(
        name="edge",
        match=RouteMatch(prefix="/"),
        route=RouteAction(
            cluster="edge",
            timeout=seconds(settings.public_timeout_s),
            # Only what the edge has not seen: a body that it began to read may have been charged.
            retry_policy=RetryPolicy(
                retry_on="connect-failure,refused-stream,reset-before-request", num_retries=2
            ),
        ),
    )


def _strip_internal_headers() -> TypedExtensionConfig:
    mutations = [
        HeaderMutation(
            remove_on_match=HeaderMutationRemoveOnMatch(
                key_matcher=StringMatcher(prefix=prefix, ignore_case=True)
            )
        )
        for prefix in INTERNAL_HEADER_PREFIXES
    ]
    return TypedExtensionConfig(
        name="envoy.http.early_header_mutation.header_mutation",
        typed_config=Any.pack(EarlyHeaderMutation(mutations=mutations)),
    )
