"""Two controllers at once, of which one does not know that it is not the leader: nothing is booked twice."""

from __future__ import annotations

import asyncio
import copy
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.controller.evaluation_bench import HOUR
from tests.controller.played_budgets import DAY, Played, played
from tests.controller.test_adjustments_together import CREDITS, TERMS, WEEK_S, G
from tests.controller.test_credit_loop import WEEK


@pytest.fixture
async def play(tmp_path: Path) -> AsyncIterator[Played]:
    async with played(tmp_path) as made:
        yield made


@pytest.mark.parametrize("seed", range(4))
async def test_nothing_is_credited_transferred_carried_or_deducted_twice(play: Played, seed: int) -> None:
    """Both run at the same time, one of them with a watch that is up to a day behind, while answers are lost."""
    chance, names, weeks = random.Random(seed), ("first", "second"), 3
    for name in names:
        play.budget(name, credits=CREDITS, **TERMS)
    world, other = play.world, play.beside()
    former: dict[str, dict[str, Any]] = {}
    for week in range(weeks):
        if week:
            play.saved(week - 1, 2)
        for step in range(7):
            at = WEEK + week * WEEK_S + step * DAY
            for name in names:
                world.used[f"team-a/{name}", at] += chance.choice([0, 50_000, 120_000, 300_000])
            world.now = at + HOUR + 1_200
            world.up, world.books = chance.random() > 0.1, chance.random() > 0.1
            world.loses = chance.random() < 0.2
            if chance.random() < 0.5:
                source, to = chance.sample(names, 2)
                play.transfer(source, to, chance.choice([50_000, 300_000, 900_000]))
            behind = copy.deepcopy(former) if chance.random() < 0.5 else None
            former = copy.deepcopy(world.objects)
            await asyncio.gather(play.run(2), other.run(2, behind))
    world.up = world.books = True
    world.loses = False
    end = WEEK + weeks * WEEK_S
    world.now = end + 2 * HOUR
    for _ in range(4):
        await asyncio.gather(play.run(2), other.run(2))
    rows = play.rows()
    starts = [WEEK + week * WEEK_S for week in range(weeks)]
    for start in [*starts, end]:
        assert sum(r.micrograms for r in rows if r.period_start == start and r.reason.startswith("Transfer")) == 0
    transfers = [r.source for r in rows if r.reason == "TransferOut"]
    assert len(set(transfers)) == len(transfers), "each is booked in one period, of one pair"
    credits = [r.source for r in rows if r.reason == "Credit"]
    assert len(set(credits)) == len(credits) > 0, "each window is credited to one budget, once"
    for name in names:
        for start in starts:
            used, in_force = world.use(f"team-a/{name}", start, start + WEEK_S), G + play.booked(name, start)
            carried = play.booked(name, start + WEEK_S, "CarryOver")
            assert 0 <= carried <= min(G // 2, max(0, in_force - used)), (name, start)
            assert -play.booked(name, start + WEEK_S, "Overspend") == max(0, used - in_force), (name, start)
            assert 0 <= play.booked(name, start, "Credit") <= G // 2
        assert play.status(name)["effectiveLimitMicrograms"] == max(0, G + play.booked(name, end))
