"""Telling that an account's credits run low: after a charge, without delaying it, and once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from matteworks.auth.v1 import auth_pb2
from matteworks_common.errors import MatteworksError

_REMEMBERED_ACCOUNTS: Final = 10_000
# Account, thousandths of a credit that are left, and what it was ever given.
Tell = Callable[[str, int, int], Awaitable[None]]
log = structlog.get_logger()


class LowCredits:
    """Passes on what auth says of a charge. Every charge of an account that runs low is one more try, so a
    `tell` that fails is made up for by the next one; `tell` itself must be safe to repeat.
    """

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        # What each account had been given when it was told of: not to tell it at each of its charges.
        self._told: OrderedDict[str, int] = OrderedDict()

    async def notice(self, account_id: str, charge: auth_pb2.CommitResponse) -> None:
        """Tell, when the account runs low and was not told of since it was given credits."""
        granted_milli = charge.granted_credits_milli
        if not charge.is_low or self._told.get(account_id) == granted_milli:
            return
        try:
            await self._tell(account_id, charge.available_credits_milli, granted_milli)
        except MatteworksError as error:
            log.warning("low_credits_untold", account_id=account_id, reason=error.reason_name)
            return
        self._told[account_id] = granted_milli
        self._told.move_to_end(account_id)
        if len(self._told) > _REMEMBERED_ACCOUNTS:
            self._told.popitem(last=False)
