"""The watch of transfers, and the figures of budgets that a transfer is decided by."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from typing import Any, cast

import pytest
from tests.controller.evaluation_bench import Bench
from tests.controller.objects import DECEMBER, NOVEMBER, a_body, stored

from carbonbudget_operator.budgets.period import Period
from carbonbudget_operator.budgets.verdict import Action, State, Verdict
from carbonbudget_operator.controller import transfer_store
from carbonbudget_operator.controller.transfer_figures import transfer_figures
from carbonbudget_operator.controller.transfer_store import TransferStore
from carbonbudget_operator.kube.client import KubeClient

Event = tuple[str, dict[str, Any] | None]


def a_transfer(uid: str, namespace: str = "team-a", **more: Any) -> dict[str, Any]:
    metadata = {"name": uid, "namespace": namespace, "uid": uid, "creationTimestamp": "2026-11-23T18:53:20Z"}
    spec = {"source": "a", "to": {"namespace": "team-b", "name": "b"}, "amount": "1.5kg"}
    return {"metadata": metadata, "spec": spec} | more


class Watched:
    """A client whose watches yield these events, one list of them for each watch, and then nothing."""

    def __init__(self, *watches: list[Event]) -> None:
        self.watches, self.opened = list(watches), 0

    async def watch(self, *_: object, **__: object) -> AsyncIterator[Event]:
        events = self.watches[min(self.opened, len(self.watches) - 1)]
        self.opened += 1
        for event in events:
            yield event
        await asyncio.Event().wait()


def followed(store: TransferStore, client: Watched, opened: int = 1) -> None:
    async def run() -> None:
        task = asyncio.create_task(store.follow(cast("KubeClient", client)))
        async with asyncio.timeout(5):
            while client.opened < opened or not store.changed.is_set():  # noqa: ASYNC110 - the store's own state
                await asyncio.sleep(0)
            for _ in range(10):
                await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    asyncio.run(run())


def test_what_a_new_list_lacks_was_deleted_and_what_is_decided_is_not_stored() -> None:
    store = TransferStore(lambda: 7)
    store.seen("ADDED", a_transfer("old"))
    store.changed.clear()
    listed: list[Event] = [
        ("LISTING", None),
        ("ADDED", a_transfer("new")),
        ("ADDED", a_transfer("done", status={"state": "Refused", "message": "m"})),
        ("LISTED", None),
        ("ADDED", a_transfer("later")),
        ("DELETED", a_transfer("new")),
    ]
    followed(store, Watched(listed))
    assert [one.uid for one in store.snapshot()] == ["later"]
    (pending,) = [one.pending for one in store.snapshot()]
    assert pending is not None
    assert (pending.source, pending.receiver, pending.amount_ug) == ("team-a/a", "team-b/b", 1_500_000_000)
    assert (pending.created_at, pending.seen_at, pending.claimed) == (1795460000, 7, None)


def test_a_claim_of_an_earlier_process_is_read_from_the_status() -> None:
    store = TransferStore(lambda: 7)
    status = {"periodStart": "2026-11-01T00:00:00Z", "periodEnd": "2026-12-01T00:00:00Z"}
    store.seen("ADDED", a_transfer("t", status=status))
    (pending,) = [one.pending for one in store.snapshot()]
    assert pending is not None
    assert (pending.claimed, pending.claimed_at) == (Period(NOVEMBER, DECEMBER), 7)


def test_what_had_no_room_is_listed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer_store, "MOST_OF_A_NAMESPACE", 1)
    monkeypatch.setattr(transfer_store, "_RELIST_SECONDS", 0.01)
    store = TransferStore()
    listed: list[Event] = [
        ("LISTING", None), ("ADDED", a_transfer("first")), ("ADDED", a_transfer("second")), ("LISTED", None),
    ]  # fmt: skip
    first = a_transfer("first", status={"state": "Applied"})
    again: list[Event] = [("LISTING", None), ("ADDED", first), ("ADDED", a_transfer("second")), ("LISTED", None)]
    followed(store, Watched(listed, again), opened=2)
    assert [one.uid for one in store.snapshot()] == ["second"]


VERDICT = Verdict(
    period=Period(NOVEMBER, DECEMBER), generation=3, used_ug=5, state=State.WITHIN, action=Action.NONE, acts_until=0,
    suspend_from=0,
)  # fmt: skip


def test_the_figures_are_the_specs_limit_and_the_last_verdicts_use() -> None:
    found = transfer_figures(stored(a_body(parent="company", accounting="MarketBased")), VERDICT)
    assert found is not None
    assert (found.period, found.base_limit_ug, found.used_ug) == (Period(NOVEMBER, DECEMBER), 5 * 10**9, 5)
    assert (found.parent, found.accounting, found.per_workload, found.uid) == ("company", "MarketBased", False, "u")


def test_a_use_that_is_not_known_or_of_another_spec_is_none() -> None:
    def used(verdict: Verdict) -> int | None:
        found = transfer_figures(stored(a_body()), verdict)
        assert found is not None
        return found.used_ug

    assert used(VERDICT) == 5
    assert used(replace(VERDICT, state=State.UNKNOWN)) is None
    assert used(replace(VERDICT, generation=2)) is None


def test_a_budget_that_was_never_evaluated_or_cannot_be_has_no_figures() -> None:
    assert transfer_figures(stored(a_body()), None) is None
    assert transfer_figures(stored(a_body(limit="x")), VERDICT) is None


async def test_the_evaluation_loop_gives_the_figures_of_namespaced_budgets_that_it_evaluated(bench: Bench) -> None:
    bench.add("monthly")
    bench.add_cluster_wide("all")
    bench.world.used_ug = 700
    assert bench.loop.transfer_figures() == {}
    await bench.evaluate()
    found = bench.loop.transfer_figures()
    assert list(found) == ["team-a/monthly"]
    assert found["team-a/monthly"].used_ug == 700
