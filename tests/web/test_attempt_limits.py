"""Failed sign-ins are limited in each minute, of an address and of all, and what is stored is limited too."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from carbonbudget_operator.web.attempt_limits import AttemptLimits

NOON = 1_800_000_000 - 1_800_000_000 % 60


def test_an_address_waits_for_the_next_minute_and_others_do_not() -> None:
    limits = AttemptLimits(in_all=10, each=2)
    assert [limits.wait_s("192.0.2.1", NOON + 15) for _ in range(3)] == [0, 0, 45]
    assert limits.wait_s("192.0.2.2", NOON + 15) == 0
    assert limits.wait_s("192.0.2.1", NOON + 60) == 0


def test_addresses_of_one_ipv6_network_count_together() -> None:
    limits = AttemptLimits(in_all=10, each=1)
    assert limits.wait_s("2001:db8::1", NOON) == 0
    assert limits.wait_s("2001:db8::2", NOON) == 60
    assert limits.wait_s("2001:db8:0:1::1", NOON) == 0


def test_all_addresses_together_have_a_limit() -> None:
    limits = AttemptLimits(in_all=3, each=2)
    assert [limits.wait_s(f"192.0.2.{number}", NOON) for number in range(4)] == [0, 0, 0, 60]


def test_a_sign_in_does_not_count() -> None:
    limits = AttemptLimits(in_all=1, each=1)
    for _ in range(5):
        assert limits.wait_s("192.0.2.1", NOON) == 0
        limits.forgive("192.0.2.1")
    limits.forgive("192.0.2.1")  # of the minute before
    assert [limits.wait_s("192.0.2.1", NOON) for _ in range(2)] == [0, 60]


@given(st.lists(st.tuples(st.ip_addresses().map(str), st.integers(0, 30)), max_size=300))
def test_no_minute_has_more_attempts_than_the_limits(attempts: list[tuple[str, int]]) -> None:
    limits = AttemptLimits(in_all=20, each=3)
    allowed = [limits.wait_s(address, NOON + second) == 0 for address, second in attempts]
    assert sum(allowed) <= 20
    assert len(limits._attempts) <= 20
