"""Failed sign-ins are limited in each minute, of an address and of all, and what is stored is limited too."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonbudget_operator.web.attempt_limits import AttemptLimits, SignInsLimited

NOON = 1_800_000_000 - 1_800_000_000 % 60


async def attempt(limits: AttemptLimits, address: str, now: int, failed: bool = True) -> int:
    """An attempt that ends at once: 0 if it was allowed, else the seconds to wait."""
    try:
        await limits.begin(address, now)
    except SignInsLimited as limited:
        return limited.wait_s
    limits.end(address, failed)
    return 0


async def test_an_address_waits_for_the_next_minute_and_others_do_not() -> None:
    limits = AttemptLimits(in_all=10, each=2)
    assert [await attempt(limits, "192.0.2.1", NOON + 15) for _ in range(3)] == [0, 0, 45]
    assert await attempt(limits, "192.0.2.2", NOON + 15) == 0
    assert await attempt(limits, "192.0.2.1", NOON + 60) == 0


async def test_an_ipv6_address_has_its_own_limit_and_its_network_a_larger_one() -> None:
    """Pods of one node may share a /64; outside a cluster it is the least that one customer has."""
    limits = AttemptLimits(in_all=12, each=2)
    assert [await attempt(limits, "2001:db8::1", NOON) for _ in range(3)] == [0, 0, 60]
    assert [await attempt(limits, f"2001:db8::a:{number}", NOON) for number in range(6)] == [0, 0, 0, 0, 60, 60]
    assert await attempt(limits, "2001:db8:0:1::1", NOON) == 0


async def test_an_ipv6_network_does_not_take_all_places_to_wait() -> None:
    limits = AttemptLimits(in_all=120, each=1)
    for number in range(60):
        await limits.begin(f"2001:db8::{number:x}", NOON)
    await limits.begin("192.0.2.2", NOON)
    crowd = [asyncio.create_task(limits.begin(f"2001:db8::b:{number:x}", NOON)) for number in range(100)]
    await asyncio.sleep(0)
    other = asyncio.create_task(limits.begin("192.0.2.2", NOON))
    await asyncio.sleep(0)
    assert not other.done()  # it waits for its turn
    limits.end("192.0.2.2", failed=False)
    await other
    for one in crowd:
        one.cancel()
    await asyncio.gather(*crowd, return_exceptions=True)
    assert not limits._networks.waiting


async def test_all_addresses_together_have_a_limit() -> None:
    limits = AttemptLimits(in_all=3, each=2)
    assert [await attempt(limits, f"192.0.2.{number}", NOON) for number in range(4)] == [0, 0, 0, 60]


async def test_a_sign_in_does_not_count() -> None:
    limits = AttemptLimits(in_all=1, each=1)
    assert [await attempt(limits, "192.0.2.1", NOON, failed=False) for _ in range(5)] == [0] * 5
    assert [await attempt(limits, "192.0.2.1", NOON) for _ in range(2)] == [0, 60]


async def test_who_finds_all_places_taken_waits_for_one_and_is_refused_by_failures_alone() -> None:
    limits = AttemptLimits(in_all=10, each=2)
    await limits.begin("192.0.2.1", NOON)
    await limits.begin("192.0.2.1", NOON)
    third, fourth = (asyncio.create_task(limits.begin("192.0.2.1", NOON + 20)) for _ in range(2))
    await limits.begin("192.0.2.2", NOON)  # another address waits for nobody
    assert not third.done()
    limits.end("192.0.2.1", failed=False)
    await third
    limits.end("192.0.2.1", failed=True)
    limits.end("192.0.2.1", failed=True)
    with pytest.raises(SignInsLimited, match=r"too many sign-ins failed: try again in 40 seconds"):
        await fourth


async def test_a_waiting_attempt_that_is_given_up_takes_no_place() -> None:
    limits = AttemptLimits(in_all=1, each=1)
    await limits.begin("192.0.2.1", NOON)
    waiting = asyncio.create_task(limits.begin("192.0.2.1", NOON))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    limits.end("192.0.2.1", failed=False)
    assert await attempt(limits, "192.0.2.1", NOON) == 0


async def test_those_who_wait_are_limited_in_number_and_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("carbonbudget_operator.web.attempt_limits._TURN_SECONDS", 0.01)
    monkeypatch.setattr("carbonbudget_operator.web.attempt_limits._MOST_WAITING", 2)
    limits = AttemptLimits(in_all=1, each=1)
    await limits.begin("192.0.2.1", NOON)
    refused = await asyncio.gather(*(limits.begin("192.0.2.1", NOON) for _ in range(5)), return_exceptions=True)
    assert [str(one) for one in refused] == ["too many people sign in at this moment: try again in 5 seconds"] * 5
    limits.end("192.0.2.1", failed=False)
    assert await attempt(limits, "192.0.2.1", NOON) == 0


async def test_one_address_does_not_take_all_places_to_wait() -> None:
    limits = AttemptLimits(in_all=120, each=20)
    for address in ("192.0.2.1", "192.0.2.2"):
        for _ in range(20):
            await limits.begin(address, NOON)
    crowd = [asyncio.create_task(limits.begin("192.0.2.1", NOON)) for _ in range(100)]
    await asyncio.sleep(0)
    other = asyncio.create_task(limits.begin("192.0.2.2", NOON))
    await asyncio.sleep(0)
    waiting = [one for one in crowd if not one.done()]
    assert not other.done()  # it waits for its turn
    limits.end("192.0.2.2", failed=False)
    await other
    assert 20 + len(waiting) < 64  # the page's requests: those who are signed in find some
    for one in waiting:
        one.cancel()
    await asyncio.gather(*crowd, return_exceptions=True)
    assert not limits._addresses.waiting


@given(st.lists(st.tuples(st.ip_addresses().map(str), st.integers(0, 30)), max_size=300))
def test_no_minute_has_more_failures_than_the_limits(attempts: list[tuple[str, int]]) -> None:
    limits = AttemptLimits(in_all=20, each=3)

    async def all_at_once() -> int:
        waits = await asyncio.gather(*(attempt(limits, address, NOON + second) for address, second in attempts))
        return waits.count(0)

    assert asyncio.run(all_at_once()) <= 20
    assert len(limits._addresses.failed) <= 20
    assert len(limits._networks.failed) <= 20
    assert not limits._addresses.under_way
    assert not limits._networks.under_way
