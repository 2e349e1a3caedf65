"""Limits by minute: what is known only after a request was let in is charged, never refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.server.request_rates import RequestRates


def rates_of(per_minute: int, now: list[float]) -> RequestRates:
    return RequestRates("namespace", per_minute, "a setting", lambda: now[0], unit="lines")


def refused_for(rates: RequestRates, number: int) -> int:
    """The seconds for which so many are refused; 0 if they are let in."""
    try:
        rates.take("a", number)
    except Refusal as refusal:
        return refusal.retry_after_s
    return 0


def test_what_is_charged_is_paid_by_the_next_request() -> None:
    now = [100.0]
    rates = rates_of(600, now)
    rates.take("a", 100)
    rates.charge("a", 2_300)  # four minutes in all
    with pytest.raises(Refusal) as refusal:
        rates.take("a", 100)
    assert refusal.value.retry_after_s == 191  # until a minute is free but for these 100
    now[0] += refusal.value.retry_after_s
    rates.take("a", 100)


def test_a_refusal_spends_nothing() -> None:
    now = [100.0]
    rates = rates_of(60, now)
    rates.take("a", 60)
    waits = []
    for _ in range(3):
        with pytest.raises(Refusal) as refusal:
            rates.take("a", 30)
        waits.append(refusal.value.retry_after_s)
    assert waits == [31, 31, 31]


@given(
    per_minute=st.integers(1, 10_000_000),
    taken=st.integers(1, 1_000),
    charged=st.integers(0, 25_000),  # a thousand counts of a day that touch 25 hours
    later=st.integers(1, 1_000),
)
def test_no_request_is_too_large_and_who_waits_as_long_as_announced_is_let_in(
    per_minute: int, taken: int, charged: int, later: int
) -> None:
    now = [100.0]
    rates = rates_of(per_minute, now)
    rates.take("a", taken)
    rates.charge("a", charged)
    rates.take("b", later)  # nobody else waits for it
    if waits := refused_for(rates, later):
        now[0] += waits
        assert refused_for(rates, later) == 0
