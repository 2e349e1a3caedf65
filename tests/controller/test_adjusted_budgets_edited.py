"""Edits, recreations, relabelled namespaces and refusals: no adjustment is created by them, and none is erased."""

from __future__ import annotations

from typing import Any

import pytest
from tests.controller.adjusted_bench import CARRY, DAY, G, adjustments, booked, evaluate, given, restarted
from tests.controller.evaluation_bench import HOUR, Bench
from tests.controller.objects import DECEMBER, NOVEMBER, NOW

from carbonbudget_operator.api.adjustment_bodies import AdjustmentsAnswer, AdjustmentsRequest
from carbonbudget_operator.controller.adjustment_book import AdjustmentBook
from carbonbudget_operator.controller.period_closing import asked_periods
from carbonbudget_operator.server_client import ServerUnavailable


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


FEBRUARY = DECEMBER + 62 * DAY  # of 2027: the first is a Monday


@pytest.mark.parametrize("restarts", [False, True])
async def test_a_week_that_begins_with_the_month_has_none_of_what_the_month_was_given(
    bench: Bench, restarts: bool
) -> None:
    body = bench.add("monthly", carryOver=CARRY)
    for at in (DECEMBER + DAY, FEBRUARY - DAY, FEBRUARY + 960, FEBRUARY + 2 * DAY):
        status = await evaluate(bench, at)
    assert adjustments(status) == [("CarryOver", "+200mg")]
    body["spec"] |= {"period": "Week", "limit": "100mg"}
    body["metadata"]["generation"] += 1
    if restarts:
        restarted(bench)
        bench.world.books = False  # what the status shows is of the month
        assert (await evaluate(bench, FEBRUARY + 2 * DAY + 30))["effectiveLimitMicrograms"] == 100_000
        bench.world.books = True
    status = await evaluate(bench, FEBRUARY + 2 * DAY + 60)
    assert (adjustments(status), status["effectiveLimitMicrograms"]) == ([], 100_000)
    body["spec"] |= {"period": "Month", "limit": "1g"}
    body["metadata"]["generation"] += 1
    assert adjustments(await evaluate(bench, FEBRUARY + 2 * DAY + 120)) == [("CarryOver", "+200mg")]


async def test_a_week_that_begins_with_the_month_takes_over_what_the_month_owes(bench: Bench) -> None:
    body = bench.add("monthly", overspend="Deduct")
    bench.world.by_hour_ug = {FEBRUARY - 2 * DAY: G + 300_000}
    for at in (FEBRUARY - DAY, FEBRUARY + 960, FEBRUARY + 2 * DAY):
        status = await evaluate(bench, at)
    assert adjustments(status) == [("Overspend", "-300mg")]
    body["spec"]["period"] = "Week"
    body["metadata"]["generation"] += 1
    for later in (60, 120, 180):
        status = await evaluate(bench, FEBRUARY + 2 * DAY + later)
        assert adjustments(status)[:1] == [("Overspend", "-300mg")]
        assert status["effectiveLimitMicrograms"] == G - 300_000


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


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("labelled", [DECEMBER - 30, DECEMBER + 240, DECEMBER + 1_800])
async def test_a_namespace_that_is_selected_after_the_end_is_charged_to_no_period_before(
    bench: Bench, labelled: int, restarts: bool
) -> None:
    """Until the former period is closed its use is asked for again and again: of the namespaces that it counted."""
    bench.add_cluster_wide("teams", namespaceSelector={"matchLabels": {"kind": "team"}}, overspend="Deduct")
    bench.seen.namespaces.seen("ADDED", {"metadata": {"name": "a", "labels": {"kind": "team"}}})
    bench.seen.namespaces.seen("ADDED", {"metadata": {"name": "legacy", "labels": {}}})
    bench.seen.namespaces.listed = True
    answer = bench.world._answer

    def by_namespace(query: dict[str, Any]) -> dict[str, Any]:
        return answer(query) | {"used_ug": 40 * G if "legacy" in query["namespaces"] else G // 2}

    bench.world._answer = by_namespace  # type: ignore[method-assign]
    for at in (NOW, DECEMBER - 120, DECEMBER + 60, DECEMBER + 300, DECEMBER + 360, DECEMBER + 900, DECEMBER + 1_860):
        if at >= labelled:
            bench.seen.namespaces.seen("MODIFIED", {"metadata": {"name": "legacy", "labels": {"kind": "team"}}})
        bench.world.now = at
        bench.world.data_lag_s = at - DECEMBER + 1 if DECEMBER < at <= DECEMBER + 900 else 0  # it is closed at the last
        if restarts:
            restarted(bench)
        await bench.evaluate()
    await bench.evaluate()
    status = bench.world.objects["clustercarbonbudgets/teams"]["status"]
    assert [item["used"] for item in status["history"]] == ["500mg"]
    assert booked(bench, DECEMBER) == 0
    assert (sorted(status["namespaces"]), status["used"]) == (["a", "legacy"], "40g")
    bench.world.now = DECEMBER + 2 * HOUR
    await bench.evaluate()
    assert "newNamespaces" not in bench.world.objects["clustercarbonbudgets/teams"]["status"]


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
    asked = asked_periods(prepared, lambda period: book.booked("team-a", "monthly", period))
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
