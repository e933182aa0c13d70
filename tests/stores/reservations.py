"""Shorthand for asking to hold credits."""

from __future__ import annotations

from matteworks_auth.rules.quota import Price
from matteworks_auth.stores.contract import AccountStore, Held, RateScope, RateUnit, Reservation, Urgency

FULL = Price(1000, is_free_call_eligible=False)
PREVIEW = Price(250, is_free_call_eligible=True)


async def hold(
    store: AccountStore,
    request_id: str,
    *prices: Price,
    megapixels: int = 1,
    fingerprint: str = "",
    ttl_s: float = 60,
    account_id: str = "a",
    key_id: str = "k",
    dialect: str = "",
    rate_unit: RateUnit = "megapixels",
    rate_scope: RateScope = "account",
    urgency: Urgency = "interactive",
    is_dry: bool = False,
) -> Held:
    """Reserve for FULL unless prices are named."""
    return await store.reserve(
        Reservation(
            request_id,
            account_id,
            key_id,
            prices or (FULL,),
            megapixels,
            fingerprint,
            round(ttl_s * 1e6),
            rate_unit,
            rate_scope,
            dialect,
            urgency,
            is_dry,
        )
    )


async def commit(store: AccountStore, account_id: str, owner_request_id: str, request_id: str) -> int:
    """Thousandths of a credit charged."""
    return (await store.commit(account_id, owner_request_id, request_id)).charged_milli
