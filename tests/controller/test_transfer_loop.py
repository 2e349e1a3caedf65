"""Transfers from the object to the ledger: decided once, in order, and whatever fails or dies in between."""

from __future__ import annotations

import asyncio
import copy
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.controller.transfer_world import KG, NOVEMBER, World

from carbonbudget_operator.budgets.transfers import MOST_WAIT_SECONDS, UNCERTAIN_SECONDS
from carbonbudget_operator.controller.transfer_store import MOST, MOST_OF_A_NAMESPACE, TransferStore
from carbonbudget_operator.server_client import ServerUnavailable


@pytest.fixture
def world() -> World:
    made = World()
    made.budget("a", 10, used_kg=4)
    made.budget("b", 5, used_kg=5)
    return made


def test_a_transfer_changes_both_limits_and_its_status_and_events_say_so(world: World) -> None:
    name = world.transfer("a", "b", 5, reason="training moved")
    world.round()
    assert (world.ledger.change("team/a"), world.ledger.change("team/b")) == (-5 * KG, 5 * KG)
    assert world.status(name) == {
        "state": "Applied",
        "message": "5kg went from the limit of team/a to the limit of team/b",
        "decidedAt": "2026-11-23T18:53:20Z",
        "periodStart": "2026-11-01T00:00:00Z",
        "periodEnd": "2026-12-01T00:00:00Z",
    }
    assert [(kind, where, reason) for kind, where, reason, _ in world.events] == [
        ("CarbonTransfer", f"team/{name}", "TransferApplied"),
        ("CarbonBudget", "team/a", "TransferApplied"),
        ("CarbonBudget", "team/b", "TransferApplied"),
    ]
    out, into = world.ledger.rows
    assert (out.reason, into.reason, out.source, into.source) == ("TransferOut", "TransferIn", name, name)
    assert out.detail == f"CarbonTransfer team/{name}, 5kg from team/a to team/b: training moved"


def test_more_than_is_left_is_refused_and_only_the_transfer_has_an_event(world: World) -> None:
    name = world.transfer("a", "b", 7)
    world.round()
    assert world.ledger.rows == []
    assert world.status(name)["state"] == "Refused"
    assert "team/a has 6kg left in this period, which is less than 7kg" in world.status(name)["message"]
    assert "periodStart" not in world.status(name)
    assert [(kind, reason) for kind, _, reason, _ in world.events] == [("CarbonTransfer", "TransferRefused")]


def test_two_in_one_round_cannot_both_take_what_is_left_nor_one_in_the_next(world: World) -> None:
    first, second = world.transfer("a", "b", 6), world.transfer("a", "b", 6)
    world.round()
    assert [world.status(name)["state"] for name in (first, second)] == ["Applied", "Refused"]
    third = world.transfer("a", "b", 1)
    world.round()
    assert world.status(third)["state"] == "Refused"


def test_the_same_object_seen_again_changes_nothing(world: World) -> None:
    name = world.transfer("a", "b", 5)
    before = copy.deepcopy(world.objects[name])
    world.round()
    world.loop.transfers.seen("MODIFIED", before)  # the watch shows an older status
    world.round()
    world.start()
    world.round()
    assert (len(world.ledger.rows), len(world.events)) == (2, 3)


def test_a_refused_one_stays_refused_when_the_watch_shows_it_late_and_there_is_enough_now(world: World) -> None:
    name = world.transfer("a", "b", 7)
    before = copy.deepcopy(world.objects[name])
    world.round()
    world.budget("a", 100)
    world.loop.transfers.seen("MODIFIED", before)
    world.round()
    assert (world.status(name)["state"], world.ledger.rows) == ("Refused", [])


def test_a_controller_that_died_after_the_booking_finds_it_booked(world: World) -> None:
    name = world.transfer("a", "b", 5)
    world.ledger.fails = ""
    asyncio.run(_dies_after_booking(world))
    assert ("state" in world.status(name), len(world.ledger.rows)) == (False, 2)
    del world.budgets["team/a"]  # and its budget was deleted meanwhile
    world.now = NOVEMBER.end + 5
    world.start()
    world.round()
    assert (world.status(name)["state"], len(world.ledger.rows)) == ("Applied", 2)
    assert world.status(name)["periodEnd"] == "2026-12-01T00:00:00Z"


async def _dies_after_booking(world: World) -> None:
    class DiedError(Exception):
        pass

    ask = world.ledger.adjustments

    async def then_dies(request: object) -> object:
        answer = await ask(request)  # type: ignore[arg-type] # as it came
        if request.groups:  # type: ignore[attr-defined] # as it came
            raise DiedError
        return answer

    world.ledger.adjustments = then_dies  # type: ignore[assignment, method-assign] # for this once
    try:
        with suppress(DiedError, ServerUnavailable):
            await world.loop.round()
    finally:
        world.ledger.adjustments = ask  # type: ignore[method-assign] # as it was


@pytest.mark.parametrize("fails", ["before", "after"])
def test_a_server_that_does_not_answer_is_asked_again_and_nothing_is_booked_twice(world: World, fails: str) -> None:
    name = world.transfer("a", "b", 5)
    world.ledger.fails = fails
    assert not world.round()
    assert world.status(name).get("state") is None
    assert world.round()
    assert (world.status(name)["state"], len(world.ledger.rows)) == ("Applied", 2)


def test_a_status_that_cannot_be_written_is_written_later(world: World) -> None:
    name = world.transfer("a", "b", 5)
    world.patch_fails = 1  # the claim: nothing is booked without it
    world.round()
    assert world.ledger.rows == []
    world.round()
    assert (world.status(name)["state"], len(world.ledger.rows)) == ("Applied", 2)


def test_a_status_that_is_written_late_is_written_once_beside_a_new_transfer_of_the_same_budgets(world: World) -> None:
    first = world.transfer("a", "b", 2)
    world.ledger.fails = "after"
    assert not world.round()
    second = world.transfer("a", "b", 1)
    assert world.round()
    assert [world.status(name)["state"] for name in (first, second)] == ["Applied", "Applied"]


def test_a_transfer_that_is_deleted_before_its_booking_is_not_booked(world: World) -> None:
    name = world.transfer("a", "b", 5)
    del world.objects[name]  # the watch does not know yet
    world.round()
    assert (world.ledger.rows, world.loop.transfers.snapshot()) == ([], [])


def test_deleting_a_transfer_or_a_budget_undoes_nothing(world: World) -> None:
    name = world.transfer("a", "b", 5)
    world.round()
    world.delete(name)
    del world.budgets["team/b"]
    world.round()
    assert (world.ledger.change("team/a"), world.ledger.change("team/b")) == (-5 * KG, 5 * KG)


def test_it_waits_for_figures_says_so_once_and_then_refuses(world: World) -> None:
    world.budget("a", 10, used_kg=None)
    name = world.transfer("a", "b", 5)
    world.round()
    world.round()
    assert world.patches == [{"message": "waits at most 5 minutes: CarbonBudget team/a has no figures yet"}]
    world.now += MOST_WAIT_SECONDS
    world.round()
    assert world.status(name)["state"] == "Refused"


def test_figures_that_come_in_time_decide_it(world: World) -> None:
    world.budget("a", 10, used_kg=None)
    name = world.transfer("a", "b", 5)
    world.round()
    world.budget("a", 10, used_kg=1)
    world.round()
    assert world.status(name)["state"] == "Applied"


@pytest.mark.parametrize("amount", ["5 kilos", "", "0.00000000001mg"])
def test_a_transfer_of_before_the_rules_that_cannot_be_read_is_refused(world: World, amount: str) -> None:
    name = world.transfer("a", "b", 5)
    world.objects[name]["spec"]["amount"] = amount
    world.start()
    world.round()
    assert world.status(name)["state"] == "Refused"
    assert world.status(name)["message"].startswith("neither limit was changed: ")


def test_a_transfer_that_is_too_large_to_be_read_is_left_alone(world: World) -> None:
    name = world.transfer("a", "b", 5)
    world.loop.transfers.forget(name)
    world.loop.transfers.seen("ADDED", {"metadata": world.objects[name]["metadata"]})
    world.round()
    assert (world.patches, world.loop.transfers.snapshot()) == ([], [])


def test_one_namespace_takes_no_room_from_the_others() -> None:
    store = TransferStore(lambda: 0)
    body: dict[str, object] = {"spec": {"source": "a", "to": {"namespace": "n", "name": "b"}, "amount": "1kg"}}
    for space in range(3):
        for number in range(MOST_OF_A_NAMESPACE + 5):
            metadata = {"uid": f"{space}-{number}", "namespace": f"n{space}", "name": f"t{number}"}
            store.seen("ADDED", {"metadata": metadata} | body)
    assert len(store.snapshot()) == 3 * MOST_OF_A_NAMESPACE
    assert MOST >= 10 * MOST_OF_A_NAMESPACE


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("transfer"), st.sampled_from("abc"), st.sampled_from("abc"), st.integers(1, 8)),
        st.tuples(st.just("round")),
        st.tuples(st.just("restart")),
        st.tuples(st.just("crash")),
        st.tuples(st.just("fails"), st.sampled_from(["before", "after"])),
        st.tuples(st.just("patch fails"), st.integers(1, 3)),
        st.tuples(st.just("later"), st.sampled_from([20, UNCERTAIN_SECONDS, MOST_WAIT_SECONDS])),
        st.tuples(st.just("use"), st.sampled_from("abc"), st.integers(0, 10)),
        st.tuples(st.just("no figures"), st.sampled_from("abc")),
        st.tuples(st.just("budget gone"), st.sampled_from("abc")),
        st.tuples(st.just("delete"), st.integers(0, 20)),
    ),
    max_size=30,
)


@settings(max_examples=150, deadline=None)
@given(OPERATIONS)
def test_whatever_happens_each_transfer_is_booked_once_or_never_and_its_status_is_true(
    operations: list[tuple[object, ...]],
) -> None:
    world = World()
    for name in "abc":
        world.budget(name)
    limits = {name: world.budgets[f"team/{name}"].base_limit_ug for name in "abc"}
    states: dict[str, str] = {}
    for operation in [*operations, ("later", MOST_WAIT_SECONDS), ("round",), ("round",)]:
        match operation:
            case ("transfer", str(source), str(to), int(kg)):
                world.transfer(source, to, kg)
            case ("round",):
                world.round()
            case ("restart",):
                world.start()
            case ("crash",):
                asyncio.run(_dies_after_booking(world))
                world.start()
            case ("fails", str(when)):
                world.ledger.fails = when
            case ("patch fails", int(times)):
                world.patch_fails = times
            case ("later", int(seconds)):
                world.now += seconds
            case ("use", str(name), int(kg)):
                left = limits[name] + world.ledger.change(f"team/{name}")
                world.budget(name, used_kg=min(kg, left // KG))
            case ("no figures", str(name)) if f"team/{name}" in world.budgets:
                world.budgets[f"team/{name}"] = replace(world.budgets[f"team/{name}"], used_ug=None)
            case ("budget gone", str(name)):
                world.budgets.pop(f"team/{name}", None)
            case ("delete", int(number)) if number < len(world.objects):
                world.delete(list(world.objects)[number])
        for name, body in world.objects.items():
            state = body.get("status", {}).get("state", "")
            assert states.get(name, "") in ("", state)  # a decision is final
            states[name] = state
        booked = [row.source for row in world.ledger.rows]
        for name, state in states.items():
            assert booked.count(name) in ((2,) if state == "Applied" else (0,) if state == "Refused" else (0, 2))
        assert sum(row.micrograms for row in world.ledger.rows) == 0
        for name in "abc":
            of, change = world.budgets.get(f"team/{name}"), world.ledger.change(f"team/{name}")
            if of is not None and of.used_ug is not None and change < 0:
                assert limits[name] + change >= of.used_ug
