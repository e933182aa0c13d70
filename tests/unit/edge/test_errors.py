"""Every reason has a public form in every dialect."""

from __future__ import annotations

import json
import string

import pytest

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_common.errors import InvalidField, LimitExceeded, MatteworksError
from matteworks_edge.dialects.base import Dialect
from matteworks_edge.errors import PUBLIC_ERRORS, answer_for
from matteworks_edge.providers import PROVIDERS

ALL = list(reasons.ErrorReason.values())


def test_the_table_has_every_reason_and_no_other() -> None:
    assert sorted(PUBLIC_ERRORS) == sorted(ALL)


@pytest.mark.parametrize("reason", ALL, ids=reasons.ErrorReason.Name)
@pytest.mark.parametrize("dialect", PROVIDERS, ids=lambda dialect: dialect.name)
def test_every_reason_becomes_a_complete_document(
    reason: reasons.ErrorReason.ValueType, dialect: Dialect
) -> None:
    answer = answer_for([MatteworksError(reason, "A remedy.")], dialect.errors)
    (error,) = answer.errors
    assert error["title"]
    assert error["code"]
    assert "{" not in "".join(error.values())
    assert 400 <= answer.status < 600
    document = json.dumps(dialect.error_document(answer))
    assert json.dumps(error["title"])[1:-1] in document or error["detail"] in document
    assert ("Retry-After" in answer.headers) == (answer.status in (429, 503))


def test_metadata_cannot_reach_into_a_template() -> None:
    error = MatteworksError(
        reasons.ERROR_REASON_INVALID_FILE_TYPE, "x", metadata={"received": "{field.__class__}"}
    )
    answer = answer_for([error], {})
    assert "{field.__class__}" in answer.errors[0]["detail"]


def test_titles_name_only_metadata_that_has_a_fallback() -> None:
    known = {"cause", "received", "megapixels", "limit_mb", "field"}
    for public in PUBLIC_ERRORS.values():
        for text in (public.title, public.detail or ""):
            assert {name for _, name, _, _ in string.Formatter().parse(text) if name} <= known


def test_the_first_error_decides_the_status_and_all_are_told() -> None:
    errors = [
        InvalidField("roi", "x", reason=reasons.ERROR_REASON_INVALID_ROI),
        LimitExceeded(reasons.ERROR_REASON_OVERLOADED, "y", retry_after_s=9),
    ]
    answer = answer_for(errors, {})
    assert answer.status == 400
    assert [error["code"] for error in answer.errors] == ["invalid_roi", "overloaded"]
