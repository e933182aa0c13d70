"""GCRA and spending, as arithmetic."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from matteworks_auth.rules.quota import MAX_LIMIT, WINDOW_US, Price, pay, weigh

NOW_US = 1_800_000_000_000_000


def test_a_whole_minute_may_come_at_once_and_no_more() -> None:
    tat_us = 0
    for _ in range(10):
        decision = weigh(tat_us, NOW_US, 500, 50)
        assert decision.is_allowed
        tat_us = decision.tat_us
    refused = weigh(tat_us, NOW_US, 500, 1)
    assert (refused.is_allowed, refused.remaining, refused.retry_after_us) == (False, 0, 120_000)


def test_waiting_as_told_is_enough() -> None:
    full = NOW_US + WINDOW_US
    refused = weigh(full, NOW_US, 500, 25)
    assert weigh(full, NOW_US + refused.retry_after_us, 500, 25).is_allowed
    assert not weigh(full, NOW_US + refused.retry_after_us - 1, 500, 25).is_allowed


@given(limit=st.integers(50, 5000))
def test_a_minute_holds_as_many_single_megapixels_as_the_limit_says(limit: int) -> None:
    """Also where 60 s do not divide by the limit."""
    tat_us = 0
    for _ in range(limit):
        decision = weigh(tat_us, NOW_US, limit, 1)
        assert decision.is_allowed
        tat_us = decision.tat_us
    assert not weigh(tat_us, NOW_US, limit, 1).is_allowed


@given(limit=st.integers(50, MAX_LIMIT), ahead_us=st.integers(0, WINDOW_US), weight=st.integers(1, 50))
def test_what_is_reported_as_remaining_passes(limit: int, ahead_us: int, weight: int) -> None:
    looked = weigh(NOW_US + ahead_us, NOW_US, limit, 0)
    assert looked.is_allowed
    if weight <= looked.remaining:
        assert weigh(NOW_US + ahead_us, NOW_US, limit, weight).is_allowed


def test_looking_changes_nothing() -> None:
    first = weigh(NOW_US + 5, NOW_US, 500, 0)
    assert (first.tat_us, first.retry_after_us) == (NOW_US + 5, 0)


def test_a_price_of_nothing_takes_no_free_call() -> None:
    payment = pay([Price(0, True)], dict.fromkeys(("subscription", "payg", "enterprise"), 0), 1)
    assert payment is not None
    assert (payment.is_free_call, payment.credits_milli) == (False, 0)


@given(
    limit=st.integers(50, 5000),
    arrivals=st.lists(st.tuples(st.integers(0, 5_000_000), st.integers(1, 50)), max_size=60),
)
def test_no_minute_admits_more_than_two_limits(limit: int, arrivals: list[tuple[int, int]]) -> None:
    """A burst of one limit, then one limit of refill: never more in any window of a minute."""
    tat_us, now_us, admitted = 0, NOW_US, []
    for wait_us, weight in arrivals:
        now_us += wait_us
        decision = weigh(tat_us, now_us, limit, weight)
        if decision.is_allowed:
            tat_us = decision.tat_us
            admitted.append((now_us, weight))
    for start_us, _ in admitted:
        window = [weight for at_us, weight in admitted if start_us <= at_us < start_us + WINDOW_US]
        assert sum(window) <= 2 * limit


@given(
    balances=st.fixed_dictionaries(
        {name: st.integers(0, 3000) for name in ("subscription", "payg", "enterprise")}
    ),
    free_calls=st.integers(0, 2),
    prices=st.lists(st.builds(Price, st.integers(0, 4000), st.booleans()), min_size=1, max_size=3),
)
def test_a_payment_takes_exactly_a_price_and_never_what_is_not_there(
    balances: dict[str, int], free_calls: int, prices: list[Price]
) -> None:
    payment = pay(prices, balances, free_calls)
    if payment is None:
        assert all(price.credits_milli > sum(balances.values()) for price in prices)
        return
    price = prices[payment.price_index]
    assert payment.credits_milli == (0 if payment.is_free_call else price.credits_milli)
    assert all(part <= balances[name] for name, part in payment.parts_milli.items())


def test_balances_are_spent_subscription_first_enterprise_last() -> None:
    payment = pay([Price(1000, False)], {"subscription": 300, "payg": 300, "enterprise": 5000}, 0)
    assert payment is not None
    assert payment.parts_milli == {"subscription": 300, "payg": 300, "enterprise": 400}
