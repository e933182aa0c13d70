"""Sends a case to any base URL and holds the answer against what the case expects."""

from __future__ import annotations

import base64
import io
import json
import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import yaml
from PIL import Image

from tests.conformance.pictures import background_picture, picture, pixel_at

CASES = Path(__file__).parent / "cases"
CONTRACT = Path(__file__).parent / "contract.yaml"
# Where errors come as remove.bg tells them; every other provider has a document of its own.
ERROR_LIST_PATHS = ("/v1.0/", "/v1/removebg", "/v1/account")
ACCOUNTS = {
    "main", "free", "poor", "limited", "test", "revoked", "figures", "spent", "bgremover", "erase",
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One request and what it must give. `proves` names entries of contract.yaml."""

    feature: str
    name: str
    proves: tuple[str, ...]
    request: dict[str, Any]
    expect: dict[str, Any]

    @property
    def id(self) -> str:
        return f"{self.feature}: {self.name}"


def load_cases() -> list[Case]:
    """Every case of every feature file, in file order."""
    return [
        Case(path.stem, entry["name"], tuple(entry["proves"]), entry.get("request") or {}, entry["expect"])
        for path in sorted(CASES.glob("*.yaml"))
        for entry in yaml.safe_load(path.read_text())
    ]


def load_contract() -> dict[str, dict[str, str]]:
    """Entries of the contract by id."""
    return {entry["id"]: entry for entry in yaml.safe_load(CONTRACT.read_text())}


class Runner:
    """`keys` has a key for each account that cases name: see ACCOUNTS. `prepare` brings an account into
    its state right before a case that names it.
    """

    def __init__(
        self, client: httpx.Client, keys: dict[str, str], prepare: Mapping[str, Callable[[], None]]
    ) -> None:
        self._client = client
        self._keys = keys
        self._prepare = prepare

    def has_key_for(self, case: Case) -> bool:
        """Whether the account that the case names is there."""
        return case.request.get("key", "main") not in ACCOUNTS - set(self._keys)

    def send(self, case: Case) -> httpx.Response:
        """The answer to the case's request. `before`, a request of its own, comes first; `<a.b>` in the path
        stands for what its answer has there.
        """
        asked = case.request
        found: object = {}
        if "before" in asked:
            found = self.send(replace(case, name=f"{case.name}, before", request=asked["before"])).json()
        headers = {name: str(value) for name, value in asked.get("headers", {}).items()}
        key = asked.get("key", "main")
        if key in self._prepare:
            self._prepare[key]()
        if key not in ("none", None):
            text = self._keys.get(key, key)
            self._put_key(asked.get("key_header", "X-Api-Key"), text, headers)
        path = re.sub(
            r"<([a-z_.]+)>", lambda name: str(look_up(found, name[1])), asked.get("path", "/v1.0/removebg")
        )
        if asked.get("key_header") == "api_key in query":
            path += f"?api_key={self._keys.get(key, key)}"
        method = asked.get("method", "POST")
        if method != "POST":
            return self._client.request(method, path, headers=headers)
        return self._client.post(path, headers=headers, **self._body(case, headers))

    def _put_key(self, name: str, text: str, headers: dict[str, str]) -> None:
        if name in ("Bearer", "Token", "Api-Key"):
            headers.setdefault("Authorization", f"{name} {text}")
        elif not name.startswith("api_key in"):
            headers.setdefault(name, text)

    def _body(self, case: Case, headers: dict[str, str]) -> dict[str, Any]:
        asked = case.request
        fields: dict[str, Any] = dict(asked.get("fields", {}))
        encoding = asked.get("encoding", "multipart")
        source = asked.get("picture", "ball")
        files: list[tuple[str, tuple[str, bytes, str | None]]] = []
        if "raw" in asked:
            return {"content": asked["raw"].encode()}
        if encoding == "picture":
            return {"content": picture(source, case.id)}
        if asked.get("key_header") == "api_key in body":
            fields["api_key"] = self._keys[asked.get("key", "main")]
        if source is not None:
            content = picture(source, case.id)
            how = asked.get("as", "image_file" if encoding == "multipart" else "image_file_b64")
            if how == "image_file":
                name, kind = asked.get("file_name", "photo.jpg"), asked.get("part_type")
                files.append((asked.get("file_field", "image_file"), (name, content, kind)))
            else:
                prefix = asked.get("b64_prefix", "")
                fields[how] = prefix + base64.b64encode(content).decode()
        if "background" in asked:
            width, height = asked["background"]
            part = ("back.png", background_picture(width, height), "image/png")
            files.append((asked.get("background_field", "bg_image_file"), part))
        files += [(field, ("", b"", "application/octet-stream")) for field in asked.get("empty_files", [])]
        if encoding == "json":
            return {"json": fields}
        if encoding == "urlencoded":
            return {"data": fields}
        text_parts = [(name, (None, str(value).encode(), None)) for name, value in fields.items()]
        return {"files": text_parts + files}


def check(case: Case, answer: httpx.Response) -> None:
    """Raises AssertionError with what differs."""
    expect = case.expect
    statuses = expect["status"] if isinstance(expect["status"], list) else [expect["status"]]
    assert answer.status_code in statuses, f"{answer.status_code}: {answer.text[:400]}"
    for name, wanted in expect.get("headers", {}).items():
        check_value(f"header {name}", answer.headers.get(name), wanted)
    if "errors" in expect:
        check_errors(answer, expect["errors"])
    if "json" in expect:
        document = answer.json()
        for path, wanted in expect["json"].items():
            check_value(path, look_up(document, path), wanted)
    if "keys" in expect:
        for path, names in expect["keys"].items():
            found = look_up(answer.json(), path)
            assert isinstance(found, dict)
            assert list(found) == names, f"{path}: {list(found)}"
    if "text" in expect:
        check_value("body", answer.text, expect["text"])
    if "zip" in expect:
        check_members(answer.content, expect["zip"])
    if "image" in expect:
        check_image(answer, expect["image"])
    if answer.status_code >= 400 and answer.request.url.path.startswith(ERROR_LIST_PATHS):
        check_error_envelope(answer)


def check_value(what: str, found: object, wanted: object) -> None:
    """`wanted`: None for absent, /…/ for a regular expression, [low, high] for a range, else equal."""
    if isinstance(wanted, str) and len(wanted) > 1 and wanted[0] == wanted[-1] == "/":
        assert found is not None, f"{what} is absent"
        assert re.fullmatch(wanted[1:-1], str(found), re.DOTALL), f"{what}: {found!r} against {wanted}"
    elif isinstance(wanted, list):
        assert found is not None, f"{what} is absent"
        assert wanted[0] <= float(str(found)) <= wanted[1], f"{what}: {found!r} outside {wanted}"
    elif isinstance(found, str) and not isinstance(wanted, bool) and wanted is not None:
        assert found == str(wanted), f"{what}: {found!r} instead of {wanted!r}"
    else:
        assert found == wanted, f"{what}: {found!r} instead of {wanted!r}"


def check_errors(answer: httpx.Response, wanted: list[dict[str, str]]) -> None:
    """The listed errors, in this order, with at least the listed members."""
    errors = answer.json()["errors"]
    assert [error["code"] for error in errors] == [error["code"] for error in wanted], errors
    for error, members in zip(errors, wanted, strict=True):
        for name, value in members.items():
            check_value(name, error.get(name), value)


def check_error_envelope(answer: httpx.Response) -> None:
    """What every failed request has, wherever it failed."""
    assert answer.headers["content-type"] == "application/json; charset=utf-8", answer.headers["content-type"]
    document = json.loads(answer.content)
    assert list(document) == ["errors"]
    assert document["errors"], "an empty list of errors"
    for error in document["errors"]:
        assert list(error)[:2] == ["title", "code"], error
        assert all(isinstance(value, str) for value in error.values()), error
    assert answer.headers.get("access-control-allow-origin") == "*"
    assert answer.headers.get("x-credits-charged") == "0"
    if answer.status_code in (429, 503):
        assert int(answer.headers["retry-after"]) >= 1


def check_image(answer: httpx.Response, wanted: dict[str, Any]) -> None:
    """Format, mode, size, pixels, and relations between them and the headers."""
    body = answer.content
    if answer.headers["content-type"].startswith("application/json"):
        body = base64.b64decode(answer.json()["data"]["result_b64"], validate=True)
    if wanted.get("format") == "ZIP":
        image = check_zip(body)
    else:
        image = Image.open(io.BytesIO(body))
        if "format" in wanted:
            assert image.format == wanted["format"], image.format
    if "mode" in wanted:
        assert image.mode == wanted["mode"], image.mode
    if "size" in wanted:
        assert list(image.size) == wanted["size"], image.size
    if "max_pixels" in wanted:
        assert image.width * image.height <= wanted["max_pixels"], image.size
    if "min_pixels" in wanted:
        assert image.width * image.height >= wanted["min_pixels"], image.size
    box = {
        side: int(answer.headers[f"x-foreground-{side}"])
        for side in ("top", "left", "width", "height")
        if f"x-foreground-{side}" in answer.headers
    }
    if "margins" in wanted:
        top, right, bottom, left = (_px(margin, box, at) for at, margin in enumerate(wanted["margins"]))
        expected = (box["width"] + left + right, box["height"] + top + bottom)
        assert image.size == expected, f"{image.size} instead of {expected}"
    if "subject" in wanted:
        check_subject(image, wanted["subject"])
    for pixel in wanted.get("pixels", []):
        found = pixel_at(image, *pixel["at"])
        tolerance = pixel.get("tolerance", 0)
        near = all(abs(a - b) <= tolerance for a, b in zip(found, pixel["is"], strict=True))
        assert near, f"at {pixel['at']} %: {found} instead of {pixel['is']} ± {tolerance}"
    if "metadata" in wanted:
        assert bool(image.getexif() or image.info.get("icc_profile")) is wanted["metadata"]


def check_subject(image: Image.Image, wanted: dict[str, list[float]]) -> None:
    """Where the opaque part lies: its middle and its size, in percent of the canvas, as ranges."""
    alpha = image.getchannel("A") if "A" in image.getbands() else image.convert("L")
    box = alpha.point(lambda value: 255 if value > 128 else 0).getbbox()
    assert box is not None, "nothing is opaque"
    facts = {
        "middle_x": (box[0] + box[2]) / 2 / image.width * 100,
        "middle_y": (box[1] + box[3]) / 2 / image.height * 100,
        "left": box[0] / image.width * 100,
        "top": box[1] / image.height * 100,
        "right": box[2] / image.width * 100,
        "bottom": box[3] / image.height * 100,
        "width": (box[2] - box[0]) / image.width * 100,
        "height": (box[3] - box[1]) / image.height * 100,
    }
    for name, (low, high) in wanted.items():
        assert low <= facts[name] <= high, f"{name} is {facts[name]:.1f} %, not {low} to {high} %"


def check_zip(body: bytes) -> Image.Image:
    """The layout that composers need; returns the two parts composed."""
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        entries = archive.infolist()
        assert [entry.filename for entry in entries] == ["color.jpg", "alpha.png"]
        assert all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
        assert all(entry.create_system == 3 for entry in entries), "not created as on Unix"
        colour_bytes, alpha_bytes = (archive.read(entry) for entry in entries)
    assert alpha_bytes[24] == 8, "bit depth"
    assert alpha_bytes[25] == 0, "colour type: grey without alpha"
    assert alpha_bytes[28] == 0, "interlaced"
    assert b"tRNS" not in alpha_bytes
    colour, alpha = Image.open(io.BytesIO(colour_bytes)), Image.open(io.BytesIO(alpha_bytes))
    assert (colour.format, colour.mode, alpha.mode) == ("JPEG", "RGB", "L")
    assert b"\xff\xc0" in colour_bytes, "a baseline JPEG"
    assert colour.size == alpha.size
    colour.putalpha(alpha)
    return colour


def check_members(body: bytes, wanted: list[dict[str, Any]]) -> None:
    """An archive's members in order: name, and format, mode and longest side of each picture."""
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        assert archive.namelist() == [member["name"] for member in wanted]
        for member in wanted:
            image = Image.open(io.BytesIO(archive.read(member["name"])))
            assert image.format == member["format"], image.format
            assert image.mode == member["mode"], image.mode
            if "max_side" in member:
                assert max(image.size) <= member["max_side"], image.size


def look_up(document: object, path: str) -> object:
    """`data.attributes.credits` and the like; None when it is not there."""
    for name in filter(None, path.split(".")):
        if isinstance(document, list) and name.isdecimal() and int(name) < len(document):
            document = document[int(name)]
        elif isinstance(document, dict) and name in document:
            document = document[name]
        else:
            return None
    return document


def _px(margin: int | str, box: dict[str, int], side: int) -> int:
    """Pixels of a margin; percents are of the subject's height (top, bottom) or width."""
    if isinstance(margin, int):
        return margin
    extent = box["height"] if side in (0, 2) else box["width"]
    return int(extent * float(margin.rstrip("%")) / 100 + 0.5)
