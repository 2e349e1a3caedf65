"""Transfers and credits booked by the server itself, in a ledger on SQLite."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest
from tests.controller.objects import DECEMBER, stored
from tests.controller.test_credit_loop import NOW, a_budget, a_target
from tests.controller.transfer_world import KG, Ledger, World
from tests.server.server_face import Face, a_face

from carbonbudget_operator.api.adjustment_bodies import AdjustmentsAnswer, AdjustmentsRequest, BudgetPeriod
from carbonbudget_operator.controller.credit_loop import CreditLoop


class ServerLedger:
    """The server's endpoint as the controller asks it."""

    def __init__(self, face: Face) -> None:
        self._face = face

    async def adjustments(self, request: AdjustmentsRequest) -> AdjustmentsAnswer:
        headers = {"Authorization": "Bearer user:controller@*", "Content-Type": "application/json"}
        answer = await self._face.client.post("/v1/adjustments", content=request.model_dump_json(), headers=headers)
        assert answer.status_code == 200, answer.text
        return AdjustmentsAnswer.model_validate_json(answer.text)

    async def sums(self, start: int, *names: str, space: str = "team") -> list[int]:
        """The sum of each budget's adjustments in a period."""
        asked = [
            BudgetPeriod(namespace=space, name=name, period_start=start, period_end=start + 86_400) for name in names
        ]
        booked = (await self.adjustments(AdjustmentsRequest(budgets=asked))).adjustments
        return [sum(row.micrograms for row in booked if row.budget.name == name) for name in names]


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[ServerLedger]:
    async with a_face(f"sqlite:///{tmp_path}/ledger.db") as face:
        yield ServerLedger(face)


async def test_a_transfer_is_booked_on_both_sides_once_whoever_decides_it(ledger: ServerLedger) -> None:
    world = World()
    world.ledger = cast("Ledger", ledger)
    world.start()
    world.budget("a", 10, used_kg=4)
    world.budget("b", 10, used_kg=10)
    first, second = world.transfer("a", "b", 5), world.transfer("a", "b", 2)
    await world.loop.round()
    assert [world.status(name)["state"] for name in (first, second)] == ["Applied", "Refused"]
    status: dict[str, Any] = world.objects[first]["status"]
    del status["state"]  # as if the controller had died before it wrote the state
    world.start()
    await world.loop.round()
    assert world.status(first)["state"] == "Applied"
    november = 1793491200
    assert await ledger.sums(november, "a", "b") == [-5 * KG, 5 * KG]


async def test_two_controllers_at_once_book_a_transfer_once(ledger: ServerLedger) -> None:
    worlds = [World(), World()]
    for world in worlds:
        world.ledger = cast("Ledger", ledger)
        world.start()
        world.budget("a", 10)
        world.budget("b", 10)
        world.transfer("a", "b", 5)
    await asyncio.gather(*(world.loop.round() for world in worlds))
    assert await ledger.sums(1793491200, "a", "b") == [-5 * KG, 5 * KG]


async def test_credits_are_booked_once(ledger: ServerLedger) -> None:
    loop = CreditLoop(ledger, lambda: [stored(a_budget())], lambda: [a_target()], now=lambda: NOW)
    for _ in range(3):
        await loop.round()
    assert await ledger.sums(DECEMBER, "monthly", space="team-a") == [4 * KG]
