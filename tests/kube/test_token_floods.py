"""Pods that send invented tokens without end delay neither agents nor the controller."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any, cast

import pytest

from carbonbudget_operator.kube import access_reviews, review_turns
from carbonbudget_operator.kube.access_reviews import Access, AccessUnavailable, TooManyRefused, Unauthenticated
from carbonbudget_operator.kube.client import KubeClient
from carbonbudget_operator.kube.review_turns import RefusedTokens

AUDIENCE = "carbonbudget-server"
ATTACKERS = [f"10.0.1.{number}" for number in range(16)]


class SlowApi:
    """An API server that takes 20 ms for a review, behind the real client's 32 connections."""

    def __init__(self) -> None:
        self.connections = asyncio.Semaphore(32)
        self.begun = Counter[str]()

    async def request(self, _method: str, _path: object, body: dict[str, Any]) -> dict[str, Any]:
        token = body["spec"]["token"]
        async with self.connections:
            self.begun[token.partition("-")[0]] += 1
            await asyncio.sleep(0.02)
        if not token.startswith("good"):
            return {"status": {"authenticated": False}}
        return {"status": {"authenticated": True, "audiences": [AUDIENCE], "user": {"username": token}}}


@asynccontextmanager
async def flood(access: Access, said: Counter[type[Exception]]) -> AsyncIterator[None]:
    """Sixteen pods, each with a hundred requests in progress, each request with another invented token."""
    numbers = count()

    async def attack(address: str) -> None:
        while True:
            try:
                await access.authenticate(f"junk-{next(numbers)}", address)
            except (Unauthenticated, AccessUnavailable, TooManyRefused) as error:
                said[type(error)] += 1
            await asyncio.sleep(0.01)

    attackers = [asyncio.create_task(attack(address)) for address in ATTACKERS for _ in range(100)]
    try:
        while said[AccessUnavailable] + said[TooManyRefused] < 200:  # noqa: ASYNC110 - all places are taken
            await asyncio.sleep(0.01)
        yield
    finally:
        for attacker in attackers:
            attacker.cancel()
        await asyncio.gather(*attackers, return_exceptions=True)


@pytest.fixture
def no_caching(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was accepted is reviewed again at once, as after five minutes."""
    monkeypatch.setattr(access_reviews, "_TOKEN_SECONDS", 0.0)


@pytest.mark.parametrize("limit", [100, 10**9], ids=["with the limit of refused tokens", "by turns alone"])
async def test_agents_and_the_controller_are_reviewed_under_a_flood_whether_they_were_accepted_before_or_not(
    no_caching: None, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(review_turns, "_MOST_REFUSED", limit)
    api, said = SlowApi(), Counter[type[Exception]]()
    access = Access(cast("KubeClient", api), AUDIENCE)
    accepted = [(f"good-{number}", f"10.0.2.{number}") for number in range(60)]
    await asyncio.gather(*(access.authenticate(*one) for one in accepted))
    newcomers = [(f"good-new-{number}", f"10.0.3.{number}") for number in range(60)]
    async with flood(access, said):
        before = api.begun["junk"]
        callers = await asyncio.gather(*(access.authenticate(*one) for one in accepted + newcomers))
        between = api.begun["junk"] - before
    assert [caller.user for caller in callers] == [token for token, _ in accepted + newcomers]
    assert between < 200  # some turns of each attacker; the queue has 800


async def test_a_token_that_was_accepted_is_renewed_also_behind_an_attackers_address(
    no_caching: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    api, said = SlowApi(), Counter[type[Exception]]()
    access = Access(cast("KubeClient", api), AUDIENCE)
    await access.authenticate("good-1", ATTACKERS[0])
    async with flood(access, said):
        for _ in range(5):
            assert (await access.authenticate("good-1", ATTACKERS[0])).user == "good-1"


async def test_a_token_that_is_no_longer_accepted_loses_its_place() -> None:
    api = SlowApi()
    access = Access(cast("KubeClient", api), AUDIENCE)
    await access.authenticate("good-1")
    assert len(access._callers) == 1
    access._callers = {key: (caller, 0.0) for key, (caller, _) in access._callers.items()}

    async def refuse(*_: object, **__: object) -> dict[str, Any]:
        return {"status": {"authenticated": False}}

    api.request = refuse  # type: ignore[method-assign]
    with pytest.raises(Unauthenticated):
        await access.authenticate("good-1")
    assert access._callers == {}


async def test_invented_tokens_push_out_no_accepted_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_reviews, "_MAX_ENTRIES", 10)
    api = SlowApi()
    access = Access(cast("KubeClient", api), AUDIENCE)
    await access.authenticate("good-1")
    for number in range(30):
        with pytest.raises(Unauthenticated):
            await access.authenticate(f"junk-{number}", f"10.0.4.{number}")
    await access.authenticate("good-1")
    assert api.begun["good"] == 1
    assert len(access._refused) <= 10


async def test_an_address_with_many_refused_tokens_is_refused_without_a_review_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(review_turns, "_MOST_REFUSED", 3)
    api = SlowApi()
    access = Access(cast("KubeClient", api), AUDIENCE)
    for number in range(3):
        with pytest.raises(Unauthenticated):
            await access.authenticate(f"junk-{number}", "10.0.1.1")
    with pytest.raises(Unauthenticated):  # an answer that is known costs no review
        await access.authenticate("junk-0", "10.0.1.1")
    with pytest.raises(TooManyRefused) as raised:
        await access.authenticate("junk-3", "10.0.1.1")
    assert 0 < raised.value.seconds <= 10
    assert api.begun["junk"] == 3
    assert (await access.authenticate("good-1", "10.0.1.2")).user == "good-1"
    monkeypatch.setattr(review_turns, "_REFUSED_SECONDS", 0.0)
    access._refused_lately = RefusedTokens()
    for number in range(10, 20):  # seconds that are over count no more
        with pytest.raises(Unauthenticated):
            await access.authenticate(f"junk-{number}", "10.0.1.1")


def test_refused_tokens_are_counted_for_a_limited_number_of_addresses() -> None:
    refused = RefusedTokens()
    for number in range(10_000):
        refused.add(f"address-{number}")
    assert len(refused._counts) <= 4_096
