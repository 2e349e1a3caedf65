"""Carry-over, overspend, transfers and credits in one budget, by the loops that run together, on a real ledger."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.controller.evaluation_bench import HOUR
from tests.controller.played_budgets import DAY, Played, played
from tests.controller.test_credit_loop import WEEK

G = 10**6
WEEK_S = 7 * DAY
TERMS: dict[str, Any] = {"carryOver": {"max": 50, "periods": 2}, "overspend": "Deduct"}
CREDITS = [{"target": "chatbot", "cap": 50, "share": 100}]


@pytest.fixture
async def play(tmp_path: Path) -> AsyncIterator[Played]:
    async with played(tmp_path) as made:
        yield made


async def test_one_period_with_all_of_them_by_hand(play: Played) -> None:
    play.budget("first", credits=CREDITS, **TERMS)
    play.budget("second", **TERMS)
    play.world.now = WEEK + HOUR
    await play.run(2)
    play.world.used["team-a/first", WEEK + DAY] = 700_000
    play.world.used["team-a/second", WEEK + DAY] = 1_300_000
    play.world.now = WEEK + 2 * DAY
    moved = play.transfer("first", "second", 200_000)
    await play.run(3)
    assert play.transfers[moved]["status"]["state"] == "Applied"
    assert (play.status("first")["effectiveLimit"], play.status("second")["effectiveLimit"]) == ("800mg", "1.2g")
    assert play.status("second")["state"] == "Exceeded"
    play.world.now = WEEK + WEEK_S + HOUR
    play.saved(0, 2)
    await play.run(4)
    following = WEEK + WEEK_S
    assert play.booked("first", following, "CarryOver") == 100_000
    assert play.booked("first", following, "Credit") == G // 2  # its cap
    assert play.booked("second", following) == -100_000
    assert play.status("first")["effectiveLimit"] == "1.6g"
    assert play.status("second")["effectiveLimit"] == "900mg"


@pytest.mark.parametrize("seed", range(6))
async def test_six_weeks_of_everything_at_once_create_nothing_and_lose_no_deduction(play: Played, seed: int) -> None:
    """Restarts, outages, lost answers, deletions and recreations; judged by the rows of the ledger at the end."""
    chance, names, weeks = random.Random(seed), ("first", "second"), 6
    made = 0

    def create(name: str) -> None:
        nonlocal made
        made += 1
        play.budget(name, uid=f"{name}-{made}", credits=CREDITS, **TERMS)

    for name in names:
        create(name)
    world = play.world
    for week in range(weeks):
        if week:
            play.saved(week - 1, chance.choice([-1, 2]))
        for step in range(14):
            at = WEEK + week * WEEK_S + step * DAY // 2
            for name in names:
                world.used[f"team-a/{name}", at] += chance.choice([0, 0, 50_000, 120_000, 300_000])
            world.now = at + HOUR + 1_200
            world.up, world.books = chance.random() > 0.15, chance.random() > 0.15
            world.loses = chance.random() < 0.2
            if chance.random() < 0.15:
                play.restart()
            if chance.random() < 0.4:
                source, to = chance.sample(names, 2)
                play.transfer(source, to, chance.choice([50_000, 300_000, 900_000]))
            if chance.random() < 0.05:
                gone = chance.choice(names)
                play.delete(gone)
                if chance.random() < 0.5:
                    await play.run()
                create(gone)
            await play.run(chance.choice([1, 2, 3]))
    world.up = world.books = True
    world.loses = False
    end = WEEK + weeks * WEEK_S
    world.now = end + 2 * HOUR
    await play.run(8)
    starts = [WEEK + week * WEEK_S for week in range(weeks)]
    rows = play.rows()
    assert len({(r.name, r.period_start, r.reason, r.source) for r in rows}) == len(rows)
    for start in [*starts, end]:
        assert sum(r.micrograms for r in rows if r.period_start == start and r.reason.startswith("Transfer")) == 0
    for name in names:
        for start in starts:
            used, in_force = world.use(f"team-a/{name}", start, start + WEEK_S), G + play.booked(name, start)
            carried = play.booked(name, start + WEEK_S, "CarryOver")
            assert 0 <= carried <= min(G // 2, max(0, in_force - used)), (name, start)
            assert -play.booked(name, start + WEEK_S, "Overspend") == max(0, used - in_force), (name, start)
            assert 0 <= play.booked(name, start, "Credit") <= G // 2
        shown = play.status(name)
        assert shown["effectiveLimitMicrograms"] == max(0, G + play.booked(name, end))
    decided = [one["status"]["state"] for one in play.transfers.values()]
    assert {"Applied", "Refused"} == set(decided)
    applied = {f"uid-{name}" for name, one in play.transfers.items() if one["status"]["state"] == "Applied"}
    assert {r.source for r in rows if r.reason == "TransferOut"} == applied


async def test_a_calendar_that_is_edited_there_and_back_books_nothing_twice(play: Played) -> None:
    """Week and Day have periods that begin in the same second: what one of them was given is not the other's."""
    play.budget("first", credits=CREDITS, **TERMS)
    play.world.now = WEEK + HOUR
    await play.run(2)
    play.world.used["team-a/first", WEEK + DAY] = 600_000
    play.world.now = WEEK + WEEK_S + HOUR  # a Monday
    await play.run(4)
    monday = WEEK + WEEK_S
    assert play.booked("first", monday) == 400_000
    for number, period in enumerate(("Day", "Week", "Month", "Day", "Week")):
        play.edit("first", period=period)
        play.world.now = monday + 2 * HOUR + number * 600
        await play.run(3)
        assert play.booked("first", monday) == 400_000
        in_force = 1_400_000 if period == "Week" else G
        assert play.status("first")["effectiveLimitMicrograms"] == in_force


@pytest.mark.parametrize("edit", [{"timeZone": "Europe/Berlin"}, {"period": "Month"}])
async def test_an_edited_calendar_erases_no_deduction(play: Played, edit: dict[str, Any]) -> None:
    play.budget("first", overspend="Deduct")
    play.world.now = WEEK + HOUR
    await play.run(2)
    play.world.used["team-a/first", WEEK + DAY] = 1_600_000
    play.world.now = WEEK + WEEK_S + HOUR
    await play.run(4)
    assert play.status("first")["effectiveLimitMicrograms"] == 400_000
    play.edit("first", **edit)
    play.world.now += 120
    await play.run(4)
    assert play.status("first")["effectiveLimitMicrograms"] == 400_000
