"""The contracts obey their style, and no change breaks a caller of the last release."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2
from tools import check_protos, gen_protos

FIELD = descriptor_pb2.FieldDescriptorProto
UNSIGNED = {FIELD.TYPE_UINT32, FIELD.TYPE_UINT64, FIELD.TYPE_FIXED32, FIELD.TYPE_FIXED64}
FLOATING = {FIELD.TYPE_FLOAT, FIELD.TYPE_DOUBLE}


def baseline_fields() -> list[tuple[str, descriptor_pb2.FieldDescriptorProto]]:
    """Every field of our own messages, with its full name. The baseline equals the protos or less."""
    files = descriptor_pb2.FileDescriptorSet.FromString(check_protos.BASELINE.read_bytes())
    fields = []
    for file in files.file:
        if file.package.startswith("matteworks."):
            for message in file.message_type:
                fields += [(f"{file.package}.{message.name}.{field.name}", field) for field in message.field]
    return fields


def changed_copy(tmp_path: Path, relative: str, pattern: str, replacement: str) -> Path:
    """A copy of the contracts in which one thing was changed."""
    copy = tmp_path / "protos"
    shutil.copytree(check_protos.PROTOS, copy, ignore=shutil.ignore_patterns("gen"))
    path = copy / relative
    text, count = re.subn(pattern, replacement, path.read_text(), count=1)
    assert count == 1, f"{pattern} does not occur in {relative}"
    path.write_text(text)
    return copy


def test_the_contracts_are_in_style_and_break_no_caller() -> None:
    assert check_protos.problems() == []


def test_a_field_without_a_comment_is_refused(tmp_path: Path) -> None:
    protos = changed_copy(tmp_path, "matteworks/common/v1/image.proto", r"  // Columns, 1 or more\.\n", "")

    assert any("width_px" in problem for problem in check_protos.problems(protos))


@pytest.mark.parametrize(
    ("pattern", "replacement"),
    [
        (r"int32 width_px = 1;", "int32 width_px = 7;"),
        (r"int32 width_px = 1;", "int64 width_px = 1;"),
        (r"  // Rows, 1 or more\.\n  int32 height_px = 2;\n", ""),
    ],
    ids=["renumbered", "another type", "removed"],
)
def test_a_change_that_breaks_callers_is_refused(tmp_path: Path, pattern: str, replacement: str) -> None:
    protos = changed_copy(tmp_path, "matteworks/common/v1/image.proto", pattern, replacement)

    assert check_protos.problems(protos)


def test_no_field_is_unsigned() -> None:
    assert [name for name, field in baseline_fields() if field.type in UNSIGNED] == []


def test_credits_are_whole_thousandths() -> None:
    # How many requests were refused for lack of them is no amount.
    credits_fields = [
        (name, field)
        for name, field in baseline_fields()
        if "credits" in field.name and not field.name.endswith("_count")
    ]

    assert credits_fields
    assert [name for name, field in credits_fields if field.type in FLOATING] == []
    assert [name for name, field in credits_fields if not field.name.endswith("credits_milli")] == []


def test_generated_code_is_current(tmp_path: Path) -> None:
    gen_protos.generate(tmp_path)

    assert gen_protos.differences(tmp_path, gen_protos.COMMITTED) == []
