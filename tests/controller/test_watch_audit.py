"""The watch audit: whether the watch has shown all budgets as they are, against an API server that lists them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from tests.controller.api_server import ApiServer, eventually
from tests.controller.objects import Body, a_body, a_cluster_body

from carbonbudget_operator.api.wire_names import BUDGET, CLUSTER_BUDGET, RESOURCES
from carbonbudget_operator.controller.budget_store import BudgetStore
from carbonbudget_operator.controller.watch_audit import WatchAudit
from carbonbudget_operator.kube.client import KubeClient
from carbonbudget_operator.kube.credentials import Credentials


class Bench:
    """A audit over what `shown` gave the store; there is no watch."""

    def __init__(self, api: ApiServer, client: KubeClient) -> None:
        self.api, self.client, self.store = api, client, BudgetStore()

    def is_there(self, name: str, shown: bool, limit: str = "1kg") -> Body:
        body = a_body(limit=limit)
        body["metadata"] |= {"name": name, "uid": name}
        self.api.put(BUDGET, body)
        if shown:
            self.store.seen(BUDGET, "ADDED", body | {"metadata": dict(body["metadata"])})
        return body

    def audit(self, grace_seconds: float = 0.0) -> WatchAudit:
        return WatchAudit(self.client, self.store, every_seconds=0.01, grace_seconds=grace_seconds)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    api = ApiServer()
    await api.start()
    client = KubeClient.connect(Credentials(f"http://127.0.0.1:{api.port}", lambda: ""))
    yield Bench(api, client)
    await client.close()
    await api.stop()


async def test_a_watch_that_has_shown_everything_is_current_also_where_there_is_nothing(bench: Bench) -> None:
    bench.is_there("a", shown=True)
    assert await bench.audit().compare() == list(RESOURCES)


@pytest.mark.parametrize("what", ["made", "changed"])
async def test_a_budget_that_the_watch_does_not_show_as_it_is_is_told_by_kind(
    bench: Bench, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    bench.is_there("a", shown=True)
    bench.is_there("a" if what == "changed" else "b", shown=False, limit="2kg")
    assert await bench.audit().compare() == [CLUSTER_BUDGET]
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        "the watch of carbonbudgets has missed changes of 1 objects"
    ]


async def test_a_change_whose_event_was_under_way_is_waited_for(bench: Bench) -> None:
    bench.is_there("a", shown=True)
    body = bench.is_there("a", shown=False, limit="2kg")
    taking = asyncio.create_task(bench.audit(grace_seconds=0.2).compare())
    await eventually(lambda: all(bench.api.lists.values()))
    bench.store.seen(BUDGET, "MODIFIED", body)
    assert await taking == list(RESOURCES)


async def test_one_that_went_or_was_made_anew_while_the_lists_were_made_is_no_fault(bench: Bench) -> None:
    for name in ("goes", "again"):
        bench.is_there(name, shown=True)
    bench.is_there("late", shown=False)  # so that the audit waits
    taking = asyncio.create_task(bench.audit(grace_seconds=0.2).compare())
    await eventually(lambda: all(bench.api.lists.values()))
    bench.store.forget("team-a/goes", "goes")
    body = a_body()
    body["metadata"] |= {"name": "again", "uid": "another"}
    bench.store.seen(BUDGET, "ADDED", body)
    late = a_body()
    late["metadata"] |= {"name": "late", "uid": "late", "resourceVersion": "99"}
    bench.store.seen(BUDGET, "ADDED", late)
    assert await taking == list(RESOURCES)


async def test_what_agrees_makes_the_watch_current_and_what_does_not_lets_it_age(bench: Bench) -> None:
    bench.api.put(CLUSTER_BUDGET, a_cluster_body())  # the watch has never shown it
    running = asyncio.create_task(bench.audit().run())
    await asyncio.sleep(0)
    began = bench.client.watches.current_at()
    assert began.keys() == {str(resource.collection) for resource in RESOURCES}
    await eventually(lambda: bench.client.watches.current_at()[str(BUDGET.collection)] > began[str(BUDGET.collection)])
    assert bench.client.watches.current_at()[str(CLUSTER_BUDGET.collection)] == began[str(CLUSTER_BUDGET.collection)]
    bench.api.status = 503  # nothing is known then
    await eventually(lambda: bench.api.requests > 20)
    stood = bench.client.watches.current_at()
    await eventually(lambda: bench.api.requests > 30)
    assert bench.client.watches.current_at() == stood
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    assert bench.client.watches.current_at() == {}
