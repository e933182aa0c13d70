"""ClipDrop's API: /remove-background/v1."""

from __future__ import annotations

from typing import Final

from matteworks.auth.v1 import auth_pb2
from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks.compositor.v1 import compositor_pb2
from matteworks_common.errors import InvalidField
from matteworks_common.settings import MEBIBYTE
from matteworks_edge.dialects.base import Dialect, Endpoint
from matteworks_edge.errors import ErrorAnswer, PublicError
from matteworks_edge.fields.reader import Fields
from matteworks_edge.openapi.schemas import TEXT, WHOLE, closed_object
from matteworks_edge.operations.catalogue import REMOVAL, picture_edit
from matteworks_edge.operations.editing.tools import EXPAND, FILL, UPSCALE
from matteworks_edge.responses import format_credits
from matteworks_removal.offers import Size

_PREVIEW: Final = Size(250, max_pixels=250_000, is_free_call_eligible=True)
_TRANSPARENCY: Final = {
    "return_input_if_non_opaque": compositor_pb2.INPUT_ALPHA_IS_MATTE,
    "discard_alpha_layer": compositor_pb2.INPUT_ALPHA_DISCARDED,
}


def _account_headers(charged_credits_milli: int, account: auth_pb2.Account | None) -> dict[str, str]:
    """What was charged and, when it is known, what is left, in whole credits rounded down."""
    headers = {"X-Credits-Consumed": format_credits(charged_credits_milli)}
    if account is not None:
        left_milli = (
            account.subscription_credits_milli + account.payg_credits_milli + account.enterprise_credits_milli
        )
        headers["X-Remaining-Credits"] = str(left_milli // 1000)
    return headers


def _error_document(answer: ErrorAnswer) -> object:
    return {"error": answer.sentence}


def _read_own_fields(fields: Fields, options: compositor_pb2.RenderOptions) -> None:
    options.input_alpha = fields.read(
        "transparency_handling", _parse_transparency, compositor_pb2.INPUT_ALPHA_IS_MATTE
    )


def _parse_transparency(text: str) -> compositor_pb2.InputAlpha.ValueType:
    value = _TRANSPARENCY.get(text.strip().lower())
    if value is None:
        raise InvalidField("transparency_handling", f"Give {' or '.join(_TRANSPARENCY)}.")
    return value


# What uncrop answers with.
_JPEG: Final = compositor_pb2.OUTPUT_FORMAT_JPEG
# What upscale answers with: WebP where a picture is transparent, else JPEG.
_AUTO: Final = compositor_pb2.OUTPUT_FORMAT_AUTO

CLIPDROP: Final = Dialect(
    name="clipdrop",
    prefix="/clipdrop",
    endpoints=(
        Endpoint("POST", "/remove-background/v1", REMOVAL, "removeBackgroundClipdrop"),
        Endpoint("POST", "/cleanup/v1", picture_edit(FILL), "cleanupClipdrop"),
        Endpoint("POST", "/uncrop/v1", picture_edit(EXPAND, _JPEG), "uncropClipdrop"),
        Endpoint("POST", "/image-upscaling/v1/upscale", picture_edit(UPSCALE, _AUTO), "upscaleClipdrop"),
    ),
    field_names={
        "extend_left": "left",
        "extend_right": "right",
        "extend_up": "top",
        "extend_down": "bottom",
    },
    default_size="full",
    default_format=compositor_pb2.OUTPUT_FORMAT_PNG,
    # Results have the size of the input; every call costs one credit.
    sizes={"full": Size(1000, max_pixels=50_000_000)},
    max_file_bytes=30 * MEBIBYTE,
    preview=_PREVIEW,
    width_header="X-Width",
    height_header="X-Height",
    errors={
        reasons.ERROR_REASON_KEY_MISSING: PublicError(401, "no_key", "No api key provided"),
        reasons.ERROR_REASON_KEY_INVALID: PublicError(403, "invalid_key", "API Key invalid"),
    },
    error_document=_error_document,
    error_schema=("ErrorSentence", closed_object({"error": TEXT})),
    takes_format_from_accept=True,
    read_own_fields=_read_own_fields,
    own_fields={
        "transparency_handling": {
            **TEXT,
            "default": "return_input_if_non_opaque",
            "examples": list(_TRANSPARENCY),
            "description": "What happens to a picture that is partly transparent already: it comes back as "
            "it is, or its transparency is ignored.",
        }
    },
    account_headers=_account_headers,
    result_header_schemas={
        "X-Credits-Consumed": {"type": "number", "minimum": 0},
        "X-Remaining-Credits": WHOLE,
    },
)
