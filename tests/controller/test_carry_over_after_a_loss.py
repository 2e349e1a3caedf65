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
