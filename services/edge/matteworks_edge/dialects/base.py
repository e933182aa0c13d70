"""What an API of a provider is made of. Each provider is one module beside this one, and one line in
`matteworks_edge.providers`; nothing else knows which providers there are.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from matteworks.auth.v1 import auth_pb2, plan_pb2
from matteworks.compositor.v1 import compositor_pb2
from matteworks_common.errors import Reason
from matteworks_edge.errors import ErrorAnswer, PublicError
from matteworks_edge.fields.parameters import FORMATS
from matteworks_edge.fields.reader import Fields
from matteworks_edge.operations.services import Services
from matteworks_imaging.header import ALL_FORMATS, MAX_FILE_BYTES, ImageFormat
from matteworks_removal.offers import Size
from matteworks_removal.service import Removal

__all__ = ["AccountHeaders", "Dialect", "Endpoint", "Handler", "Operation", "Schema"]

Schema = dict[str, Any]
Handler = Callable[[Request], Awaitable[Response]]
# From the thousandths of a credit that were charged, and the account when it is known.
AccountHeaders = Callable[[int, auth_pb2.Account | None], dict[str, str]]


@dataclass(frozen=True, slots=True)
class Operation:
    """Something that dialects offer: the handler that does it, and its part of the OpenAPI document."""

    serve: Callable[[Services], Handler]
    describe: Callable[[Dialect], Schema]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An operation at a path of the provider's own. `operation_id` names it in the OpenAPI document."""

    method: str
    path: str
    operation: Operation
    operation_id: str
    # Not where others may have the path too: only under the provider's prefix, or on its host.
    is_apart: bool = False
    # Body, and its name and schema, of this path's errors; None: the dialect's.
    error_document: Callable[[ErrorAnswer], object] | None = None
    error_schema: tuple[str, Schema] | None = None

    def spoken(self, dialect: Dialect) -> Dialect:
        """`dialect` as it is spoken at this path."""
        if self.error_document is None or self.error_schema is None:
            return dialect
        return replace(dialect, error_document=self.error_document, error_schema=self.error_schema)


def _no_headers(_: Removal) -> dict[str, str]:
    return {}


def _no_fields(_: Fields, __: compositor_pb2.RenderOptions) -> None:
    pass


def _never(_: Fields) -> bool:
    return False


def _field_size(fields: Fields) -> str | None:
    return fields.text("size")


@dataclass(frozen=True, slots=True)
class Dialect:
    """The API of one provider.

    `endpoints` are its paths, as the provider has them; an unknown path below one is answered in this
    dialect. They are served a second time under `prefix`, which is what others cannot have.

    Fields: `field_names` are this API's names of fields that we call otherwise; `key_header` carries the key.
    `sizes` has lower-case names, with every alias; `preview` is what a caller who cannot pay gets;
    `size_name` finds out which size is asked for.
    `read_own_fields` reads what only this API has, and `own_fields` describes it.
    Results: `result_headers` beside the two of the size; `result_document` is the JSON form, None when this
    API never answers a removal with JSON; `account_headers` tells what is left after the charge.
    Errors: `errors` are told otherwise than in remove.bg's words; `error_document` is the body, and
    `error_schema` its name and schema.
    Limits: `max_file_bytes` and `input_formats` are of pictures that come; `rate_unit` is what a request
    takes of the rate limit, `rate_scope` whose requests count together.
    """

    name: str
    prefix: str
    endpoints: tuple[Endpoint, ...]
    default_size: str
    default_format: compositor_pb2.OutputFormat.ValueType
    sizes: Mapping[str, Size]
    preview: Size
    width_header: str
    height_header: str
    error_document: Callable[[ErrorAnswer], object]
    error_schema: tuple[str, Schema]
    # Codes that this API has for what the proxy says by itself, by status; "" for all that are not named.
    proxy_codes: Mapping[int, str] = field(default_factory=dict)
    errors: Mapping[Reason, PublicError] = field(default_factory=dict)
    # Further paths below which everything is this API's, whatever is served there.
    roots: tuple[str, ...] = ()
    # The provider by which keys are restricted, where this is only a part of its API.
    provider: str = ""
    key_header: str = "X-Api-Key"
    # File types of results, by the names that this API has for them.
    formats: Mapping[str, compositor_pb2.OutputFormat.ValueType] = field(default_factory=lambda: FORMATS)
    # Under this name the key may also stand in the query or in a JSON body; empty: only in headers.
    key_parameter: str = ""
    # Whether the body may be the picture itself, with the fields in the query.
    takes_raw_body: bool = False
    field_names: Mapping[str, str] = field(default_factory=dict)
    # Of the fields beside the source and `own_fields`, those that are read; None: all that remove.bg has.
    known_fields: frozenset[str] | None = None
    size_name: Callable[[Fields], str | None] = _field_size
    read_own_fields: Callable[[Fields, compositor_pb2.RenderOptions], None] = _no_fields
    # Whether a picture may also come as base64, beside file and URL.
    reads_base64: bool = True
    own_fields: Mapping[str, Schema] = field(default_factory=dict)
    # Whether our own options of `matteworks_edge.fields.additions` are read too.
    has_additions: bool = False
    takes_format_from_accept: bool = False
    # Pixels that a PNG may have at most, as remove.bg's; 0: as many as the size allows.
    max_png_pixels: int = 0
    # Bytes that a picture may have, decoded; a plan may allow fewer.
    max_file_bytes: int = MAX_FILE_BYTES
    input_formats: frozenset[ImageFormat] = ALL_FORMATS
    result_headers: Callable[[Removal], dict[str, str]] = _no_headers
    result_header_schemas: Mapping[str, Schema] = field(default_factory=dict)
    result_document: Callable[[Removal], bytes] | None = None
    result_schema: Schema = field(default_factory=dict)
    # Headers that this API has beside ours, by the name of ours whose value they repeat.
    header_aliases: Mapping[str, str] = field(default_factory=dict)
    # Whether the answer is that form whatever the caller accepts.
    answers_json: Callable[[Fields], bool] = _never
    account_headers: AccountHeaders | None = None
    # Answers a removal with a `webhook_url`, which is then done later; None: there is no such field.
    queued_document: Callable[[str], object] | None = None
    queued_schema: Schema = field(default_factory=dict)
    rate_unit: plan_pb2.RateUnit.ValueType = plan_pb2.RATE_UNIT_MEGAPIXELS
    rate_scope: plan_pb2.RateScope.ValueType = plan_pb2.RATE_SCOPE_ACCOUNT
