"""Holding credits while a request runs: charged when it succeeds, given back in every other case.

The calls to auth run in tasks of their own, which neither a caller who goes away nor a deadline that
passes can stop half-way. What cannot be settled because auth is away is given back by the reservation's
own expiry; so a failed request costs nothing, whatever fails.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import structlog

from matteworks.auth.v1 import auth_pb2
from matteworks_common.context import CallContext, current_call
from matteworks_common.errors import DeadlineExceeded, MatteworksError, Unavailable
from matteworks_removal.clients import AuthClient
from matteworks_removal.low_credits import LowCredits

T = TypeVar("T")
log = structlog.get_logger()


class Hold:
    """Credits that are held for one request."""

    def __init__(
        self, reservation: auth_pb2.ReserveResponse, commit: Callable[[float], Awaitable[int]]
    ) -> None:
        self.reservation = reservation
        self.is_committed = False
        self._commit = commit

    async def commit(self, processing_s: float) -> int:
        """Spend the credits; thousandths of a credit charged. `processing_s`: how long the work took.

        Raises Unavailable (auth is away; the reservation will expire) or what auth says.
        """
        charged_milli = await self._commit(processing_s)
        self.is_committed = True
        return charged_milli


class Ledger:
    """Reserves, commits and releases. Close it before the channel to auth.

    `count_release` is told how each reservation that was given back ended: released, or abandoned to its
    deadline. `low_credits` is shown every charge, once its caller has it.
    """

    def __init__(
        self,
        auth: AuthClient,
        count_release: Callable[[str], None],
        *,
        retry_delays_s: tuple[float, ...],
        low_credits: LowCredits | None = None,
    ) -> None:
        self._auth = auth
        self._count_release = count_release
        self._retry_delays_s = retry_delays_s
        self._low_credits = low_credits
        self._tasks: set[asyncio.Task[Any]] = set()

    @asynccontextmanager
    async def hold(self, request: auth_pb2.ReserveRequest) -> AsyncIterator[Hold]:
        """Hold credits while the block runs; a block that ends without a commit gives them back.

        Raises what Reserve raises: LimitExceeded, FailedPrecondition, Unavailable.
        """
        reserving = self._spawn(self._auth.reserve(request))
        hold: Hold | None = None
        try:
            reservation = await asyncio.shield(reserving)
            hold = Hold(
                reservation,
                lambda processing_s: self._commit(reservation, request, processing_s),
            )
            yield hold
        finally:
            if hold is None or not hold.is_committed:
                self._spawn(self._release(reserving, request))

    async def look(self, request: auth_pb2.ReserveRequest) -> auth_pb2.ReserveResponse:
        """What a reservation would answer; nothing is held. Raises as `hold`."""
        return await self._auth.reserve(request)

    async def account(self, account_id: str) -> auth_pb2.Account:
        """The balances now."""
        return (await self._auth.get_account(account_id)).account

    async def settle(self) -> None:
        """Wait for every commit and release under way."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _commit(
        self, reservation: auth_pb2.ReserveResponse, request: auth_pb2.ReserveRequest, processing_s: float
    ) -> int:
        reservation_id = reservation.reservation_id
        committing = self._spawn(
            self._outlast(lambda: self._auth.commit(reservation_id, request.request_id, processing_s))
        )
        response = await asyncio.shield(committing)
        if response.is_low and self._low_credits:
            self._spawn(self._low_credits.notice(request.account_id, response))
        return response.charged_credits_milli

    async def _release(
        self, reserving: asyncio.Task[auth_pb2.ReserveResponse], request: auth_pb2.ReserveRequest
    ) -> None:
        try:
            reservation = await self._learn(reserving, request)
            if reservation is None:
                return
            reservation_id = reservation.reservation_id
            await self._outlast(lambda: self._auth.release(reservation_id, request.request_id))
        except MatteworksError as error:
            self._count_release("abandoned")
            log.warning("release_failed", request_id=request.request_id, reason=error.reason_name)
        else:
            self._count_release("released")

    async def _learn(
        self, reserving: asyncio.Task[auth_pb2.ReserveResponse], request: auth_pb2.ReserveRequest
    ) -> auth_pb2.ReserveResponse | None:
        """What was reserved; None when it was refused, so that nothing is held."""
        try:
            return await reserving
        except (DeadlineExceeded, Unavailable):
            # The answer was lost, not the reservation: the same request id gets the first answer.
            return await self._outlast(lambda: self._auth.reserve(request))
        except MatteworksError:
            return None

    async def _outlast(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Repeat `attempt`, which is idempotent, while auth is away; without the request's deadline."""
        context = current_call.get()
        current_call.set(CallContext(context.request_id if context else "", None))
        for delay_s in self._retry_delays_s:
            try:
                return await attempt()
            except (Unavailable, DeadlineExceeded):
                await asyncio.sleep(delay_s)
        return await attempt()

    def _spawn(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # Whoever awaited it has it; nobody else needs a warning about it.
