"""Budgets with adjustments in the evaluation loop: periods are closed once and in order, whatever happens between."""

from __future__ import annotations

import random
from typing import Any

import pytest
from tests.controller.evaluation_bench import HOUR, Bench
from tests.controller.objects import DECEMBER, NOVEMBER, NOW

from carbonbudget_operator.api.adjustment_bodies import (
    Adjustment,
    AdjustmentsAnswer,
    AdjustmentsRequest,
    BudgetPeriod,
)
from carbonbudget_operator.budgets.adjustments import is_closed_into
from carbonbudget_operator.controller.adjustment_book import AdjustmentBook
from carbonbudget_operator.controller.evaluation_loop import EvaluationLoop
from carbonbudget_operator.controller.period_closing import asked_periods
from carbonbudget_operator.server_client import ServerUnavailable

G = 10**6
DAY = 86_400
CARRY = {"max": 20, "periods": 1}
KEY = "team-a/monthly"


async def evaluate(bench: Bench, at: int | None = None, times: int = 2) -> dict[str, Any]:
    """Evaluated twice: what one evaluation books, the next one goes by."""
    if at is not None:
        bench.world.now = float(at)
    for _ in range(times):
        await bench.evaluate()
    status: dict[str, Any] = bench.world.objects["namespaces/team-a/carbonbudgets/monthly"]["status"]
    return status


def adjustments(status: dict[str, Any]) -> list[tuple[str, str]]:
    return [(each["reason"], each["amount"]) for each in status.get("adjustments", ())]


def booked(bench: Bench, start: int, *reasons: str) -> int:
    return sum(
        each.micrograms
        for each in bench.world.booked
        if each.budget.period_start == start and (not reasons or each.reason in reasons)
    )


def given(
    bench: Bench, micrograms: int, reason: str = "TransferIn", start: int = NOVEMBER, name: str = "monthly"
) -> None:
    """As a transfer or a credit would book it."""
    period = BudgetPeriod(namespace="team-a", name=name, period_start=start, period_end=start + 30 * DAY)
    made = {"budget": period, "reason": reason, "source": f"uid-{len(bench.world.booked)}", "micrograms": micrograms}
    bench.world.booked.append(Adjustment.model_validate(made))


def restarted(bench: Bench) -> None:
    """A new process with the same servers and objects."""
    old = bench.loop
    bench.loop = EvaluationLoop(
        bench.client,
        old._questions._server,  # the same address
        bench.seen,
        old._metrics,
        60,
        old._terms,
        now=lambda: bench.world.now,
    )


async def test_without_adjustments_the_limit_is_the_specs(bench: Bench) -> None:
    bench.add("monthly")
    status = await evaluate(bench)
    assert status["effectiveLimitMicrograms"] == G
    assert "effectiveLimit" not in status
    assert "adjustments" not in status
    assert "adjustments" not in status["message"]


async def test_all_figures_go_by_the_limit_in_force(bench: Bench) -> None:
    bench.add("monthly", thresholds=[{"at": 100, "action": "Block"}])
    given(bench, 500_000)
    bench.world.used_ug = 1_200_000
    status = await evaluate(bench)
    assert status["effectiveLimit"] == "1.5g"
    assert adjustments(status) == [("TransferIn", "+500mg")]
    assert (status["state"], status["percentUsed"], status["remaining"]) == ("Warning", 80, "300mg")
    assert "used 1.2g of 1.5g CO2e (80 %; 1g before adjustments)" in status["message"]
    assert "enforcement" not in status
    lines = bench.metrics()
    labels = 'kind="CarbonBudget",name="monthly",namespace="team-a"'
    assert f"carbonbudget_budget_limit_grams{{{labels}}} 1.5" in lines
    assert f'carbonbudget_budget_adjustment_grams{{{labels},reason="TransferIn"}} 0.5' in lines


async def test_a_deduction_makes_a_budget_exceeded_and_ends_at_zero(bench: Bench) -> None:
    bench.add("monthly", thresholds=[{"at": 100, "action": "Block"}])
    given(bench, -3 * G, "Overspend")
    bench.world.used_ug = 1
    status = await evaluate(bench)
    assert (status["state"], status["effectiveLimit"], status["remaining"]) == ("Exceeded", "0mg", "0mg")
    assert status["enforcement"]["action"] == "Block"


async def test_what_is_left_is_carried_over_once_the_period_is_over(bench: Bench) -> None:
    bench.add("monthly", carryOver=CARRY)
    bench.world.used_ug = 300_000
    await evaluate(bench, NOW)
    bench.world.uses_ug[KEY] = 10_000
    bench.world.uses_ug[f"{KEY}@{NOVEMBER}"] = 400_000  # the last windows
    status = await evaluate(bench, DECEMBER + 600)
    assert "adjustments" not in status  # its last windows may still come
    status = await evaluate(bench, DECEMBER + 960)
    assert adjustments(status) == [("CarryOver", "+200mg")]
    assert status["adjustments"][0]["source"] == "period from 2026-11-01"
    assert status["effectiveLimit"] == "1.2g"
    before = list(bench.world.booked)
    for minute in range(20, 90, 10):
        await evaluate(bench, DECEMBER + minute * 60, 1)
    assert bench.world.booked == before


async def test_little_coverage_is_no_allowance(bench: Bench) -> None:
    bench.add("monthly", carryOver=CARRY)
    await evaluate(bench, NOW)
    bench.world.coverage = 94
    status = await evaluate(bench, DECEMBER + 960)
    assert "adjustments" not in status
    bench.world.coverage = 100
    assert "adjustments" not in await evaluate(bench, DECEMBER + 1_200)


async def test_a_period_that_did_not_end_with_carry_over_is_not_carried_over(bench: Bench) -> None:
    body = bench.add("monthly")
    await evaluate(bench, NOW)
    await evaluate(bench, DECEMBER + 960)
    body["spec"]["carryOver"] = CARRY
    body["metadata"]["generation"] = 2
    assert "adjustments" not in await evaluate(bench, DECEMBER + 2 * HOUR)
    assert "adjustments" not in await evaluate(bench, DECEMBER + 3 * HOUR)
    assert booked(bench, DECEMBER) == 0


async def test_overspend_is_booked_while_it_happens_and_deducted_exactly_once(bench: Bench) -> None:
    bench.add("monthly", overspend="Deduct")
    seen = []
    for hour, used in enumerate((900_000, 200_000, 5_000, 295_000, 0)):
        bench.world.by_hour_ug[NOW + hour * HOUR] = used
        await evaluate(bench, NOW + hour * HOUR)
        seen.append(booked(bench, DECEMBER))
    # Each hour once it is over; what is less than a hundredth of the limit waits.
    assert seen == [0, 0, -100_000, -100_000, -400_000]
    bench.world.uses_ug = {KEY: 0, f"{KEY}@{NOVEMBER}": 1_403_000}
    status = await evaluate(bench, DECEMBER + 960)
    assert adjustments(status) == [("Overspend", "-403mg")]
    assert status["effectiveLimit"] == "597mg"
    assert booked(bench, DECEMBER) == -403_000
    await evaluate(bench, DECEMBER + 2 * HOUR)
    assert booked(bench, DECEMBER) == -403_000


async def test_a_forgiven_overspend_is_not_booked(bench: Bench) -> None:
    bench.add("monthly")
    bench.world.used_ug = 5 * G
    await evaluate(bench, NOW)
    await evaluate(bench, DECEMBER + 960)
    assert bench.world.booked == []


async def test_an_overspend_larger_than_a_whole_limit_goes_on_to_the_next_periods(bench: Bench) -> None:
    bench.add("monthly", overspend="Deduct")
    bench.world.used_ug = 3_500_000
    await evaluate(bench, NOW)
    bench.world.used_ug = 0
    bench.world.uses_ug[f"{KEY}@{NOVEMBER}"] = 3_500_000
    limits = []
    for month in range(4):
        status = await evaluate(bench, DECEMBER + month * 31 * DAY + 2 * DAY, 3)
        limits.append(status["effectiveLimitMicrograms"])
    assert limits == [0, 0, 500_000, G]


async def test_deleting_a_budget_erases_no_deduction(bench: Bench) -> None:
    bench.add("monthly", overspend="Deduct")
    bench.world.by_hour_ug = {NOW - HOUR: 1_400_000, NOW: 2_000}  # too small a step to be booked yet
    await evaluate(bench, NOW)
    await evaluate(bench, NOW + HOUR)
    assert booked(bench, DECEMBER) == -400_000
    bench.world.objects.clear()
    bench.seen.budgets.forget(KEY, "monthly")
    bench.add("another")
    await bench.evaluate()
    assert booked(bench, DECEMBER) == -402_000
    bench.add("monthly", uid="made-anew", limit="9g")  # forgives, and allows more
    status = await evaluate(bench, DECEMBER + 960)
    assert adjustments(status) == [("Overspend", "-402mg")]
    assert status["effectiveLimit"] == "8.598g"


async def test_deleting_it_before_its_period_is_closed_erases_none_either(bench: Bench) -> None:
    bench.add("monthly", overspend="Deduct")
    bench.world.by_hour_ug = {NOW - HOUR: 1_400_000, NOW: 2_000}
    await evaluate(bench, NOW)
    await evaluate(bench, NOW + HOUR)
    await evaluate(bench, DECEMBER + 120)
    assert booked(bench, DECEMBER) == -400_000
    bench.world.objects.clear()
    bench.seen.budgets.forget(KEY, "monthly")
    bench.add("another")
    await bench.evaluate()
    assert booked(bench, DECEMBER) == -402_000


async def test_a_budget_made_anew_carries_over_nothing_of_its_predecessor(bench: Bench) -> None:
    bench.add("monthly", carryOver=CARRY)
    await evaluate(bench, NOW)
    bench.world.objects.clear()
    bench.seen.budgets.forget(KEY, "monthly")
    bench.add("monthly", uid="made-anew", carryOver=CARRY, limit="900g")
    status = await evaluate(bench, DECEMBER + 960, 3)
    assert "adjustments" not in status


async def test_a_controller_that_was_away_closes_each_period_in_its_order(bench: Bench) -> None:
    bench.add("monthly", period="Day", carryOver={"max": 100, "periods": 3})
    bench.world.used_ug = 900_000
    await evaluate(bench, NOW)
    midnight = NOW - NOW % DAY
    bench.world.used_ug = 0
    for day, used in enumerate((900_000, 600_000, 1_100_000)):
        bench.world.uses_ug[f"{KEY}@{midnight + day * DAY}"] = used
    restarted(bench)
    status = await evaluate(bench, midnight + 3 * DAY + 2 * HOUR, 6)
    # 100 mg are left of the first day; 400 and the 100 of the second; the third uses 1100 of its 1500.
    assert [booked(bench, midnight + day * DAY) for day in (1, 2, 3)] == [100_000, 500_000, 400_000]
    assert status["effectiveLimit"] == "1.4g"
    assert [item["used"] for item in status["history"]] == ["1.1g", "600mg", "900mg"]


async def test_the_history_keeps_the_limit_that_was_in_force(bench: Bench) -> None:
    body = bench.add("monthly")
    given(bench, 500_000)
    await evaluate(bench, NOW)
    body["spec"]["limit"] = "7g"
    body["metadata"]["generation"] = 2
    status = await evaluate(bench, DECEMBER + 60)
    assert [(item["limit"], item["effectiveLimit"]) for item in status["history"]] == [("1g", "1.5g")]
    assert status["effectiveLimitMicrograms"] == 7 * G
    assert "effectiveLimit" not in status


async def test_while_the_server_does_not_say_what_is_booked_the_limit_of_the_status_holds(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    body = bench.add("monthly")
    given(bench, 500_000)
    await evaluate(bench)
    restarted(bench)
    bench.world.books = False
    assert (await evaluate(bench))["effectiveLimit"] == "1.5g"
    assert [r.message for r in caplog.records if "adjustments of limits cannot be read" in r.message][1:] == []
    body["spec"]["limit"] = "2g"
    body["metadata"]["generation"] = 2
    assert (await evaluate(bench))["effectiveLimit"] == "2.5g"
    bench.world.books = True
    given(bench, 100_000)
    assert (await evaluate(bench))["effectiveLimit"] == "2.6g"


async def test_a_server_that_is_away_changes_no_limit(bench: Bench) -> None:
    bench.add("monthly", carryOver=CARRY)
    given(bench, 500_000)
    await evaluate(bench)
    bench.world.up = False
    assert (await evaluate(bench, NOW + HOUR))["effectiveLimit"] == "1.5g"
    restarted(bench)
    assert (await evaluate(bench, NOW + 2 * HOUR))["effectiveLimit"] == "1.5g"


async def test_a_limit_per_workload_has_no_adjustments(bench: Bench) -> None:
    bench.add("monthly", per="Workload")
    given(bench, 500_000)
    status = await evaluate(bench)
    assert (status["effectiveLimitMicrograms"], "adjustments" in status) == (G, False)


async def test_a_parent_shows_its_childrens_limits_and_whether_they_fit(bench: Bench) -> None:
    bench.add_cluster_wide("company", limit="2g")
    bench.add("monthly", parent="company")
    bench.add("second", parent="company", limit="500mg")
    bench.add("each", parent="company", per="Workload")
    bench.add("elsewhere", parent="missing")

    def parent() -> dict[str, Any]:
        status: dict[str, Any] = bench.world.objects["clustercarbonbudgets/company"]["status"]
        return status

    def condition() -> tuple[str, str]:
        (found,) = [each for each in parent()["conditions"] if each["type"] == "Overallocated"]
        return found["status"], found["reason"]

    await evaluate(bench)
    assert parent()["children"] == {"count": 2, "allocated": "1.5g", "unallocated": "500mg"}
    assert condition() == ("False", "Fits")
    given(bench, 600_000)
    await evaluate(bench)
    assert parent()["children"] == {"count": 2, "allocated": "2.1g", "unallocated": "0mg"}
    assert condition() == ("True", "LimitsExceedParent")
    assert 'carbonbudget_budget_allocated_grams{kind="ClusterCarbonBudget",name="company",namespace=""} 2.1' in (
        bench.metrics()
    )
    for name in ("monthly", "second"):
        bench.world.objects[f"namespaces/team-a/carbonbudgets/{name}"]["spec"].pop("parent")
    await evaluate(bench)
    assert "children" not in parent()
    assert condition() == ("False", "Fits")


async def test_a_book_that_fails_keeps_what_it_knows_and_what_is_proposed(bench: Bench) -> None:
    book: AdjustmentBook = bench.loop.adjusting.book
    bench.add("monthly", overspend="Deduct")
    bench.world.used_ug = 2 * G
    bench.world.books = False
    await evaluate(bench)
    assert not book.known()
    bench.world.books = True
    await evaluate(bench)
    assert book.known()
    assert booked(bench, DECEMBER) == -G


@pytest.mark.parametrize("seed", range(3))
async def test_restarts_and_a_server_that_comes_and_goes_create_nothing(bench: Bench, seed: int) -> None:
    """Ten days of random use, restarts, outages and missing data, judged by what the ledger has at the end."""
    chance = random.Random(seed)
    bench.add("monthly", period="Day", limit="1g", carryOver={"max": 50, "periods": 2}, overspend="Deduct")
    first, days = NOW - NOW % DAY, 10
    for day in range(days):
        bench.world.coverage = chance.choice([100, 100, 94])
        for hour in range(0, 24, 3):
            at = first + day * DAY + hour * HOUR + 1_200
            bench.world.by_hour_ug[at - 1_200] = chance.choice([0, 0, 100_000, 300_000, 700_000])
            bench.world.up = chance.random() > 0.2
            bench.world.books = chance.random() > 0.2
            if chance.random() < 0.1:
                restarted(bench)
            await evaluate(bench, at, chance.choice([1, 2, 3]))
    bench.world.up = bench.world.books = True
    await evaluate(bench, first + days * DAY + 2 * HOUR, 8)
    starts = [first + day * DAY for day in range(days)]
    used = {start: sum(u for at, u in bench.world.by_hour_ug.items() if start <= at < start + DAY) for start in starts}
    assert len({each.key for each in bench.world.booked}) == len(bench.world.booked)
    for start in starts:
        in_force = max(0, G + booked(bench, start))
        carried, owed = booked(bench, start + DAY, "CarryOver"), -booked(bench, start + DAY, "Overspend")
        assert owed == max(0, used[start] - G - booked(bench, start))
        assert 0 <= carried <= min(G // 2, max(0, in_force - used[start]))
        # Each day was closed, if only with a row of 0.
        assert is_closed_into([each for each in bench.world.booked if each.budget.period_start == start + DAY])
    allowed = days * G
    carried = booked(bench, first + days * DAY, "CarryOver")
    owed = -booked(bench, first + days * DAY, "Overspend")
    assert sum(used.values()) + carried <= allowed + owed


def relabelled(bench: Bench, body: dict[str, Any]) -> None:
    """Its owner makes it count other pods, which have used nothing."""
    body["spec"]["selector"] = {"matchLabels": {"app": "none"}}
    body["metadata"]["generation"] += 1
    bench.world.used_ug = 0
    bench.world.uses_ug = {}


@pytest.mark.parametrize("when", ["before the end", "after the end", "while the controller is away"])
async def test_an_edit_of_what_is_counted_leaves_nothing_of_its_period_to_carry_over(bench: Bench, when: str) -> None:
    body = bench.add("monthly", carryOver={"max": 100, "periods": 1})
    bench.world.used_ug = G
    await evaluate(bench, NOW)
    if when == "before the end":
        relabelled(bench, body)
        await evaluate(bench, DECEMBER - 60)
        restarted(bench)
    elif when == "after the end":
        await evaluate(bench, DECEMBER + 60)
        relabelled(bench, body)
        await evaluate(bench, DECEMBER + 120)
    else:
        relabelled(bench, body)
        restarted(bench)
    status = await evaluate(bench, DECEMBER + 960, 4)
    assert "adjustments" not in status
    assert booked(bench, DECEMBER) == 0


async def test_the_period_after_such_an_edit_is_carried_over_again(bench: Bench) -> None:
    body = bench.add("monthly", period="Day", carryOver=CARRY)
    await evaluate(bench, NOW)
    relabelled(bench, body)
    await evaluate(bench, NOW + 60)
    midnight = NOW - NOW % DAY + DAY
    await evaluate(bench, midnight + 960, 3)
    assert booked(bench, midnight) == 0
    await evaluate(bench, midnight + DAY + 960, 3)
    assert booked(bench, midnight + DAY) == 200_000


async def test_a_budget_that_is_replaced_between_two_evaluations_erases_no_deduction(bench: Bench) -> None:
    bench.add("monthly", overspend="Deduct")
    bench.world.by_hour_ug = {NOW - HOUR: 3_000_000, NOW: 200_000}  # an eighth of what is booked is one step
    await evaluate(bench, NOW)
    await evaluate(bench, NOW + HOUR)
    assert booked(bench, DECEMBER) == -2_000_000
    bench.add("monthly", uid="made-anew")  # kubectl replace --force; it forgives
    await evaluate(bench, NOW + HOUR + 60)
    assert booked(bench, DECEMBER) == -2_200_000


async def test_a_transfer_blocks_and_unblocks_with_the_next_evaluation(bench: Bench) -> None:
    bench.add("monthly", thresholds=[{"at": 100, "action": "Block"}])
    bench.world.used_ug = G
    status = await evaluate(bench, NOW, 1)
    assert status["enforcement"]["action"] == "Block"
    given(bench, G)
    status = await evaluate(bench, NOW + 60, 1)
    assert (status["state"], "enforcement" in status) == ("WithinBudget", False)
    given(bench, -G // 2, "TransferOut")
    given(bench, -G // 2, "TransferOut")
    status = await evaluate(bench, NOW + 120, 1)
    assert (status["state"], status["enforcement"]["action"]) == ("Exceeded", "Block")


async def test_what_revised_factors_added_while_the_period_ran_is_not_deducted_when_it_is_closed(bench: Bench) -> None:
    bench.add("monthly", overspend="Deduct")
    bench.world.by_hour_ug = {NOW - 2 * HOUR: 900_000}
    await evaluate(bench, NOW)
    await evaluate(bench, NOW + 2 * HOUR)
    answer = bench.world._answer

    def revised(query: dict[str, Any]) -> dict[str, Any]:
        found = answer(query)
        return found | {"used_ug": 2 * found["used_ug"], "settled_ug": 2 * found["settled_ug"]}

    bench.world._answer = revised  # type: ignore[method-assign] # the same energy, other factors
    status = await evaluate(bench, NOW + 3 * HOUR)
    assert status["settled"]["revisedMicrograms"] == 900_000
    assert booked(bench, DECEMBER) == 0
    await evaluate(bench, DECEMBER + 60)
    await evaluate(bench, DECEMBER + 960)
    assert booked(bench, DECEMBER) == 0


@pytest.mark.parametrize("restarts", [False, True])
async def test_a_namespace_that_gets_other_labels_at_the_end_leaves_nothing_to_carry_over(
    bench: Bench, restarts: bool
) -> None:
    """Who may label a namespace takes it out of the next period of a ClusterCarbonBudget, not out of the last one."""
    bench.add_cluster_wide("teams", namespaceSelector={"matchLabels": {"kind": "team"}}, carryOver=CARRY)
    for name in ("team-a", "team-b"):
        bench.seen.namespaces.seen("ADDED", {"metadata": {"name": name, "labels": {"kind": "team"}}})
    bench.seen.namespaces.listed = True
    answer = bench.world._answer

    def by_namespace(query: dict[str, Any]) -> dict[str, Any]:
        return answer(query) | {"used_ug": G if "team-a" in query["namespaces"] else 0}

    bench.world._answer = by_namespace  # type: ignore[method-assign] # only team-a emits
    for at in (NOW, DECEMBER - 60, DECEMBER + 60, DECEMBER + 300, DECEMBER + 960, DECEMBER + 1_020, DECEMBER + HOUR):
        if at == DECEMBER - 60:
            bench.seen.namespaces.seen("MODIFIED", {"metadata": {"name": "team-a", "labels": {}}})
        bench.world.now = at
        if restarts:
            restarted(bench)
        await bench.evaluate()
    assert booked(bench, DECEMBER) == 0
    status = bench.world.objects["clustercarbonbudgets/teams"]["status"]
    assert [item["used"] for item in status["history"]] == ["1g"]
    assert (status["namespaces"], status["used"]) == (["team-b"], "0mg")
    bench.world.now = DECEMBER + 2 * HOUR
    await bench.evaluate()
    assert "formerNamespaces" not in bench.world.objects["clustercarbonbudgets/teams"]["status"]


@pytest.mark.parametrize(("written", "carried"), [(DECEMBER - 60, 200_000), (DECEMBER + 60, 0)])
async def test_carry_over_that_is_written_after_the_end_is_of_the_next_period(
    bench: Bench, written: int, carried: int
) -> None:
    body = bench.add("monthly", overspend="Deduct")
    await evaluate(bench, NOW)
    await evaluate(bench, min(written, DECEMBER + 30))
    body["spec"]["carryOver"] = CARRY
    body["metadata"]["generation"] = 2
    await evaluate(bench, written)
    await evaluate(bench, DECEMBER + 960, 3)
    assert booked(bench, DECEMBER) == carried


async def test_while_a_period_waits_to_be_closed_three_periods_are_asked_for(bench: Bench) -> None:
    """A thousand budgets that all wait at the start of a month are three thousand periods in each evaluation."""
    bench.add("monthly", carryOver=CARRY)
    await evaluate(bench, NOW)
    await evaluate(bench, DECEMBER + 60)
    (prepared,) = [bench.loop._prepare(one, int(bench.world.now)) for one in bench.seen.budgets.snapshot().values()]
    book = bench.loop.adjusting.book
    asked = asked_periods(prepared, lambda start: book.booked("team-a", "monthly", start))
    assert [one.period_start for one in asked] == [DECEMBER, DECEMBER + 31 * DAY, NOVEMBER]


async def test_a_booking_that_is_refused_keeps_nothing_from_being_read(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.add("monthly", overspend="Deduct")
    bench.world.used_ug = 2 * G
    book: AdjustmentBook = bench.loop.adjusting.book
    ask = book._server.adjustments

    async def without_booking(request: AdjustmentsRequest) -> AdjustmentsAnswer:
        if request.groups:
            raise ServerUnavailable("the server answered 503: the ledger cannot be written")
        return await ask(request)

    monkeypatch.setattr(book._server, "adjustments", without_booking)
    await evaluate(bench, NOW)
    given(bench, 500_000)
    assert (await evaluate(bench, NOW + 60))["effectiveLimit"] == "1.5g"
    assert "cannot be written" in book.trouble
    monkeypatch.undo()
    await evaluate(bench, NOW + 120)
    assert (booked(bench, DECEMBER), book.trouble) == (-G, "")
