"""Small spellings that every part of the configuration shares."""

from __future__ import annotations

from datetime import timedelta

from envoy_data_plane.envoy.config.core.v3 import (
    Address,
    Http2ProtocolOptions,
    SocketAddress,
)

from matteworks_deploy.envoy.settings import MEBIBYTE, Endpoint

# 22 MB cross a connection in one go instead of stopping every 64 KiB for a window update.
STREAM_WINDOW_BYTES = 32 * MEBIBYTE
CONNECTION_WINDOW_BYTES = 256 * MEBIBYTE


def seconds(value: float) -> timedelta:
    """A duration field."""
    return timedelta(seconds=value)


def socket_address(endpoint: Endpoint) -> Address:
    """A TCP address."""
    return Address(socket_address=SocketAddress(address=endpoint.host, port_value=endpoint.port))


def internal_http2(max_concurrent_streams: int) -> Http2ProtocolOptions:
    """HTTP/2 between trusted processes that exchange whole pictures."""
    return Http2ProtocolOptions(
        max_concurrent_streams=max_concurrent_streams,
        initial_stream_window_size=STREAM_WINDOW_BYTES,
        initial_connection_window_size=CONNECTION_WINDOW_BYTES,
    )
