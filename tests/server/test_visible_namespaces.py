"""Which namespaces a caller may read: rights end within a minute, and what is denied is seldom asked again."""

from __future__ import annotations

import asyncio
from collections import Counter
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.controller.api_server import eventually

from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.kube.access_reviews import Access, AccessUnavailable, Caller
from carbonbudget_operator.server.public import visible_namespaces
from carbonbudget_operator.server.public.visible_namespaces import VisibleNamespaces

CALLER = Caller("dev", "", (), {}, "")


class Rights:
    """What may be read, and what was asked."""

    def __init__(self) -> None:
        self.may: set[str] = set()
        self.asked: list[str] = []

    async def may_read_budgets(self, _: Caller, name: str, remember: bool) -> bool:
        assert not remember
        self.asked.append(name)
        return name in self.may


class World:
    """A server with so many namespaces at an instant that tests choose."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rights, self.names, self.now = Rights(), {f"ns-{number}" for number in range(50)}, 1_000.0
        clock: Any = SimpleNamespace(monotonic=lambda: self.now)
        monkeypatch.setattr(visible_namespaces, "time", clock)
        self.visible = VisibleNamespaces(cast(Access, self.rights), self._candidates)

    async def _candidates(self) -> set[str]:
        return self.names

    async def seen(self, after_seconds: float) -> tuple[list[str], list[str]]:
        """What the caller sees then, and which namespaces were asked for."""
        self.now += after_seconds
        self.rights.asked.clear()
        found = await self.visible.of(CALLER)
        return found, sorted(self.rights.asked)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


async def test_within_a_minute_nothing_is_asked_again(world: World) -> None:
    world.rights.may = {"ns-1", "ns-7"}
    assert await world.seen(0) == (["ns-1", "ns-7"], sorted(world.names))
    assert await world.seen(59) == (["ns-1", "ns-7"], [])


async def test_after_a_minute_what_was_allowed_is_asked_again_and_a_right_that_was_taken_away_ends(
    world: World,
) -> None:
    world.rights.may = {"ns-1", "ns-7"}
    await world.seen(0)
    world.rights.may = {"ns-7"}
    assert await world.seen(61) == (["ns-7"], ["ns-1", "ns-7"])
    assert await world.seen(61) == (["ns-7"], ["ns-7"])


async def test_a_right_that_was_given_shows_within_five_minutes_and_in_a_new_namespace_within_one(world: World) -> None:
    await world.seen(0)
    world.rights.may = {"ns-3", "new"}
    world.names = world.names | {"new"}
    assert await world.seen(61) == (["new"], ["new"])
    assert (await world.seen(238))[0] == ["new"]  # 299 seconds after the first search
    assert (await world.seen(1))[0] == ["new", "ns-3"]


async def test_what_is_denied_is_asked_for_every_five_minutes_however_often_the_caller_comes(world: World) -> None:
    asked = 0
    for _ in range(20):  # the first, and 19 in the 20 minutes after it
        asked += len((await world.seen(63))[1])
    assert asked == 4 * len(world.names)


async def test_a_namespace_that_went_is_not_seen_and_one_that_came_back_is_asked_for(world: World) -> None:
    world.rights.may = {"ns-1"}
    await world.seen(0)
    everything, world.names = world.names, {"ns-2"}
    assert await world.seen(61) == ([], [])
    world.names = everything
    found, asked = await world.seen(61)
    assert found == ["ns-1"]
    assert "ns-2" not in asked


def an_account(number: int, tenant: str = "team-a", **extra: str) -> Caller:
    """A service account of a tenant; each has a uid, a token and a pod of its own."""
    user = f"system:serviceaccount:{tenant}:bot-{number}"
    return Caller(user, f"uid-{tenant}-{number}", (), {key: (value,) for key, value in extra.items()}, "")


class SlowRights(Rights):
    """Each answer waits until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go = asyncio.Semaphore(0)
        self.under_way: Counter[str] = Counter()
        self.most: Counter[str] = Counter()

    async def may_read_budgets(self, caller: Caller, name: str, remember: bool) -> bool:
        tenant = caller.user.split(":")[2]
        self.asked.append(f"{tenant} {name}")
        self.under_way[tenant] += 1
        self.most[tenant] = max(self.most[tenant], self.under_way[tenant])
        self.most["all"] = max(self.most["all"], self.under_way.total())
        try:
            await self.go.acquire()
        finally:
            self.under_way[tenant] -= 1
        return name in self.may


@pytest.fixture
def slow(world: World) -> SlowRights:
    world.rights = SlowRights()
    world.visible = VisibleNamespaces(cast(Access, world.rights), world._candidates)
    return world.rights


async def test_one_search_of_a_tenant_runs_at_a_time_and_asks_four_questions_at_once(
    world: World, slow: SlowRights
) -> None:
    slow.may = {"ns-7"}
    asked = [asyncio.create_task(world.visible.of(an_account(number))) for number in range(4)]
    await eventually(lambda: slow.under_way["team-a"] == 4)
    for _ in range(4 * 50):
        slow.go.release()
    assert await asyncio.gather(*asked) == [["ns-7"]] * 4
    assert slow.most["all"] == 4
    assert (world.visible._locks, world.visible._users) == ({}, {})


async def test_a_tenant_with_ever_new_accounts_delays_no_other_tenants_search(world: World, slow: SlowRights) -> None:
    """Nor do twenty tenants delay one more by more than their turns."""
    many = [asyncio.create_task(world.visible.of(an_account(number, f"many-{number % 20}"))) for number in range(100)]
    await eventually(lambda: slow.under_way.total() == 8)
    another = asyncio.create_task(world.visible.of(an_account(0, "one")))
    before = len(slow.asked)
    while not another.done():
        slow.go.release()
        await asyncio.sleep(0)
    assert await another == []
    assert slow.most["all"] == 8
    assert sum(asked.startswith("one ") for asked in slow.asked[before:]) == 50
    assert len(slow.asked) - before < 50 * 24  # a turn of each tenant in between; all their searches are 5,000
    for task in many:
        task.cancel()
    await asyncio.gather(*many, return_exceptions=True)


async def test_who_names_a_namespace_is_answered_while_all_places_are_taken_by_searches(
    world: World, slow: SlowRights
) -> None:
    searches = [asyncio.create_task(world.visible.of(an_account(0, f"many-{number}"))) for number in range(20)]
    await eventually(lambda: slow.under_way.total() == 8)
    slow.may = {"ns-1"}
    named = asyncio.create_task(world.visible.among(an_account(0, "one"), ["ns-1", "ns-2", "ns-3"]))
    await eventually(lambda: slow.under_way["one"] == 3)
    for task in searches:  # only now, so that the answers are for those that named theirs
        task.cancel()
    await asyncio.gather(*searches, return_exceptions=True)
    for _ in range(3):
        slow.go.release()
    assert await named == ["ns-1"]


async def test_a_tenant_that_names_hundreds_of_namespaces_delays_no_other_that_names_one(
    world: World, slow: SlowRights
) -> None:
    names = [f"ns-{number}" for number in range(50)]
    many = [asyncio.create_task(world.visible.among(an_account(number, "many"), names)) for number in range(60)]
    await eventually(lambda: slow.under_way.total() == 8)
    another = asyncio.create_task(world.visible.among(an_account(0, "one"), ["ns-1"]))
    before = len(slow.asked)
    while not another.done():
        slow.go.release()
        await asyncio.sleep(0)
    assert await another == []
    assert slow.most["all"] == 8
    assert len(slow.asked) - before < 40
    for task in many:
        task.cancel()
    ended = await asyncio.gather(*many, return_exceptions=True)
    assert any(isinstance(one, Refusal) and one.status == 503 for one in ended)  # it has only so many places


async def test_a_search_that_is_not_answered_in_time_goes_on_where_it_was(
    world: World, slow: SlowRights, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(visible_namespaces, "_SECONDS", 0.2)
    slow.may = {"ns-11"}
    for _ in range(30):
        slow.go.release()
    with pytest.raises(Refusal) as raised:
        await world.visible.of(an_account(0))
    assert (raised.value.status, raised.value.retry_after_s) == (503, 5)
    slow.asked.clear()
    for _ in range(21):
        slow.go.release()
    monkeypatch.setattr(visible_namespaces, "_SECONDS", 5)
    assert await world.visible.of(an_account(0)) == ["ns-11"]
    assert len(slow.asked) == 21  # the 20 that are left, and the one that is allowed


async def test_an_api_server_that_fails_is_told_as_such(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object, **__: object) -> bool:
        raise AccessUnavailable("the API server does not answer")

    monkeypatch.setattr(world.rights, "may_read_budgets", fail)
    for asked in (world.visible.of(CALLER), world.visible.among(CALLER, ["ns-1"])):
        with pytest.raises(Refusal, match="does not answer") as raised:
            await asked
        assert raised.value.status == 503


OF_A_TOKEN = [
    "authentication.kubernetes.io/credential-id",
    "authentication.kubernetes.io/pod-name",
    "authentication.kubernetes.io/pod-uid",
    "authentication.kubernetes.io/node-name",
    "authentication.kubernetes.io/node-uid",
]


@pytest.mark.parametrize("key", OF_A_TOKEN)
async def test_tokens_of_one_account_share_one_search(world: World, key: str) -> None:
    for number in range(5):
        assert await world.visible.of(an_account(1, **{key: f"value-{number}"})) == []
    assert len(world.rights.asked) == len(world.names)


async def test_a_token_that_is_restricted_to_scopes_shares_none(world: World) -> None:
    await world.visible.of(an_account(1, scopes="all"))
    await world.visible.of(an_account(1, scopes="team-a"))
    assert len(world.rights.asked) == 2 * len(world.names)


async def test_a_tenant_with_many_accounts_pushes_out_what_is_known_of_no_other(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(visible_namespaces, "_MAX_CALLERS", 10)
    await world.visible.of(an_account(0, "one"))
    for number in range(30):
        await world.visible.of(an_account(number, "many"))
    assert sum(map(len, world.visible._found.values())) == 10
    world.rights.asked.clear()
    await world.visible.of(an_account(0, "one"))
    assert world.rights.asked == []
