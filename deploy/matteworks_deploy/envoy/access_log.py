"""One JSON object a line on standard output for each request. No header that may hold a key, no query."""

from __future__ import annotations

from envoy_data_plane.envoy.config.accesslog.v3 import (
    AccessLog,
    AccessLogFilter,
    AndFilter,
    HeaderFilter,
    ResponseFlagFilter,
)
from envoy_data_plane.envoy.config.core.v3 import SubstitutionFormatString
from envoy_data_plane.envoy.config.route.v3 import HeaderMatcher
from envoy_data_plane.envoy.extensions.access_loggers.stream.v3 import StdoutAccessLog
from envoy_data_plane.envoy.type.matcher.v3 import RegexMatcher, StringMatcher
from envoy_data_plane.google.protobuf import Any, Struct

from matteworks_common.context import PROBE_KEY

_PUBLIC_FIELDS = {
    "event": "http_request",
    "time": "%START_TIME%",
    "request_id": "%REQ(X-REQUEST-ID)%",
    "method": "%REQ(:METHOD)%",
    "path": "%PATH(NQ)%",
    "protocol": "%PROTOCOL%",
    "status": "%RESPONSE_CODE%",
    "detail": "%RESPONSE_CODE_DETAILS%",
    "flags": "%RESPONSE_FLAGS%",
    "received_bytes": "%BYTES_RECEIVED%",
    "sent_bytes": "%BYTES_SENT%",
    "duration_ms": "%DURATION%",
    "client": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
}
_INTERNAL_FIELDS = {
    "event": "rpc_routed",
    "time": "%START_TIME%",
    "request_id": "%REQ(X-REQUEST-ID)%",
    "method": "%PATH(NQ)%",
    "grpc_status": "%GRPC_STATUS%",
    "flags": "%RESPONSE_FLAGS%",
    "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "upstream": "%UPSTREAM_HOST%",
    "received_bytes": "%BYTES_RECEIVED%",
    "sent_bytes": "%BYTES_SENT%",
    "duration_ms": "%DURATION%",
}


def public_access_log() -> AccessLog:
    """The log of the public listener: every request but the probes of whoever watches it."""
    probe = HeaderMatcher(
        name=":path",
        string_match=StringMatcher(safe_regex=RegexMatcher(regex="/(healthz|readyz)")),
        invert_match=True,
    )
    return _stdout(_PUBLIC_FIELDS, AccessLogFilter(header_filter=HeaderFilter(header=probe)))


def internal_access_log() -> AccessLog:
    """The log of the internal listener: what Envoy itself had to say, such as a host that was lost.

    The services log every call that reaches them. A readiness check that fails is told by who asked.
    """
    call = HeaderMatcher(name=PROBE_KEY, present_match=True, invert_match=True)
    filters = [
        AccessLogFilter(response_flag_filter=ResponseFlagFilter()),
        AccessLogFilter(header_filter=HeaderFilter(header=call)),
    ]
    return _stdout(_INTERNAL_FIELDS, AccessLogFilter(and_filter=AndFilter(filters=filters)))


def _stdout(fields: dict[str, str], log_filter: AccessLogFilter) -> AccessLog:
    log = StdoutAccessLog(log_format=SubstitutionFormatString(json_format=Struct.from_dict(fields)))
    return AccessLog(name="envoy.access_loggers.stdout", filter=log_filter, typed_config=Any.pack(log))
