"""A budget says which of its credits cannot earn anything, and a credit that is booked is an Event and counted."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Mapping
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry
from tests.controller.evaluation_bench import Bench
from tests.controller.objects import DECEMBER, NOW, stored
from tests.controller.test_credit_loop import Credits, a_budget, a_target
from tests.controller.transfer_world import KG

from carbonbudget_operator.api.carbonbudget import CarbonBudget
from carbonbudget_operator.budgets.transfers import TransferOutcome
from carbonbudget_operator.cli.budget_effects import ReaderContext
from carbonbudget_operator.cli.explain import explain
from carbonbudget_operator.controller.adjustment_metrics import AdjustmentMetrics
from carbonbudget_operator.controller.credit_condition import credit_condition
from carbonbudget_operator.controller.credit_loop import CreditLoop
from carbonbudget_operator.kube.client import KubeClient, KubeError

VALUE = {"baseline": {"value": "42g"}}


def judged(budget: dict[str, Any], *targets: dict[str, Any]) -> tuple[str, str, str] | None:
    by_key = {f"{one['metadata'].get('namespace', '')}/{one['metadata']['name']}": one for one in targets}
    made = credit_condition(stored(budget).budget_object, by_key.get)
    return None if made is None else (made.status, made.reason, made.message)


@pytest.mark.parametrize(
    ("target", "reason", "word"),
    [
        (a_target(**VALUE), "BaselineNotMeasured", "a value that nobody measured; give it start and end"),
        (a_target("other"), "TargetNotFound", "no CarbonTarget of this namespace of that name"),
        (a_target(accounting="MarketBased"), "AccountingDiffers", "LocationBased"),
    ],
)
def test_each_reason_for_which_a_target_earns_nothing_is_said(target: dict[str, Any], reason: str, word: str) -> None:
    made = judged(a_budget(), target)
    assert made is not None
    assert made[:2] == ("False", reason)
    assert word in made[2]


def test_a_target_whose_method_changed_earns_nothing_and_says_which_setting() -> None:
    target = a_target()
    sentence = "the method changed since the baseline was frozen: write a baseline of hours after the change (x 1 -> 2)"
    target["status"]["conditions"] = [
        {"type": "BaselineComparable", "status": "False", "reason": "MethodChanged", "message": sentence}
    ]
    assert judged(a_budget(), target) == ("False", "MethodChanged", f"target chatbot earns nothing: {sentence}")
    target["status"]["conditions"][0]["status"] = "Unknown"  # a baseline of a former version: as before
    assert judged(a_budget(), target) == ("True", "Available", "each target of spec.credits can earn credits")


def test_what_can_earn_credits_is_said_too_and_without_credits_nothing() -> None:
    assert judged(a_budget(), a_target()) == ("True", "Available", "each target of spec.credits can earn credits")
    plain = a_budget()
    del plain["spec"]["credits"]
    assert judged(plain, a_target()) is None


@pytest.mark.parametrize(
    "spec", [{"per": "Workload"}, {"period": None, "start": "2026-11-01T00:00:00Z", "end": "2026-12-01T00:00:00Z"}]
)
def test_a_budget_without_a_next_period_earns_nothing(spec: dict[str, Any]) -> None:
    made = judged(a_budget(**spec), a_target())
    assert made is not None
    assert made[:2] == ("False", "NoNextPeriod")


def test_of_many_entries_three_are_named() -> None:
    entries = [{"target": f"t{n}", "cap": 5} for n in range(5)]
    made = judged(a_budget("monthly", *entries))
    assert made is not None
    assert "t2" in made[2]
    assert made[2].endswith("; and 2 more")


async def test_the_condition_is_in_the_status_follows_the_target_and_goes_with_the_credits(bench: Bench) -> None:
    targets: dict[str, Mapping[str, object]] = {"team-a/chatbot": a_target(**VALUE)}
    body = bench.add("monthly", credits=[{"target": "chatbot", "cap": 50}])
    bench.world.now = float(NOW)

    def found() -> list[tuple[str, str]]:
        conditions = body["status"]["conditions"]
        return [(one["status"], one["reason"]) for one in conditions if one["type"] == "CreditsAvailable"]

    await bench.evaluate()
    assert found() == [], "targets are not listed yet"
    bench.loop.targets = lambda: targets.get
    await bench.evaluate()
    assert found() == [("False", "BaselineNotMeasured")]
    context = ReaderContext(mode="Enforce", limited_kinds=None, may_change=None)
    told = dict(explain(CarbonBudget.model_validate(body), dt.datetime.fromtimestamp(NOW, dt.UTC), context))
    assert any("CreditsAvailable is False (BaselineNotMeasured)" in one for one in told["Troubles"])
    bench.loop.targets = lambda: None
    await bench.evaluate()
    assert found() == [("False", "BaselineNotMeasured")], "what is not known changes nothing"
    targets["team-a/chatbot"] = a_target()
    bench.loop.targets = lambda: targets.get
    await bench.evaluate()
    assert found() == [("True", "Available")]
    del body["spec"]["credits"]
    body["metadata"]["generation"] += 1
    await bench.evaluate()
    assert found() == []


class Api:
    """Takes Events, or refuses them."""

    def __init__(self, fails: bool) -> None:
        self.fails, self.events = fails, list[dict[str, Any]]()

    async def send(self, method: str, _: object, body: dict[str, Any]) -> None:
        if self.fails:
            raise KubeError(500, "not now")
        self.events.append(body)


@pytest.mark.parametrize("fails", [False, True])
def test_a_credit_is_an_event_on_its_budget_and_counted_once(fails: bool) -> None:
    world, api, registry = Credits(), Api(fails), CollectorRegistry()
    loop = CreditLoop(
        world.ledger, lambda: map(stored, world.budgets), lambda: world.targets, now=lambda: world.now,
        client=cast("KubeClient", api), metrics=AdjustmentMetrics(registry),
    )  # fmt: skip
    for _ in range(3):
        asyncio.run(loop.round())
    assert [row.budget.period_start for row in world.credited()] == [DECEMBER] * 2
    assert registry.get_sample_value("carbonbudget_credits_total") == 2
    assert registry.get_sample_value("carbonbudget_credited_grams_total") == 4 * KG / 10**6
    if fails:
        assert api.events == []
        return
    assert [(one["reason"], one["involvedObject"]["kind"], one["involvedObject"]["uid"]) for one in api.events] == [
        ("CreditApplied", "CarbonBudget", "uid-monthly")
    ] * 2
    assert api.events[0]["message"] == (
        "the limit of the period 2026-12-01T00:00:00Z to 2027-01-01T00:00:00Z rises by 2kg: "
        "saved by target chatbot from 2026-11-02T00:00:00Z to 2026-11-09T00:00:00Z"
    )


def test_all_series_of_transfers_are_there_from_the_start() -> None:
    registry = CollectorRegistry()
    metrics = AdjustmentMetrics(registry)
    assert registry.get_sample_value("carbonbudget_transfers_total", {"state": "Applied"}) == 0
    metrics.decided(TransferOutcome.REFUSED)
    metrics.waiting(3)
    metrics.failed("credits")
    assert registry.get_sample_value("carbonbudget_transfers_total", {"state": "Refused"}) == 1
    assert registry.get_sample_value("carbonbudget_transfers_waiting") == 3
    assert registry.get_sample_value("carbonbudget_adjustment_round_failures_total", {"what": "credits"}) == 1
