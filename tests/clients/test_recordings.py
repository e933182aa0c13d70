"""Our answers beside those that the official Ruby client recorded from the vendor's service."""

from __future__ import annotations

import io
import json
import uuid
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import yaml
from PIL import Image

from matteworks.auth.v1 import auth_pb2, auth_pb2_grpc
from tests.clients.conftest import WRONG_KEY
from tests.clients.strict_parsers import png_chunks, png_header
from tests.support.stack import RunningStack

RECORDINGS = Path(__file__).resolve().parents[3] / "shared" / "reference" / "recordings" / "vcr_cassettes"

pytestmark = [
    pytest.mark.stack,
    pytest.mark.shared,
    pytest.mark.skipif(not RECORDINGS.is_dir(), reason=f"no recordings in {RECORDINGS}"),
]

# Set by what stood between the vendor's service and the recorder.
HEADERS_OF_THE_WAY = {"via", "alt-svc", "date", "content-length"}
SAME_VALUES = {
    "access-control-allow-origin",
    "content-type",
    "x-width",
    "x-height",
    "x-max-width",
    "x-max-height",
    "x-type",
    "x-credits-charged",
    "x-ratelimit-limit",
}


@dataclass(frozen=True)
class Recording:
    """One recorded exchange."""

    method: str
    path: str
    request_body: bytes
    request_headers: dict[str, str]
    status: int
    headers: dict[str, str]
    body: bytes


@pytest.fixture
def api(running_stack: RunningStack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=running_stack.base_url, timeout=60) as client:
        yield client


@pytest.fixture(scope="session")
def key(running_stack: RunningStack) -> str:
    """The key of a customer with the vendor's rate limit, 500 a minute, and paid credits."""
    metadata = (("authorization", f"Bearer {running_stack.admin_token}"),)
    account_id = f"recordings-{uuid.uuid4().hex}"
    with grpc.insecure_channel(running_stack.internal_target) as channel:
        admin = auth_pb2_grpc.KeyAdminServiceStub(channel)
        admin.CreateAccount(
            auth_pb2.CreateAccountRequest(account_id=account_id, plan="starter"),
            metadata=metadata,
            timeout=10,
        )
        grant = auth_pb2.GrantCreditsRequest(
            request_id=account_id,
            account_id=account_id,
            balance=auth_pb2.BALANCE_SUBSCRIPTION,
            credits_milli=100_000,
        )
        admin.GrantCredits(grant, metadata=metadata, timeout=10)
        made = admin.CreateKey(
            auth_pb2.CreateKeyRequest(account_id=account_id), metadata=metadata, timeout=10
        )
        # The vendor's recordings are of paid calls.
        auth = auth_pb2_grpc.AuthServiceStub(channel)
        free = auth.GetAccount(auth_pb2.GetAccountRequest(account_id=account_id), timeout=10).account
        for number in range(free.free_call_count):
            request_id = f"{account_id}-{number}"
            price = auth_pb2.Price(credits_milli=250, is_free_call_eligible=True)
            held = auth.Reserve(
                auth_pb2.ReserveRequest(
                    request_id=request_id, account_id=account_id, prices=[price], megapixels=1
                ),
                timeout=10,
            )
            auth.Commit(
                auth_pb2.CommitRequest(reservation_id=held.reservation_id, request_id=request_id), timeout=10
            )
    return made.api_key


def load(name: str) -> Recording:
    (exchange,) = yaml.safe_load((RECORDINGS / f"{name}.yml").read_text())["http_interactions"]
    asked, answered = exchange["request"], exchange["response"]
    return Recording(
        method=asked["method"].upper(),
        path=httpx.URL(asked["uri"]).path,
        request_body=_bytes(asked["body"]),
        request_headers=_headers(asked["headers"]),
        status=answered["status"]["code"],
        headers=_headers(answered["headers"]),
        body=_bytes(answered["body"]),
    )


def replay(recording: Recording, api: httpx.Client, key: str) -> httpx.Response:
    """The recorded request byte for byte, with a key of ours."""
    headers = {**recording.request_headers, "x-api-key": key}
    headers.pop("content-length", None)
    return api.request(recording.method, recording.path, content=recording.request_body, headers=headers)


@pytest.mark.parametrize(
    ("name", "is_ours"),
    [
        ("account", True),
        ("account-invalid-api-key", False),
        ("from-file-person-in-field", True),
        ("from-file-person-in-field-invalid-api-key", False),
        ("zip-person-in-field", True),
    ],
)
def test_status_and_headers_are_those_of_the_recording(
    name: str, is_ours: bool, api: httpx.Client, key: str
) -> None:
    recording = load(name)

    answer = replay(recording, api, key if is_ours else WRONG_KEY)

    assert answer.status_code == recording.status, answer.text[:300]
    missing = set(recording.headers) - HEADERS_OF_THE_WAY - set(answer.headers)
    assert not missing
    for header in SAME_VALUES & set(recording.headers):
        assert answer.headers[header] == recording.headers[header], header


def test_an_account_has_the_recorded_document(api: httpx.Client, key: str) -> None:
    recording = load("account")

    answer = replay(recording, api, key)

    assert shape_of(answer.content) == shape_of(recording.body)
    assert "x-ratelimit-limit" not in answer.headers


@pytest.mark.parametrize("name", ["account-invalid-api-key", "from-file-person-in-field-invalid-api-key"])
def test_a_wrong_key_has_the_recorded_document(name: str, api: httpx.Client) -> None:
    recording = load(name)

    answer = replay(recording, api, WRONG_KEY)

    assert answer.content == recording.body
    assert "x-ratelimit-limit" not in answer.headers


def test_a_download_that_fails_has_the_recorded_title_and_a_code_behind_it(
    api: httpx.Client, key: str
) -> None:
    recording = load("from-url-non-existent-image")

    answer = replay(recording, api, key)

    assert answer.status_code == recording.status
    said, recorded = (json.loads(body)["errors"][0] for body in (answer.content, recording.body))
    assert list(said)[:2] == ["title", "code"], "the code came after these recordings"
    opening = recorded["title"].partition(": ")[0]
    assert said["title"].partition(": ")[0] == opening


def test_a_zip_has_the_recorded_layout(api: httpx.Client, key: str) -> None:
    recording = load("zip-person-in-field")

    answer = replay(recording, api, key)

    assert layout_of(answer.content) == layout_of(recording.body)


def test_a_png_has_the_recorded_form(api: httpx.Client, key: str) -> None:
    recording = load("from-file-person-in-field")

    answer = replay(recording, api, key)

    assert png_header(answer.content) == png_header(recording.body)
    assert answer.content[28] == recording.body[28], "interlacing"


def shape_of(document: bytes) -> object:
    """Member names, in order, all the way down; the values' types at the ends."""

    def walk(value: object) -> object:
        if isinstance(value, dict):
            return [(name, walk(member)) for name, member in value.items()]
        return "number" if isinstance(value, int | float) else type(value).__name__

    return walk(json.loads(document))


def layout_of(archive: bytes) -> list[tuple[object, ...]]:
    """Names, order, compression, system and form of the entries."""
    with zipfile.ZipFile(io.BytesIO(archive)) as entries:
        facts: list[tuple[object, ...]] = []
        for entry in entries.infolist():
            content = entries.read(entry)
            image = Image.open(io.BytesIO(content))
            form: tuple[object, ...] = (image.format, image.mode, image.size)
            if image.format == "PNG":
                form += (*png_header(content), content[28], b"tRNS" in png_chunks(content))
            else:
                form += (b"\xff\xc0" in content,)
            facts.append((entry.filename, entry.compress_type, entry.create_system, *form))
    return facts


def _headers(recorded: dict[str, list[str]]) -> dict[str, str]:
    return {name.lower(): values[0] for name, values in recorded.items()}


def _bytes(body: dict[str, Any]) -> bytes:
    if "bin_key" in body:
        return (RECORDINGS / "bin_data" / str(body["bin_key"])).read_bytes()
    content = body["string"]
    return content if isinstance(content, bytes) else str(content).encode()
