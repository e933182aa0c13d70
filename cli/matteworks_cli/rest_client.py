"""The REST API as the command line uses it: one photo in, one file out, with retries where they help."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

from matteworks_deploy.failures import EXIT_USAGE, CommandFailed

_TIMEOUT_S = 180.0
# Answers that cost nothing and may be different a moment later.
_PASSING = {httpx.codes.TOO_MANY_REQUESTS, httpx.codes.BAD_GATEWAY, httpx.codes.SERVICE_UNAVAILABLE}
# Answers that are about the photo or the parameters, and would be the same tomorrow.
_ABOUT_PHOTO = {
    httpx.codes.BAD_REQUEST,
    httpx.codes.REQUEST_ENTITY_TOO_LARGE,
    httpx.codes.UNSUPPORTED_MEDIA_TYPE,
    httpx.codes.UNPROCESSABLE_ENTITY,
}
_MAX_ATTEMPTS = 4
_LONGEST_PAUSE_S = 30.0
_SUFFIXES = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/webp": "webp",
    "image/avif": "avif",
    "application/zip": "zip",
}


class Refused(Exception):
    """One photo could not be cut out; the message is for a person.

    `is_about_photo`: the photo or what was asked of it is at fault, so that another attempt, or another
    photo's luck, changes nothing. False: the server, the account or the way to it.
    """

    def __init__(self, message: str, *, is_about_photo: bool = True) -> None:
        super().__init__(message)
        self.is_about_photo = is_about_photo


@dataclass(frozen=True, slots=True)
class RestCutout:
    """A result. `suffix` fits its type; `headers` are the server's."""

    image: bytes
    suffix: str
    status: int
    headers: Mapping[str, str]


class RestClient:
    """Connections to one server, for any number of threads."""

    def __init__(self, base_url: str, key: str, sleep: Callable[[float], None] = time.sleep) -> None:
        self._sleep = sleep
        self._base_url = base_url
        url = urlsplit(base_url)
        if url.scheme not in {"http", "https"} or not url.hostname:
            raise CommandFailed(f"{base_url!r} is not a URL; write http://HOST:PORT.", EXIT_USAGE)
        self._http = httpx.Client(
            base_url=base_url.rstrip("/"), headers={"X-Api-Key": key}, timeout=_TIMEOUT_S
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._http.close()

    def remove_background(
        self, photo: Path, parameters: Mapping[str, str], background: Path | None = None
    ) -> RestCutout:
        """The cut-out of `photo`. Empty parameters are left out. Raises Refused."""
        return self.cut_out(photo.name, _bytes_of(photo), parameters, background)

    def preview(
        self, photo: Path, parameters: Mapping[str, str], background: Path | None = None
    ) -> dict[str, Any]:
        """What the cut-out of `photo` would cost; nothing is charged. Raises Refused."""
        response = self._send(photo.name, _bytes_of(photo), {**parameters, "dry_run": "true"}, background)
        try:
            data = response.json()["data"]
            if data["dry_run"] is True:
                return dict(data)
        except (ValueError, LookupError, TypeError):
            pass
        raise Refused(
            "the server knows no dry run; this one was done and perhaps charged", is_about_photo=False
        )

    def cut_out(
        self,
        name: str,
        content: bytes,
        parameters: Mapping[str, str],
        background: Path | None = None,
        *,
        idempotency_key: str = "",
    ) -> RestCutout:
        """The cut-out of the picture `content`, which is called `name`. With an `idempotency_key` a repeat
        within a day is not charged again. Raises Refused.
        """
        response = self._send(name, content, parameters, background, idempotency_key)
        content_type = response.headers.get("content-type", "").partition(";")[0]
        if content_type not in _SUFFIXES:
            raise Refused(
                f"the server sent {content_type or 'something without a type'} instead of a picture",
                is_about_photo=False,
            )
        return RestCutout(response.content, _SUFFIXES[content_type], response.status_code, response.headers)

    def _send(
        self,
        name: str,
        content: bytes,
        parameters: Mapping[str, str],
        background: Path | None,
        idempotency_key: str = "",
    ) -> httpx.Response:
        """The answer, which is a success. Empty parameters are left out. Raises Refused."""
        fields = {name: value for name, value in parameters.items() if value}
        files = {"image_file": (name, content)}
        if background is not None:
            files["bg_image_file"] = (background.name, _bytes_of(background))
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        response = self._post("/v1.0/removebg", fields, files, headers)
        if response.status_code != httpx.codes.OK:
            raise Refused(_reason(response), is_about_photo=response.status_code in _ABOUT_PHOTO)
        return response

    def _post(
        self,
        path: str,
        fields: Mapping[str, str],
        files: Mapping[str, tuple[str, bytes]],
        headers: Mapping[str, str],
    ) -> httpx.Response:
        for attempt in range(1, _MAX_ATTEMPTS + 1):
            try:
                response = self._http.post(
                    path, data=fields, files=files, headers={"Accept": "*/*", **headers}
                )
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                # Nobody knows whether the photo was charged, so there is no second attempt.
                what = str(error) or type(error).__name__
                raise Refused(f"{self._base_url} cannot be reached: {what}", is_about_photo=False) from error
            if response.status_code not in _PASSING or attempt == _MAX_ATTEMPTS:
                return response
            self._sleep(min(_retry_after_s(response), _LONGEST_PAUSE_S))
        raise AssertionError("unreachable")


def write_result(path: Path, image: bytes, is_overwriting: bool) -> None:
    """Write a result whole or not at all. Raises Refused, also when it exists and may not be replaced."""
    unfinished = path.with_name(path.name + ".part")
    try:
        if path.exists() and not is_overwriting:
            raise Refused(f"{path} exists; --overwrite replaces it")
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_bytes(image)
        unfinished.replace(path)
    except OSError as error:
        raise Refused(f"{path} cannot be written: {error.strerror}") from error


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Refused(f"cannot be read: {error.strerror}") from error


def _reason(response: httpx.Response) -> str:
    try:
        error = response.json()["errors"][0]
        detail = f": {error['detail']}" if "detail" in error else ""
        text = f"{error['title']} ({error['code']}){detail}"
    except (ValueError, LookupError, TypeError):
        text = response.reason_phrase
    return f"{response.status_code}: {text}"


def _retry_after_s(response: httpx.Response) -> float:
    text = response.headers.get("retry-after", "")
    return float(text) if text.isdecimal() else 1.0
