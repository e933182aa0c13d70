"""Reads the fields of a form one by one and keeps every error, so that one answer names them all."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_common.errors import InvalidField, MatteworksError
from matteworks_edge.errors import InvalidRequest
from matteworks_edge.fields.parameters import parse_boolean
from matteworks_edge.intake.body import RawForm

T = TypeVar("T")


class Fields:
    """The fields of one form. `errors` holds what was found wrong so far."""

    def __init__(self, form: RawForm) -> None:
        self._texts = form.texts
        self.errors: list[MatteworksError] = []

    def text(self, name: str) -> str | None:
        """A field as it was sent; None when it is absent."""
        return self._texts.get(name)

    def read(self, name: str, parse: Callable[[str], T], default: T) -> T:
        """The value of a field, or `default` when it is absent or wrong."""
        text = self._texts.get(name)
        if text is None:
            return default
        try:
            return parse(text)
        except InvalidField as error:
            self.errors.append(error)
            return default

    def boolean(
        self,
        name: str,
        default: bool,
        reason: reasons.ErrorReason.ValueType = reasons.ERROR_REASON_INVALID_ARGUMENT,
    ) -> bool:
        """As `read`, for true and false."""
        return self.read(name, lambda text: parse_boolean(name, text, reason), default)

    def by_key(self, name: str) -> dict[str, str]:
        """`name=value` under the empty key, `name[key]=value` under its key."""
        found = {"": self._texts[name]} if name in self._texts else {}
        for field_name, text in self._texts.items():
            if field_name.startswith(f"{name}[") and field_name.endswith("]"):
                # An empty key would pass for the value of all; a blank cannot be a type either way.
                found[field_name[len(name) + 1 : -1] or " "] = text
        return found

    def collect(self, read: Callable[[], T]) -> T | None:
        """What `read` returns; None, and the error kept, when it raises one."""
        try:
            return read()
        except MatteworksError as error:
            self.errors.append(error)
            return None

    def raise_if_wrong(self) -> None:
        """Raise InvalidRequest with every error found."""
        if self.errors:
            raise InvalidRequest(self.errors)
