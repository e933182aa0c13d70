"""The services that paid work calls."""

from __future__ import annotations

from collections.abc import Sequence

import grpc

from matteworks.auth.v1 import auth_pb2, auth_pb2_grpc, plan_pb2, request_log_pb2, request_log_pb2_grpc
from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks.compositor.v1 import compositor_pb2, compositor_pb2_grpc, edit_pb2, edit_pb2_grpc
from matteworks_common.channels import call, probe
from matteworks_common.errors import Unauthenticated
from matteworks_common.key_format import format_key

# Well-formed, so that auth looks it up in its store, and never issued.
_NOBODYS_KEY = format_key("live", "readiness", "0" * 43)
# The header of a picture of 1 x 1 pixels.
_SMALLEST_PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x08\0\0\0\0"


class AuthClient:
    """Accounts, through `AuthService`. Every method raises the MatteworksError of the service."""

    def __init__(self, channel: grpc.aio.Channel, timeout_s: float) -> None:
        self._stub = auth_pb2_grpc.AuthServiceStub(channel)
        self._timeout_s = timeout_s

    async def authenticate(
        self,
        api_key: str,
        *,
        origin: str = "",
        client_address: str = "",
        dialect: str = "",
        rate_unit: plan_pb2.RateUnit.ValueType = plan_pb2.RATE_UNIT_UNSPECIFIED,
        rate_scope: plan_pb2.RateScope.ValueType = plan_pb2.RATE_SCOPE_UNSPECIFIED,
    ) -> auth_pb2.AuthenticateResponse:
        """Whose key it is, and the state of its rate limit where a unit is given. A key that is restricted
        to something that is not told is refused.
        """
        request = auth_pb2.AuthenticateRequest(
            api_key=api_key,
            origin=origin,
            client_address=client_address,
            dialect=dialect,
            rate_unit=rate_unit,
            rate_scope=rate_scope,
        )
        return await call(self._stub.Authenticate, request, timeout_s=self._timeout_s)

    async def get_account(self, account_id: str) -> auth_pb2.GetAccountResponse:
        """Balances and limits."""
        request = auth_pb2.GetAccountRequest(account_id=account_id)
        return await call(self._stub.GetAccount, request, timeout_s=self._timeout_s)

    async def reserve(self, request: auth_pb2.ReserveRequest) -> auth_pb2.ReserveResponse:
        """Hold credits."""
        return await call(self._stub.Reserve, request, timeout_s=self._timeout_s)

    async def commit(
        self, reservation_id: str, request_id: str, processing_s: float
    ) -> auth_pb2.CommitResponse:
        """Spend held credits; idempotent. `processing_s` is told for the counters."""
        request = auth_pb2.CommitRequest(reservation_id=reservation_id, request_id=request_id)
        request.processing_time.FromMilliseconds(round(processing_s * 1000))
        return await call(self._stub.Commit, request, timeout_s=self._timeout_s)

    async def release(self, reservation_id: str, request_id: str) -> auth_pb2.ReleaseResponse:
        """Give held credits back; idempotent."""
        request = auth_pb2.ReleaseRequest(reservation_id=reservation_id, request_id=request_id)
        return await call(self._stub.Release, request, timeout_s=self._timeout_s)

    async def count_call(self, request: auth_pb2.CountCallRequest) -> auth_pb2.CountCallResponse:
        """Take one request of the rate limit. Raises LimitExceeded."""
        return await call(self._stub.CountCall, request, timeout_s=self._timeout_s)

    async def get_usage(self, request: auth_pb2.GetUsageRequest) -> auth_pb2.GetUsageResponse:
        """Counters by day."""
        return await call(self._stub.GetUsage, request, timeout_s=self._timeout_s)

    async def check(self) -> None:
        """Raise unless auth and its store answer."""
        request = auth_pb2.AuthenticateRequest(api_key=_NOBODYS_KEY)
        try:
            await probe(self._stub.Authenticate, request, timeout_s=self._timeout_s)
        except Unauthenticated as error:
            if error.reason != reasons.ERROR_REASON_KEY_INVALID:
                raise


class RequestLogClient:
    """The accounts' lists of requests, through `RequestLogService`."""

    def __init__(self, channel: grpc.aio.Channel, timeout_s: float) -> None:
        self._stub = request_log_pb2_grpc.RequestLogServiceStub(channel)
        self._timeout_s = timeout_s

    async def record(self, records: Sequence[request_log_pb2.RequestRecord]) -> None:
        """Add requests; a repeat adds nothing."""
        request = request_log_pb2.RecordRequestsRequest(records=records)
        await call(self._stub.RecordRequests, request, timeout_s=self._timeout_s)


class EditClient:
    """Tools that keep the background, through `EditService`."""

    def __init__(self, channel: grpc.aio.Channel, timeout_s: float) -> None:
        self._stub = edit_pb2_grpc.EditServiceStub(channel)
        self._timeout_s = timeout_s

    async def crop(self, request: edit_pb2.CropRequest) -> edit_pb2.CropResponse:
        """A part of a picture."""
        return await call(self._stub.Crop, request, timeout_s=self._timeout_s)

    async def erase(self, request: edit_pb2.EraseRequest) -> edit_pb2.EraseResponse:
        """A picture with a part filled from around it."""
        return await call(self._stub.Erase, request, timeout_s=self._timeout_s)

    async def fill(self, request: edit_pb2.FillRequest) -> edit_pb2.FillResponse:
        """A picture with a part painted from a prompt."""
        return await call(self._stub.Fill, request, timeout_s=self._timeout_s)

    async def correct(self, request: edit_pb2.CorrectRequest) -> edit_pb2.CorrectResponse:
        """A cut-out with its matte corrected by strokes."""
        return await call(self._stub.Correct, request, timeout_s=self._timeout_s)

    async def select(self, request: edit_pb2.SelectRequest) -> edit_pb2.SelectResponse:
        """A cut-out of what is pointed at."""
        return await call(self._stub.Select, request, timeout_s=self._timeout_s)

    async def list_subjects(self, request: edit_pb2.ListSubjectsRequest) -> edit_pb2.ListSubjectsResponse:
        """What is in a picture, with numbers."""
        return await call(self._stub.ListSubjects, request, timeout_s=self._timeout_s)

    async def expand(self, request: edit_pb2.ExpandRequest) -> edit_pb2.ExpandResponse:
        """A picture with more room around it."""
        return await call(self._stub.Expand, request, timeout_s=self._timeout_s)

    async def upscale(self, request: edit_pb2.UpscaleRequest) -> edit_pb2.UpscaleResponse:
        """A picture made larger."""
        return await call(self._stub.Upscale, request, timeout_s=self._timeout_s)

    async def put_back(self, request: edit_pb2.PutBackRequest) -> edit_pb2.PutBackResponse:
        """A picture with its edited subject."""
        return await call(self._stub.PutBack, request, timeout_s=self._timeout_s)


class CompositorClient:
    """Cut-outs, through `CompositorService`."""

    def __init__(self, channel: grpc.aio.Channel, timeout_s: float) -> None:
        self._stub = compositor_pb2_grpc.CompositorServiceStub(channel)
        self._timeout_s = timeout_s

    async def remove_background(
        self, request: compositor_pb2.RemoveBackgroundRequest
    ) -> compositor_pb2.RemoveBackgroundResponse:
        """The cut-out, within what is left of the request's deadline."""
        return await call(self._stub.RemoveBackground, request, timeout_s=self._timeout_s)

    async def check(self) -> None:
        """Raise unless the compositor answers."""
        await probe(self._stub.Inspect, compositor_pb2.InspectRequest(image=_SMALLEST_PNG), timeout_s=2)
