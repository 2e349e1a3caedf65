"""Credits from targets' statuses to the ledger: claims first, then credits, whatever dies in between."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.controller.objects import DECEMBER, stored
from tests.controller.transfer_world import KG, Ledger

from carbonbudget_operator.api.adjustment_bodies import Adjustment, AdjustmentsAnswer, AdjustmentsRequest
from carbonbudget_operator.api.times import format_time
from carbonbudget_operator.budgets.credits import WindowClaim
from carbonbudget_operator.budgets.period import Period
from carbonbudget_operator.controller.credit_loop import CreditLoop
from carbonbudget_operator.controller.credit_proposals import (
    CLAIMS_NAME,
    budget_hash,
    claim_group,
    creditable_targets,
    credited_budgets,
    read_claims,
)
from carbonbudget_operator.server_client import ServerUnavailable

DAY = 86_400
WEEK = 1793577600  # Monday 2 November 2026
NOW = WEEK + 17 * DAY


def figure(start: int, end: int, **more: Any) -> dict[str, Any]:
    return {
        "start": format_time(start), "end": format_time(end), "perUnit": "1mg", "perUnitMicrograms": 1000,
        "units": "5", "emissions": "5mg", "emissionsMicrograms": 5000, "energyMicrojoules": 7,
    } | more  # fmt: skip


def window(number: int, saved_kg: int = 2, **more: Any) -> dict[str, Any]:
    start = WEEK + number * 7 * DAY
    saved = {"micrograms": saved_kg * KG, "absoluteFallMicrograms": saved_kg * KG + 1}
    of = figure(start, start + 7 * DAY, **more)
    return {"figure": of, "expectedMicrograms": 1, "state": "OnTrack", "savings": saved}


def a_target(name: str = "chatbot", **spec: Any) -> dict[str, Any]:
    baseline = {
        "perUnit": "2mg", "perUnitMicrograms": 2000, "frozenAt": format_time(WEEK), "hash": "h",
        "measured": figure(WEEK - 30 * DAY, WEEK - DAY),
    }  # fmt: skip
    return {
        "metadata": {"name": name, "namespace": "team-a", "uid": f"uid-{name}", "generation": 2},
        "spec": {
            "unit": {"name": "token", "source": {"preset": "vLLMOutputTokens"}},
            "baseline": {"start": format_time(WEEK - 30 * DAY), "end": format_time(WEEK - DAY)},
            "target": {"reduction": 20, "by": "2027-06-01T00:00:00Z"},
            "selector": {"matchLabels": {"app": name}},
        }
        | spec,
        "status": {"evaluatedGeneration": 2, "baseline": baseline, "history": [window(1), window(0)]},
    }


def a_budget(name: str = "monthly", *credits: dict[str, Any], **spec: Any) -> dict[str, Any]:
    entries = list(credits) or [{"target": "chatbot", "cap": 50}]
    return {
        "metadata": {"name": name, "namespace": "team-a", "uid": f"uid-{name}", "generation": 1},
        "spec": {"limit": "100kg", "period": "Month", "credits": entries} | spec,
    }


class Credits:
    """The loop with what the watches show."""

    def __init__(self, *budgets: dict[str, Any], targets: tuple[dict[str, Any], ...] | None = None) -> None:
        self.ledger = Ledger()
        self.budgets = list(budgets or (a_budget(),))
        self.targets = list(targets if targets is not None else (a_target(),))
        self.now = NOW
        self.bookings = 0

    def round(self) -> bool:
        def booked() -> None:
            self.bookings += 1

        loop = CreditLoop(
            self.ledger, lambda: map(stored, self.budgets), lambda: self.targets, booked, now=lambda: self.now
        )
        try:
            asyncio.run(loop.round())
        except ServerUnavailable:
            return False
        return True

    def credited(self) -> list[Adjustment]:
        return [row for row in self.ledger.rows if row.budget.name != CLAIMS_NAME]


def test_each_window_is_credited_to_the_next_period_with_its_source() -> None:
    world = Credits()
    world.round()
    rows = world.credited()
    assert [(row.budget.name, row.budget.period_start, row.reason, row.micrograms) for row in rows] == [
        ("monthly", DECEMBER, "Credit", 2 * KG)
    ] * 2
    assert rows[0].source == f"target chatbot window {WEEK}"
    assert rows[0].detail == "saved by target chatbot from 2026-11-02T00:00:00Z to 2026-11-09T00:00:00Z"
    assert world.bookings == 1
    world.round()
    assert (len(world.ledger.rows), world.bookings) == (4, 1)


@pytest.mark.parametrize("fails", ["before", "after"])
def test_a_server_that_does_not_answer_is_asked_again_and_nothing_is_booked_twice(fails: str) -> None:
    world = Credits()
    for _ in range(3):
        world.ledger.fails = fails
        world.round()
    world.ledger.fails = ""
    assert world.round()
    assert [row.micrograms for row in world.credited()] == [2 * KG] * 2


def test_a_claim_whose_credit_was_not_booked_gets_it_also_if_the_target_says_otherwise_now() -> None:
    world = Credits()
    world.ledger.fails = "after"  # the claims are booked, the answer is lost
    assert not world.round()
    assert world.credited() == []
    world.targets[0]["status"]["history"] = [window(1, saved_kg=40), window(0, saved_kg=-1)]
    world.round()
    assert [row.micrograms for row in world.credited()] == [2 * KG] * 2


NOT: dict[str, dict[str, Any]] = {
    "no baseline": {"baseline": None},
    "a baseline that is a value": {"measured": None},
    "an edit since the status": {"evaluatedGeneration": 1},
    "hours without units": {"hoursPercent": 94},
    "nodes that did not report": {"coverage": 94},
    "no savings": {"savings": None},
}


@pytest.mark.parametrize("what", NOT)
def test_what_is_not_known_well_enough_earns_nothing(what: str) -> None:
    body = a_target()
    status = body["status"]
    for key, value in NOT[what].items():
        places: list[dict[str, Any]] = [status, status["baseline"], *status["history"]]
        places += [former["figure"] for former in status["history"]]
        of = status["history"][0]["figure"] if key in ("hoursPercent", "coverage") else None
        for place in places:
            if key in place or place is of:
                place[key] = value
    if "hoursPercent" in NOT[what] or "coverage" in NOT[what]:
        status["history"] = status["history"][:1]
    world = Credits(targets=(body,))
    world.round()
    assert world.ledger.rows == []


def test_a_target_whose_status_is_as_it_should_be_earns() -> None:
    """The other side of the table above: the same target without the fault."""
    assert len(creditable_targets([a_target()])[0].windows) == 2


@pytest.mark.parametrize(
    "spec", [{"period": None, "start": "2026-01-01T00:00:00Z", "end": "2027-01-01T00:00:00Z"}, {"per": "Workload"},
             {"credits": []}, {"limit": "x"}, {"timeZone": "Mars/Phobos"}],
    ids=str,
)  # fmt: skip
def test_a_budget_without_a_next_period_or_one_limit_earns_nothing(spec: dict[str, Any]) -> None:
    assert credited_budgets([stored(a_budget(**spec))]) == []
    assert len(credited_budgets([stored(a_budget())])) == 1


def test_what_cannot_be_read_keeps_nobody_else_from_credits() -> None:
    world = Credits(a_budget("broken", limit="x"), a_budget(), targets=({"metadata": {"name": "x"}}, a_target()))
    world.round()
    assert len(world.credited()) == 2


def test_a_claim_is_read_back_as_it_was_written_and_its_scope_is_never_too_small() -> None:
    scope = {f"label-{n}": frozenset({"v" * 60}) for n in range(9)} | {"app": frozenset({"chatbot"})}
    claim = WindowClaim("team-a", "x" * 253, Period(WEEK, WEEK + DAY), scope, "b" * 253, Period(1, 2), 5)
    (row,) = claim_group(claim).adjustments
    assert len(row.detail) <= 256
    (read,) = read_claims([row])
    assert (read.target, read.window, read.period, read.micrograms) == (
        claim.target, claim.window, claim.period, claim.micrograms,
    )  # fmt: skip
    assert read.budget == budget_hash(claim.budget)
    assert read.scope["app"] == frozenset({"chatbot"})
    assert set(read.scope) < set(scope)


def test_a_claim_that_cannot_be_read_takes_its_time_for_all_pods() -> None:
    (row,) = claim_group(WindowClaim("team-a", "t", Period(WEEK, WEEK + DAY), {}, "b", Period(1, 2), 5)).adjustments
    for detail in ("", "x", "[]", "{}", '{"until":"x"}', '{"until":1,"period":[1],"pods":[]}'):
        (read,) = read_claims([row.model_copy(update={"detail": detail})])
        assert (read.scope, read.budget, read.window.start) == ({}, "", WEEK)


def test_a_namespace_whose_request_is_refused_keeps_no_other_from_its_credits() -> None:
    world = Credits(a_budget(), a_budget())
    world.budgets[0]["metadata"]["namespace"] = "a-first"
    theirs = a_target()
    theirs["metadata"]["namespace"] = "a-first"
    world.targets.append(theirs)
    answer = world.ledger.adjustments

    async def refused(request: AdjustmentsRequest) -> AdjustmentsAnswer:
        if any(one.namespace == "a-first" for one in request.budgets):
            raise ServerUnavailable("413: the body is larger than 4 MiB")
        return await answer(request)

    world.ledger.adjustments = refused  # type: ignore[method-assign] # as a server that is asked too much
    assert not world.round()
    assert [row.budget.namespace for row in world.credited()] == ["team-a"] * 2


def test_a_credit_that_the_ledger_does_not_take_is_not_reported(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    world = Credits()
    answer = world.ledger.adjustments

    async def full(request: AdjustmentsRequest) -> AdjustmentsAnswer:
        groups = [one for one in request.groups if one.adjustments[0].budget.name == CLAIMS_NAME]
        return await answer(request.model_copy(update={"groups": groups}))

    world.ledger.adjustments = full  # type: ignore[method-assign] # a budget with a thousand rows in its period
    assert world.round()
    assert not [record for record in caplog.records if "are credited to" in record.message]


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("round")),
        st.tuples(st.just("fails"), st.sampled_from(["before", "after"])),
        st.tuples(st.just("week passes"), st.integers(-3, 30)),
        st.tuples(st.just("restated"), st.integers(-3, 60)),
        st.tuples(st.just("target gone"), st.sampled_from(["chatbot", "search", "all"])),
        st.tuples(st.just("target made"), st.sampled_from(["chatbot", "search", "all"])),
        st.tuples(st.just("budget gone"), st.sampled_from(["annual", "monthly"])),
        st.tuples(st.just("budget made"), st.sampled_from(["annual", "monthly"]), st.sampled_from(["Month", "Week"])),
    ),
    max_size=25,
)


@settings(max_examples=100, deadline=None)
@given(OPERATIONS)
def test_over_random_histories_each_window_of_pods_is_credited_at_most_once(
    operations: list[tuple[object, ...]],
) -> None:
    world = Credits()
    weeks = 2
    entries = [{"target": name, "cap": 10, "expiresAfter": 2} for name in ("chatbot", "search", "all")]
    for operation in [*operations, ("round",), ("round",)]:
        match operation:
            case ("round",):
                world.round()
            case ("fails", str(when)):
                world.ledger.fails = when
            case ("week passes", int(saved)):
                world.now += 7 * DAY
                for body in world.targets:
                    body["status"]["history"].insert(0, window(weeks, saved))
                    del body["status"]["history"][12:]
                weeks += 1
            case ("restated", int(saved)):
                for body in world.targets:
                    for former in body["status"]["history"]:
                        former["savings"]["micrograms"] = saved * KG
            case ("target gone", str(name)):
                world.targets = [body for body in world.targets if body["metadata"]["name"] != name]
            case ("target made", str(name)) if name not in [body["metadata"]["name"] for body in world.targets]:
                body = a_target(name) if name != "all" else a_target(name, selector=None)
                body = copy.deepcopy(body)
                body["status"]["history"] = [window(number, 9) for number in reversed(range(weeks))][:12]
                world.targets.append(body)  # an old baseline, as if nothing had protected it
            case ("budget gone", str(name)):
                world.budgets = [body for body in world.budgets if body["metadata"]["name"] != name]
            case ("budget made", str(name), str(period)):
                world.budgets = [body for body in world.budgets if body["metadata"]["name"] != name]
                world.budgets.append(a_budget(name, *entries, period=period))
    rows = world.credited()
    assert len({row.source for row in rows}) == len(rows)
    by_window: dict[str, set[str]] = {}
    for row in rows:
        _, target, _, start = row.source.split()
        by_window.setdefault(start, set()).add(target)
    assert all(len(found) == 1 for found in by_window.values() if "all" in found)
    capped: dict[tuple[str, int, str], int] = {}
    for row in rows:
        key = row.budget.name, row.budget.period_start, row.source.split()[1]
        capped[key] = capped.get(key, 0) + row.micrograms
    assert all(total <= 50 * KG for total in capped.values())
