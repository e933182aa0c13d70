"""The one family of errors, and the only place where they become a gRPC status and back.

Domain code raises a `MatteworksError`; the error interceptor turns it into a `google.rpc.Status`
with `ErrorInfo`; `channels.call` turns that status back into the same error on the caller's side.
So a reason crosses any number of services unchanged, and no driver text ever leaves a process.

    MatteworksError
    ├── InvalidField        the caller must change a field
    ├── InvalidPicture      the caller must send another picture
    ├── Unauthenticated     no key, or not a valid one
    ├── Forbidden           an administration token is missing or wrong
    ├── NotFound            an account, key, model or reservation does not exist
    ├── Conflict            an id is taken, or was used for something else
    ├── FailedPrecondition  the state does not allow it now: credits, a model that is not loaded
    ├── LimitExceeded       a rate, quota or queue is full; says when to come back
    ├── DeadlineExceeded    the time is up
    └── Unavailable         a dependency is away; safe to retry
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, TypeAlias

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

from matteworks.common.v1 import error_reason_pb2 as reasons

DOMAIN = "matteworks"
STATUS_DETAILS_KEY = "grpc-status-details-bin"
if TYPE_CHECKING:
    Reason: TypeAlias = reasons.ErrorReason.ValueType
else:
    Reason = int


class MatteworksError(Exception):
    """An expected failure, told to the caller as it is.

    `message` is for the caller: one sentence that names the remedy, without secrets or driver text.
    Everything variable in it is also in `metadata`. The technical cause goes into `__cause__`.
    `field` is the request field at fault, in the caller's own words, or empty.
    `retry_after_s` is set when waiting helps.
    """

    code: ClassVar[grpc.StatusCode] = grpc.StatusCode.INTERNAL

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        field: str = "",
        metadata: Mapping[str, str] | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.field = field
        self.metadata = dict(metadata or {})
        self.retry_after_s = retry_after_s

    @property
    def reason_name(self) -> str:
        """The reason as it is sent, for example `INVALID_ROI`."""
        return reasons.ErrorReason.Name(self.reason).removeprefix("ERROR_REASON_")


class InvalidField(MatteworksError):
    """A field that the caller must change. `field` is never empty."""

    code = grpc.StatusCode.INVALID_ARGUMENT

    def __init__(
        self,
        field: str,
        remedy: str,
        *,
        reason: Reason = reasons.ERROR_REASON_INVALID_ARGUMENT,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(reason, remedy, field=field, metadata=metadata)


class InvalidPicture(MatteworksError):
    """A picture that cannot be used."""

    code = grpc.StatusCode.INVALID_ARGUMENT


class Unauthenticated(MatteworksError):
    """No key, or not a valid one."""

    code = grpc.StatusCode.UNAUTHENTICATED


class Forbidden(MatteworksError):
    """The administration token is missing or wrong, or the operator has not allowed this."""

    code = grpc.StatusCode.PERMISSION_DENIED


class NotFound(MatteworksError):
    """Something that is named does not exist."""

    code = grpc.StatusCode.NOT_FOUND


class Conflict(MatteworksError):
    """An id is taken, or was used before for something else."""

    code = grpc.StatusCode.ALREADY_EXISTS


class FailedPrecondition(MatteworksError):
    """The state does not allow it now."""

    code = grpc.StatusCode.FAILED_PRECONDITION


class LimitExceeded(MatteworksError):
    """A rate, quota or queue is full. `retry_after_s` is always set."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        retry_after_s: float,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(reason, message, metadata=metadata, retry_after_s=retry_after_s)


def overloaded(message: str, expected_s: float = 0.0) -> LimitExceeded:
    """The refusal of one who would be served in `expected_s`, the same wherever one is given: half of that
    is worth waiting for, because others may give up; at least a second.
    """
    return LimitExceeded(reasons.ERROR_REASON_OVERLOADED, message, retry_after_s=max(1.0, expected_s / 2))


class DeadlineExceeded(MatteworksError):
    """The time is up, or what is left of it cannot be met."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED

    def __init__(self, message: str = "The deadline has passed.") -> None:
        super().__init__(reasons.ERROR_REASON_DEADLINE_EXCEEDED, message)


class Unavailable(MatteworksError):
    """A dependency is away. Nothing was charged; a retry is safe."""

    code = grpc.StatusCode.UNAVAILABLE

    def __init__(
        self,
        message: str,
        *,
        reason: Reason = reasons.ERROR_REASON_SERVICE_UNAVAILABLE,
        retry_after_s: float = 1.0,
    ) -> None:
        super().__init__(reason, message, retry_after_s=retry_after_s)


class Internal(MatteworksError):
    """A bug. The message is fixed; the log has the cause under the request id."""

    def __init__(self, request_id: str) -> None:
        super().__init__(
            reasons.ERROR_REASON_INTERNAL,
            f"Something went wrong on our side; the log has it under request id {request_id}.",
            metadata={"request_id": request_id},
        )


_BY_CODE: dict[grpc.StatusCode, type[MatteworksError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidPicture,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: Forbidden,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.ALREADY_EXISTS: Conflict,
    grpc.StatusCode.FAILED_PRECONDITION: FailedPrecondition,
    grpc.StatusCode.RESOURCE_EXHAUSTED: LimitExceeded,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
}


def to_status(error: MatteworksError) -> status_pb2.Status:
    """The wire form of `error`: code, message, ErrorInfo; BadRequest, RetryInfo, QuotaFailure where due."""
    details = [
        error_details_pb2.ErrorInfo(reason=error.reason_name, domain=DOMAIN, metadata=error.metadata),
    ]
    packed = [_pack(detail) for detail in details]
    if error.field:
        violation = error_details_pb2.BadRequest.FieldViolation(field=error.field, description=error.message)
        packed.append(_pack(error_details_pb2.BadRequest(field_violations=[violation])))
    if error.retry_after_s is not None:
        delay = duration_pb2.Duration()
        delay.FromNanoseconds(round(error.retry_after_s * 1e9))
        packed.append(_pack(error_details_pb2.RetryInfo(retry_delay=delay)))
    if isinstance(error, LimitExceeded):
        failure = error_details_pb2.QuotaFailure.Violation(
            subject=error.reason_name, description=error.message
        )
        packed.append(_pack(error_details_pb2.QuotaFailure(violations=[failure])))
    code: int = error.code.value[0]
    return status_pb2.Status(code=code, message=error.message, details=packed)


def from_rpc_error(error: grpc.aio.AioRpcError) -> MatteworksError:
    """The error that the other side raised.

    A status without our ErrorInfo was made by the proxy or the transport: those become
    DeadlineExceeded, LimitExceeded or Unavailable by their code, and `Unavailable` for the rest.
    """
    status = _status_of(error)
    info, field, retry_after_s = _details_of(status)
    if info is None:
        return _from_bare_code(error.code())
    try:
        reason = reasons.ErrorReason.Value(f"ERROR_REASON_{info.reason}")
    except ValueError:
        return _from_bare_code(error.code())
    kind = _BY_CODE.get(error.code(), MatteworksError)
    if kind is InvalidPicture and field:
        kind = InvalidField
    rebuilt = kind.__new__(kind)
    MatteworksError.__init__(
        rebuilt,
        reason,
        status.message,
        field=field,
        metadata=dict(info.metadata),
        retry_after_s=retry_after_s,
    )
    return rebuilt


def _pack(message: object) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)  # type: ignore[arg-type]
    return packed


def _status_of(error: grpc.aio.AioRpcError) -> status_pb2.Status:
    for key, value in error.trailing_metadata() or ():
        if key == STATUS_DETAILS_KEY and isinstance(value, bytes):
            return status_pb2.Status.FromString(value)
    return status_pb2.Status(code=code_pb2.UNKNOWN)


def _details_of(
    status: status_pb2.Status,
) -> tuple[error_details_pb2.ErrorInfo | None, str, float | None]:
    info: error_details_pb2.ErrorInfo | None = None
    field = ""
    retry_after_s: float | None = None
    for packed in status.details:
        if packed.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            candidate = error_details_pb2.ErrorInfo()
            packed.Unpack(candidate)
            if candidate.domain == DOMAIN:
                info = candidate
        elif packed.Is(error_details_pb2.BadRequest.DESCRIPTOR):
            bad_request = error_details_pb2.BadRequest()
            packed.Unpack(bad_request)
            if bad_request.field_violations:
                field = bad_request.field_violations[0].field
        elif packed.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            retry = error_details_pb2.RetryInfo()
            packed.Unpack(retry)
            retry_after_s = retry.retry_delay.ToNanoseconds() / 1e9
    return info, field, retry_after_s


def _from_bare_code(code: grpc.StatusCode) -> MatteworksError:
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return DeadlineExceeded()
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return LimitExceeded(
            reasons.ERROR_REASON_OVERLOADED, "The service is at its limit.", retry_after_s=1.0
        )
    return Unavailable("A service that is needed for this request does not answer.")
