"""What Envoy shows to people when the console, which makes the pages, is away."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence

from envoy_data_plane.envoy.config.accesslog.v3 import (
    AccessLogFilter,
    AndFilter,
    ComparisonFilter,
    ComparisonFilterOp,
    HeaderFilter,
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
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager.v3 import ResponseMapper
from envoy_data_plane.envoy.type.matcher.v3 import RegexMatcher, StringMatcher

__all__ = ["HTML_FIRST", "page_replies"]

# What browsers ask for when a person opens an address; programs put */* or JSON first.
HTML_FIRST = r"\s*text/html\s*(,.*)?"
_PAGES = r"/(?:[?].*)?|/console(?:[/?].*)?"
_RETRY_AFTER_S = 5

_STYLE = (
    ":root{color-scheme:light dark;font:16px/1.5 system-ui,sans-serif;background:#fbfaf7;color:#1a1d1b}"
    "body{margin:15vh auto;max-width:32rem;padding:0 1rem}"
    "a{color:#0d6b52}"
    "@media (prefers-color-scheme:dark){:root{background:#141715;color:#eceeea}a{color:#62d0a8}}"
)
_PAGE = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Not available at the moment · Matteworks</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
<h1>Not available at the moment</h1>
<p>The pages are being started or updated. Nothing of yours is lost, and programs that use the API go on.</p>
<p><a href="">Try again</a></p>
</main>
</body>
</html>
"""
# For a part of a page that is open.
_PART = '<p class="problem" role="alert">Not available at the moment. This part comes back by itself.</p>\n'


def page_replies() -> list[ResponseMapper]:
    """For the paths of the pages, before the documents that programs get."""
    digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    wants_html = _header("accept", StringMatcher(safe_regex=RegexMatcher(regex=HTML_FIRST)))
    is_page = _header(":path", StringMatcher(safe_regex=RegexMatcher(regex=_PAGES)))
    is_part = _header("hx-request", StringMatcher(exact="true"))
    return [
        _mapper(_PART, "default-src 'none'", [wants_html, is_page, is_part]),
        _mapper(
            _PAGE,
            f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; frame-ancestors 'none'",
            [wants_html, is_page],
        ),
    ]


def _mapper(body: str, policy: str, conditions: Sequence[AccessLogFilter]) -> ResponseMapper:
    headers = {
        "content-security-policy": policy,
        "x-content-type-options": "nosniff",
        "cache-control": "no-store",
        "retry-after": str(_RETRY_AFTER_S),
    }
    failed = RuntimeUInt32(default_value=500, runtime_key="local_reply.pages")
    is_failure = AccessLogFilter(
        status_code_filter=StatusCodeFilter(
            comparison=ComparisonFilter(op=ComparisonFilterOp.GE, value=failed)
        )
    )
    return ResponseMapper(
        filter=AccessLogFilter(and_filter=AndFilter(filters=[is_failure, *conditions])),
        body=DataSource(inline_string=body),
        body_format_override=SubstitutionFormatString(
            text_format_source=DataSource(inline_string="%LOCAL_REPLY_BODY%"),
            content_type="text/html; charset=utf-8",
        ),
        headers_to_add=[
            HeaderValueOption(
                header=HeaderValue(key=key, value=value),
                append_action=HeaderValueOptionHeaderAppendAction.OVERWRITE_IF_EXISTS_OR_ADD,
            )
            for key, value in headers.items()
        ],
    )


def _header(name: str, match: StringMatcher) -> AccessLogFilter:
    return AccessLogFilter(header_filter=HeaderFilter(header=HeaderMatcher(name=name, string_match=match)))
