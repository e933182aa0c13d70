"""What Envoy says when it answers itself, in the words that clients of the REST API parse.

Every reply is the documented error document, with the status that Envoy chose. Whoever looks for
`errors[0].title` finds it, whichever process refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from envoy_data_plane.envoy.config.accesslog.v3 import (
    AccessLogFilter,
    AndFilter,
    ComparisonFilter,
    ComparisonFilterOp,
    HeaderFilter,
    OrFilter,
    StatusCodeFilter,
)
from envoy_data_plane.envoy.config.core.v3 import (
    DataSource,
    HeaderValue,
    HeaderValueOption,
    HeaderValueOptionHeaderAppendAction,
    RuntimeUInt32,
    SubstitutionFormatString,
)
from envoy_data_plane.envoy.config.route.v3 import HeaderMatcher
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager.v3 import (
    LocalReplyConfig,
    ResponseMapper,
)
from envoy_data_plane.envoy.type.matcher.v3 import RegexMatcher, StringMatcher
from envoy_data_plane.google.protobuf import Struct

from matteworks_deploy.envoy.page_replies import page_replies

CONTENT_TYPE = "application/json; charset=utf-8"
# Made by tools/gen_proxy_replies.py from the providers' modules.
_PROVIDERS = "proxy_replies.json"
_BODY_AS_IT_IS = "%LOCAL_REPLY_BODY%"


@dataclass(frozen=True, slots=True)
class LocalReply:
    """One status that Envoy may answer with. `retry_after_s` is set when waiting helps."""

    status: int
    title: str
    code: str
    retry_after_s: int | None = None

    def body(self) -> str:
        """The error document, keys in the order that old clients print them."""
        return json.dumps({"errors": [{"title": self.title, "code": self.code}]}, separators=(",", ":"))


LOCAL_REPLIES = (
    LocalReply(400, "The request is not well-formed HTTP.", "bad_request"),
    LocalReply(403, "This is not allowed.", "forbidden"),
    LocalReply(404, "There is nothing at this path.", "not_found"),
    LocalReply(405, "This path does not know this method.", "method_not_allowed"),
    LocalReply(408, "The request did not arrive in time.", "request_timeout"),
    LocalReply(413, "The request is too large.", "request_too_large"),
    LocalReply(415, "This content encoding is not supported.", "unsupported_encoding"),
    LocalReply(426, "HTTP/1.1 or newer is needed.", "upgrade_required"),
    LocalReply(429, "Too many requests at once.", "rate_limit_exceeded", retry_after_s=1),
    LocalReply(431, "The request's headers are too large.", "headers_too_large"),
    LocalReply(500, "Something went wrong on our side.", "internal_error"),
    LocalReply(501, "This is not implemented.", "not_implemented"),
    LocalReply(502, "The service did not answer correctly.", "bad_gateway", retry_after_s=1),
    LocalReply(503, "The service is not available right now.", "service_unavailable", retry_after_s=1),
    LocalReply(504, "The service did not answer in time.", "gateway_timeout", retry_after_s=1),
)

# On the paths of remove.bg and of bgeraser's removal there is no 413: the documented answer to a file that is
# too large is a 400 with this code, and a file is the only thing in a request that can be this large.
FILE_TOO_LARGE = LocalReply(400, "File too large", "file_too_large")
FILE_TOO_LARGE_PROVIDERS = ("remove.bg", "bgeraser")
FILE_TOO_LARGE_PATHS = ("/v1.0", "/removebg", "/v1/removebg", "/bgeraser/v1/removebg")


def local_reply_config(provider_hosts: Mapping[str, str] | None = None) -> LocalReplyConfig:
    """The mappers, one a status, and a document for statuses that nobody expects.

    `provider_hosts` are host names that belong to one provider, whatever the path.
    """
    hosts = provider_hosts or {}
    too_large_at = [_host_is(host) for host, name in hosts.items() if name in FILE_TOO_LARGE_PROVIDERS]
    others_hosts = [_host_is(host) for host, name in hosts.items() if name not in FILE_TOO_LARGE_PROVIDERS]
    return LocalReplyConfig(
        mappers=[
            *page_replies(),
            *(mapper for host, name in hosts.items() for mapper in _replies_of(name, _host_is(host))),
            *(_too_large(place) for place in too_large_at),
            # Their own 413 where nothing above has said it in other words.
            *(_where(_usual(413), place) for place in others_hosts),
            _too_large(_path_is_below(FILE_TOO_LARGE_PATHS)),
            *_replies_of_providers(),
            *(_mapper(ComparisonFilterOp.EQ, reply.status, reply) for reply in LOCAL_REPLIES),
            _mapper(ComparisonFilterOp.GE, 500, LocalReply(500, "The service failed.", "internal_error")),
            _mapper(ComparisonFilterOp.GE, 400, LocalReply(400, "The request was refused.", "bad_request")),
        ]
    )


def _usual(status: int) -> ResponseMapper:
    reply = next(reply for reply in LOCAL_REPLIES if reply.status == status)
    return _mapper(ComparisonFilterOp.EQ, status, reply)


def _where(mapper: ResponseMapper, place: AccessLogFilter) -> ResponseMapper:
    """`mapper`, only for requests that `place` lets through."""
    status = mapper.filter
    if status is None:
        raise AssertionError("every mapper is made for a status")
    mapper.filter = AccessLogFilter(and_filter=AndFilter(filters=[status, place]))
    return mapper


def _too_large(place: AccessLogFilter) -> ResponseMapper:
    mapper = _mapper(ComparisonFilterOp.EQ, 413, FILE_TOO_LARGE)
    mapper.status_code = FILE_TOO_LARGE.status
    return _where(mapper, place)


def _replies_of_providers() -> list[ResponseMapper]:
    """The documents of providers that have another shape, under their own paths."""
    return [
        mapper
        for provider in _providers()
        for mapper in _replies_of(provider["name"], _path_is_below(provider["paths"]))
    ]


def _replies_of(name: str, place: AccessLogFilter) -> list[ResponseMapper]:
    """The documents of one provider; none when its shape is the usual one."""
    mappers = []
    for provider in _providers():
        for status, body in provider["bodies"].items() if provider["name"] == name else ():
            mapper = _usual(int(status))
            if "%REQ(" in body:
                # Each value is escaped by itself: whoever sends the id cannot write into the document.
                mapper.body_format_override = SubstitutionFormatString(
                    json_format=Struct.from_dict(json.loads(body)), content_type=CONTENT_TYPE
                )
            mapper.body = DataSource(inline_string=body)
            mappers.append(_where(mapper, place))
    return mappers


@cache
def _providers() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(files(__package__).joinpath(_PROVIDERS).read_text("utf-8"))
    return found


def _mapper(op: ComparisonFilterOp, status: int, reply: LocalReply) -> ResponseMapper:
    headers = {"access-control-allow-origin": "*", "x-credits-charged": "0"}
    if reply.retry_after_s is not None:
        headers["retry-after"] = str(reply.retry_after_s)
    return ResponseMapper(
        filter=_status_is(op, status),
        body=DataSource(inline_string=reply.body()),
        body_format_override=SubstitutionFormatString(
            text_format_source=DataSource(inline_string=_BODY_AS_IT_IS), content_type=CONTENT_TYPE
        ),
        headers_to_add=[header(key, value) for key, value in headers.items()],
    )


def _status_is(op: ComparisonFilterOp, status: int) -> AccessLogFilter:
    value = RuntimeUInt32(default_value=status, runtime_key=f"local_reply.{op.name.lower()}.{status}")
    return AccessLogFilter(
        status_code_filter=StatusCodeFilter(comparison=ComparisonFilter(op=op, value=value))
    )


def _host_is(host: str) -> AccessLogFilter:
    """The host name in any letter case, with or without a port."""
    pattern = StringMatcher(safe_regex=RegexMatcher(regex=f"(?i){re.escape(host)}(?::[0-9]+)?"))
    return AccessLogFilter(
        header_filter=HeaderFilter(header=HeaderMatcher(name=":authority", string_match=pattern))
    )


def _path_is_below(roots: Sequence[str]) -> AccessLogFilter:
    """One of `roots` or below it, by whole segments."""
    matched = []
    for root in roots:
        pattern = StringMatcher(safe_regex=RegexMatcher(regex=f"{re.escape(root)}(?:[/?].*)?"))
        matcher = HeaderMatcher(name=":path", string_match=pattern)
        matched.append(AccessLogFilter(header_filter=HeaderFilter(header=matcher)))
    return matched[0] if len(matched) == 1 else AccessLogFilter(or_filter=OrFilter(filters=matched))


def header(key: str, value: str) -> HeaderValueOption:
    """A response header that replaces one of the same name."""
    return HeaderValueOption(
        header=HeaderValue(key=key, value=value),
        append_action=HeaderValueOptionHeaderAppendAction.OVERWRITE_IF_EXISTS_OR_ADD,
    )
