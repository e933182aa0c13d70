"""Signed URLs: whoever has one may read one result until it expires, and nothing else."""

from __future__ import annotations

import base64
import hashlib
import hmac

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_common.errors import Forbidden

PATH = "/results/"


class UrlSigner:
    """HMAC-SHA256 over path and expiry. `public_url` has no slash at its end."""

    def __init__(self, secret: bytes, public_url: str) -> None:
        self._secret = hashlib.sha256(b"result urls\n" + secret).digest()
        self._public_url = public_url

    def sign(self, result_id: str, expires_s: int) -> str:
        """The URL that works until `expires_s`, in seconds since 1970."""
        signature = self._signature(result_id, expires_s)
        return f"{self._public_url}{PATH}{result_id}?expires={expires_s}&signature={signature}"

    def check(self, result_id: str, expires_s: int, signature: str, now_s: float) -> None:
        """Raises Forbidden (RESULT_URL_INVALID) unless it is ours and has not expired."""
        expected = self._signature(result_id, expires_s).encode()
        is_ours = hmac.compare_digest(expected, signature.encode("utf-8", "replace"))
        if not is_ours or now_s >= expires_s:
            raise Forbidden(
                reasons.ERROR_REASON_RESULT_URL_INVALID,
                "The URL of this result has expired or was altered; ask for a fresh one.",
            )

    def _signature(self, result_id: str, expires_s: int) -> str:
        text = f"{PATH}{result_id}\n{expires_s}".encode()
        digest = hmac.digest(self._secret, text, "sha256")
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
