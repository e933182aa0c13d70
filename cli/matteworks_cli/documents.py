"""Messages as JSON for programs: whole numbers stay numbers, times are ISO 8601, durations are seconds."""

from __future__ import annotations

import json
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp


def json_text(value: Any) -> str:
    """A message, or a list or dictionary of messages, as indented JSON."""
    return json.dumps(document_of(value), indent=2, ensure_ascii=False)


def document_of(value: Any) -> Any:
    """`value` in words of JSON. A field that was not set is null where the contract tells that apart."""
    if isinstance(value, Timestamp):
        return value.ToJsonString()
    if isinstance(value, Duration):
        return value.ToSeconds()
    if isinstance(value, Message):
        return {field.name: _field(value, field) for field in value.DESCRIPTOR.fields}
    if isinstance(value, dict):
        return {key: document_of(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [document_of(one) for one in value]
    return value


def _field(message: Message, field: Any) -> Any:
    value = getattr(message, field.name)
    if field.is_repeated:
        is_map = field.message_type is not None and field.message_type.GetOptions().map_entry
        return document_of(dict(value) if is_map else list(value))
    if field.has_presence and not message.HasField(field.name):
        return None
    if field.enum_type is not None:
        return field.enum_type.values_by_number[value].name
    return document_of(value)
