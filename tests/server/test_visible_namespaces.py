"""Which namespaces a caller may read: rights end within a minute, and what is denied is seldom asked again."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from carbonbudget_operator.kube.access_reviews import Access, Caller
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
