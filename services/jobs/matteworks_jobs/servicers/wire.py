"""Checks of what comes in, and ids that nobody can guess."""

from __future__ import annotations

import re
import secrets
from typing import Final

from google.protobuf.duration_pb2 import Duration

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks.jobs.v1 import removal_pb2
from matteworks_common.errors import InvalidField, InvalidPicture
from matteworks_imaging.header import MAX_FILE_BYTES, check_file_size
from matteworks_outbound.addresses import AddressJudge, parse_address
from matteworks_outbound.urls import check_url

DEFAULT_RETENTION_S: Final = 86_400
MAX_RETENTION_S: Final = 30 * 86_400
MAX_WEBHOOK_URL_LENGTH: Final = 2000
MAX_BACKGROUND_BYTES: Final = 1024 * 1024
_ACCOUNT_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_RESULT_ID = re.compile(r"[a-z0-9_]{16,64}")


def new_id(prefix: str) -> str:
    """`prefix` and 128 random bits."""
    return f"{prefix}_{secrets.token_hex(16)}"


def checked_account(account_id: str) -> str:
    """Raises InvalidField."""
    if not _ACCOUNT_ID.fullmatch(account_id):
        raise InvalidField("account_id", "Give an account id of 1 to 64 of A-Z a-z 0-9 _ . -")
    return account_id


def checked_result_id(result_id: str) -> str:
    """Raises InvalidField."""
    if not _RESULT_ID.fullmatch(result_id):
        raise InvalidField("result_id", "Give 16 to 64 random characters of a-z 0-9 _")
    return result_id


def checked_count(field: str, count: int, default: int, largest: int) -> int:
    """`default` for 0. Raises InvalidField."""
    if not 0 <= count <= largest:
        raise InvalidField(field, f"Ask for 1 to {largest}, or 0 for {default}.")
    return count or default


def retention_s(caller: removal_pb2.Caller) -> int:
    """How long results of `caller` are kept. Raises InvalidField."""
    if not caller.HasField("result_retention"):
        return DEFAULT_RETENTION_S
    seconds = caller.result_retention.ToSeconds()
    if not 0 < seconds <= MAX_RETENTION_S:
        raise InvalidField("caller.result_retention", "Keep results for 1 second to 30 days.")
    return seconds


def lifetime_us(field: str, lifetime: Duration) -> int:
    """0 when it was not told. Raises InvalidField."""
    lifetime_us = lifetime.ToMicroseconds()
    if lifetime_us < 0:
        raise InvalidField(field, "Give a time of 0 or more.")
    return lifetime_us


def checked_webhook_url(url: str, field: str, judge: AddressJudge) -> str:
    """An http or https URL whose host is not plainly private; names are judged when they are connected to.
    Empty stays empty. Raises InvalidField (INVALID_WEBHOOK_URL).
    """
    if not url:
        return url
    reason = reasons.ERROR_REASON_INVALID_WEBHOOK_URL
    if len(url) > MAX_WEBHOOK_URL_LENGTH:
        raise InvalidField(
            field, f"Give a URL of at most {MAX_WEBHOOK_URL_LENGTH} characters.", reason=reason
        )
    host = check_url(url, field, reason).host
    address = parse_address(host)
    if not (judge.allows_name(host) if address is None else judge.allows(address)):
        raise InvalidField(field, f"Give a URL of a public host in {field}.", reason=reason)
    return url.strip()


def checked_spec(spec: removal_pb2.RemovalSpec, field: str) -> None:
    """Raises InvalidField or InvalidPicture that names a part of `field`, for what a worker would refuse."""
    match spec.WhichOneof("source"):
        case None:
            raise InvalidField(
                f"{field}.source", "Send a picture or its URL.", reason=reasons.ERROR_REASON_MISSING_SOURCE
            )
        case "image_url":
            check_url(spec.image_url, f"{field}.image_url", reasons.ERROR_REASON_INVALID_IMAGE_URL)
        case _:
            try:
                check_file_size(len(spec.image), spec.max_file_bytes or MAX_FILE_BYTES)
            except InvalidPicture as error:
                error.field = f"{field}.image"
                raise
    if spec.WhichOneof("background") == "bg_image_url":
        check_url(spec.bg_image_url, f"{field}.bg_image_url", reasons.ERROR_REASON_INVALID_BG_IMAGE_URL)
    if len(spec.bg_image) > MAX_BACKGROUND_BYTES:
        raise InvalidField(f"{field}.bg_image", "Send a background of at most 1 MiB, or its URL.")
    for name in ("size", "preview"):
        size: removal_pb2.PricedSize = getattr(spec, name)
        if not spec.HasField(name):
            continue
        if size.credits_milli < 0:
            raise InvalidField(f"{field}.{name}.credits_milli", "Give a price of 0 or more.")
        if size.max_pixel_count <= 0 and size.max_side_px <= 0:
            raise InvalidField(f"{field}.{name}", "Say how large the result may be.")
