"""The document says what the gateway does."""

from __future__ import annotations

import json

import pytest

from matteworks_edge.dialects.base import BGERASER, REMOVE_BG
from matteworks_edge.errors import PUBLIC_ERRORS
from matteworks_edge.intake.body import BASE64_FIELDS, FILE_FIELDS
from matteworks_edge.openapi.document import build_document, removal_parameters

DOCUMENT = build_document("1.2.3")


def test_every_reference_resolves() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    names = [part.split('"')[0] for part in json.dumps(DOCUMENT).split("#/components/schemas/")[1:]]
    assert names
    assert set(names) == set(schemas)


def test_every_parameter_of_the_contract_is_there() -> None:
    known = {*removal_parameters(REMOVE_BG), *FILE_FIELDS} | (BASE64_FIELDS - {"image_base64"})
    schema = DOCUMENT["paths"]["/v1.0/removebg"]["post"]["requestBody"]["content"]["multipart/form-data"]
    assert set(schema["schema"]["properties"]) == known
    assert len(known) == 20


@pytest.mark.parametrize("path", ["/v1.0/removebg", "/v1/removebg"])
def test_every_status_that_an_error_can_have_is_documented(path: str) -> None:
    dialect = REMOVE_BG if path == "/v1.0/removebg" else BGERASER
    statuses = {
        str((dialect.errors.get(reason) or public).status) for reason, public in PUBLIC_ERRORS.items()
    }
    documented = set(DOCUMENT["paths"][path]["post"]["responses"])
    assert statuses - {"404", "405", "499"} <= documented


def test_every_known_size_and_its_default_are_named() -> None:
    size = removal_parameters(REMOVE_BG)["size"]
    assert size["default"] == "preview"
    assert size["examples"] == list(REMOVE_BG.sizes)
