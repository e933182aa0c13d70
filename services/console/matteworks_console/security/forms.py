"""Forms that only our own pages can send, once."""

from __future__ import annotations

import hashlib
import secrets
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from starlette.requests import Request

from matteworks_console.errors import PageError
from matteworks_console.security.session_store import SessionStore

MAX_FORM_BYTES: Final = 64 * 1024
MAX_FIELDS: Final = 50
_FORM_TYPE: Final = "application/x-www-form-urlencoded"
_USED_S: Final = 24 * 3600


class Form:
    """The fields of a form, trimmed. One that comes twice is a list in `all`."""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self._pairs = pairs

    def text(self, name: str, max_length: int = 300) -> str:
        """The last value of a field; empty when it was not sent. Raises PageError when it is too long."""
        value = next((value.strip() for key, value in reversed(self._pairs) if key == name), "")
        if len(value) > max_length:
            raise PageError(400, f"{name}: give at most {max_length} characters.")
        return value

    def lines(self, name: str) -> list[str]:
        """The lines of a text area that are not empty."""
        return [line.strip() for line in self.text(name, 8000).splitlines() if line.strip()]

    def whole_number(self, name: str, lowest: int, highest: int) -> int:
        """Raises PageError when the field is no whole number from `lowest` to `highest`."""
        text = self.text(name)
        if not text.isascii() or not text.isdecimal() or not lowest <= int(text[:20]) <= highest:
            raise PageError(400, f"{name}: give a whole number from {lowest} to {highest}.")
        return int(text)


async def read_form(request: Request) -> Form:
    """The form of a request that came from a page of ours. Raises PageError."""
    _refuse_strangers(request)
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM_TYPE:
        raise PageError(400, "Send the form as it is.")
    content = b""
    async for part in request.stream():
        content += part
        if len(content) > MAX_FORM_BYTES:
            raise PageError(413, "The form is too large.")
    try:
        pairs = parse_qsl(content.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError:
        raise PageError(400, "Send the form as it is.") from None
    return Form(pairs)


def check_token(form: Form, expected: str) -> None:
    """Raises PageError unless the form has the token of its session."""
    if not secrets.compare_digest(form.text("csrf").encode(), expected.encode()):
        raise PageError(403, "The page was too old. Go back, reload it, and try again.")


async def check_once(store: SessionStore, form: Form) -> str:
    """The form's own id. Raises PageError when this form was sent before: a reload makes nothing twice."""
    form_id = hashlib.sha256(form.text("form_id").encode()).hexdigest()[:24]
    if not form.text("form_id") or await store.count(f"form:{form_id}", _USED_S) > 1:
        raise PageError(409, "This form was sent already. Go back and reload the page.")
    return form_id


def new_form_id() -> str:
    """For a form that makes something."""
    return secrets.token_urlsafe(16)


def _refuse_strangers(request: Request) -> None:
    # Browsers tell where a form comes from; the token in the form is the second lock.
    origin = request.headers.get("origin")
    site = request.headers.get("sec-fetch-site", "same-origin")
    is_ours = origin is None or urlsplit(origin).netloc == request.headers.get("host", "")
    if not is_ours or site not in ("same-origin", "none"):
        raise PageError(403, "This form came from another site.")
