"""A ledger that has less than it had leaves no more of a limit to carry over."""

from __future__ import annotations

from typing import Any

import pytest
from tests.controller.adjusted_bench import CARRY, DAY, KEY, G, adjustments, evaluate, restarted
from tests.controller.evaluation_bench import HOUR, Bench
from tests.controller.objects import DECEMBER, NOVEMBER, NOW


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("is_shown_between", [False, True])
async def test_what_was_known_to_be_used_is_not_left(bench: Bench, is_shown_between: bool, restarts: bool) -> None:
    """The coverage is 100 %, as in a ledger that is restored from a backup and whose agents sent the rest again."""
    bench.add("monthly", carryOver=CARRY)
    bench.world.used_ug = 900_000
    await evaluate(bench, NOW)
    bench.world.uses_ug[f"{KEY}@{NOVEMBER}"] = 900_000
    if is_shown_between:
        await evaluate(bench, DECEMBER + 600)
    bench.world.uses_ug[f"{KEY}@{NOVEMBER}"] = 100_000
    if restarts:
        restarted(bench)
    status = await evaluate(bench, DECEMBER + 960)
    assert adjustments(status) == [("CarryOver", "+100mg")]
    assert status["history"][0]["heldMicrograms"] == 900_000


async def test_nothing_is_carried_over_from_a_period_that_lost_facts_whatever_is_used_after_that(bench: Bench) -> None:
    bench.add("monthly", carryOver=CARRY)
    bench.world.by_hour_ug = {NOW: 300_000, NOW + HOUR: 300_000}
    await evaluate(bench, NOW + 2 * HOUR)
    del bench.world.by_hour_ug[NOW]
    bench.world.by_hour_ug[NOW + 3 * HOUR] = 200_000
    status = await evaluate(bench, NOW + 4 * HOUR)
    assert [one["reason"] for one in status["conditions"] if one["type"] == "DataComplete"] == ["UsedFell"]
    status = await evaluate(bench, DECEMBER + 600)
    assert status["history"][0]["factsLost"] is True
    status = await evaluate(bench, DECEMBER + 960)
    assert "adjustments" not in status
    details = [one.detail for one in bench.world.booked if one.budget.period_start == DECEMBER]
    assert "nothing carried over: the ledger lost facts of the period" in details


async def test_the_share_that_nobody_reported_is_not_left(bench: Bench) -> None:
    bench.add("monthly", carryOver={"max": 50, "periods": 1})
    bench.world.used_ug = 760_000
    bench.world.coverage = 95
    await evaluate(bench, NOW)
    bench.world.uses_ug[KEY] = 0
    status = await evaluate(bench, DECEMBER + 960)
    assert adjustments(status) == [("CarryOver", "+200mg")]  # 760 mg in 95 % are 800 mg


async def test_a_period_waits_a_day_for_a_silent_node_and_then_nothing_is_carried_over(bench: Bench) -> None:
    """The pods of a team may all have run on it, whatever share of all nodes' time it is."""
    bench.add("monthly", carryOver=CARRY)
    bench.world.used_ug, bench.world.coverage, bench.world.nodes_behind = 100_000, 99, 1
    await evaluate(bench, NOW)
    for at in (960, 3 * HOUR, DAY - 60):
        assert "adjustments" not in await evaluate(bench, DECEMBER + at)
        assert [row.source for row in bench.world.booked if row.source.startswith(f"left@{NOVEMBER}")] == []
    status = await evaluate(bench, DECEMBER + DAY)
    assert "adjustments" not in status
    (closed,) = [row for row in bench.world.booked if row.source.startswith(f"left@{NOVEMBER}")]
    assert (closed.micrograms, closed.detail) == (
        0,
        "nothing carried over: 1 node with pods of it did not report up to the period's end",
    )


async def test_what_a_silent_node_reports_within_the_day_is_used(bench: Bench) -> None:
    bench.add("monthly", carryOver=CARRY)
    bench.world.used_ug, bench.world.nodes_behind = 100_000, 1
    await evaluate(bench, NOW)
    await evaluate(bench, DECEMBER + 960)
    bench.world.used_ug, bench.world.nodes_behind = 900_000, 0
    assert adjustments(await evaluate(bench, DECEMBER + 5 * HOUR)) == [("CarryOver", "+100mg")]


@pytest.mark.parametrize(("waits", "carried"), [(3 * HOUR, "+50mg"), (DAY, "+200mg")])
async def test_a_period_waits_a_day_for_the_first_figures_of_its_last_hours(
    bench: Bench, waits: int, carried: str
) -> None:
    bench.add("monthly", carryOver=CARRY)
    bench.world.used_ug, bench.world.figures_through = 600_000, NOVEMBER
    await evaluate(bench, NOW)
    assert "adjustments" not in await evaluate(bench, DECEMBER + 960)
    if waits < DAY:  # they come, and show that more was used
        bench.world.used_ug, bench.world.figures_through = 950_000, DECEMBER
    assert adjustments(await evaluate(bench, DECEMBER + waits)) == [("CarryOver", carried)]


async def test_a_budget_without_carry_over_keeps_nothing_more(bench: Bench) -> None:
    bench.add("monthly")
    bench.world.used_ug = G // 2
    await evaluate(bench, NOW)
    status = await evaluate(bench, DECEMBER + DAY)
    assert set(status["history"][0]) == {"start", "end", "used", "limit"}


@pytest.mark.parametrize("is_shown_between", [False, True])
@pytest.mark.parametrize("carries", [False, True])
async def test_provisional_figures_that_were_too_high_are_not_deducted(
    bench: Bench, is_shown_between: bool, carries: bool
) -> None:
    """The open hour of the last evaluation had figures that stood in for the grid's; in the end it was less."""
    more: dict[str, Any] = {"carryOver": CARRY} if carries else {}
    bench.add("monthly", overspend="Deduct", **more)
    bench.world.by_hour_ug = {NOW - HOUR: 800_000, NOW: 400_000}
    await evaluate(bench, NOW + 60)
    bench.world.by_hour_ug[NOW] = 100_000
    if is_shown_between:
        await evaluate(bench, DECEMBER + 600)
    status = await evaluate(bench, DECEMBER + 960)
    assert "adjustments" not in status  # neither a deduction nor, by what was held, anything that is left


async def test_what_a_ledger_that_lost_facts_had_is_owed_by_what_was_known(bench: Bench) -> None:
    bench.add("monthly", overspend="Deduct")
    bench.world.by_hour_ug = {NOW: 600_000, NOW + HOUR: 600_000}
    await evaluate(bench, NOW + 2 * HOUR)
    del bench.world.by_hour_ug[NOW]
    await evaluate(bench, NOW + 4 * HOUR)
    status = await evaluate(bench, DECEMBER + 960)
    assert adjustments(status) == [("Overspend", "-200mg")]
