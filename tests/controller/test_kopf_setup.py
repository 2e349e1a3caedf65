"""kopf's settings: the traps that were measured stay closed; and what is kept of what its watch shows."""

from __future__ import annotations

import asyncio
import json
from itertools import islice
from typing import Any

import aiohttp
import kopf
import pytest
from prometheus_client import CollectorRegistry
from tests.controller.objects import NOW, Body, a_body

from carbonbudget_operator.api.wire_names import BUDGET
from carbonbudget_operator.controller.budget_store import BudgetStore
from carbonbudget_operator.controller.kopf_setup import EndlessBackoffs, configure
from carbonbudget_operator.controller.liveness_probe import serve_probe
from carbonbudget_operator.controller.prepared_budget import InvalidBudget, prepare_budget
from carbonbudget_operator.namespace_labels import Namespaces


def named(name: str, uid: str = "", namespace: str = "team-a", **spec: object) -> Body:
    body = a_body(**spec)
    body["metadata"] |= {"name": name, "uid": uid or name, "namespace": namespace}
    return body


def test_attempts_never_run_out_and_never_wait_longer_than_half_a_minute() -> None:
    delays = list(islice(EndlessBackoffs(), 1000))
    assert delays[:6] == [1, 2, 4, 8, 16, 30]
    assert set(delays[5:]) == {30}


def test_kopf_posts_nothing_and_watches_no_other_resource() -> None:
    settings = kopf.OperatorSettings()
    configure(settings)
    assert settings.posting.enabled is False
    assert settings.scanning.disabled is True
    assert settings.peering.standalone is True
    assert settings.watching.client_timeout is not None
    assert settings.watching.server_timeout is not None
    assert settings.watching.client_timeout > settings.watching.server_timeout


async def test_the_probe_fails_when_a_task_has_ended() -> None:
    async def ends() -> None:
        pass

    task = asyncio.create_task(ends(), name="evaluation")
    runner = await serve_probe("127.0.0.1", 0, CollectorRegistry(), [task])
    address = f"http://127.0.0.1:{runner.addresses[0][1]}/healthz"
    await task
    async with aiohttp.ClientSession() as session, session.get(address) as response:
        assert (response.status, await response.text()) == (500, "ended: evaluation")
    await runner.cleanup()


def test_only_a_new_budget_or_generation_rings_the_bell() -> None:
    store = BudgetStore()

    def rings(event: str | None, **metadata: object) -> bool:
        store.changed.clear()
        body = a_body()
        store.seen(BUDGET, event, body | {"metadata": body["metadata"] | metadata})
        return store.changed.is_set()

    assert rings(None)
    assert not rings("MODIFIED", labels={"ours": "true"})
    assert rings("MODIFIED", generation=4)
    assert rings("ADDED", generation=4, uid="another")
    assert not rings("DELETED", uid="u")  # the end of the former one, told late
    assert list(store.snapshot()) == ["team-a/monthly"]
    assert not rings("DELETED", uid="another")
    assert store.snapshot() == {}


def kept_bytes(store: BudgetStore) -> int:
    return len(json.dumps([stored.body for stored in store.snapshot().values()]))


def refusal(store: BudgetStore, key: str) -> str:
    with pytest.raises(InvalidBudget) as error:
        prepare_budget(store.snapshot()[key], NOW, Namespaces())
    return str(error.value)


def test_of_an_objects_metadata_only_what_is_used_is_kept() -> None:
    store = BudgetStore()
    body = named("padded")
    body["metadata"] |= {
        "labels": {f"k{n}": "x" * 60 for n in range(10_000)} | {"carbonbudget.dev/blocking": "true"},
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "x" * 250_000},
        "managedFields": [{"manager": f"m{n}"} for n in range(1000)],
    }
    store.seen(BUDGET, "ADDED", body)
    (stored,) = store.snapshot().values()
    assert kept_bytes(store) < 2_000
    assert stored.metadata["labels"] == {"carbonbudget.dev/blocking": "true"}
    assert prepare_budget(stored, NOW, Namespaces()).spec.limit == "5kg"


def test_an_object_that_is_larger_than_the_crds_allow_is_said_to_be_too_large() -> None:
    store = BudgetStore()
    store.seen(BUDGET, "ADDED", named("huge", selector={"matchLabels": {"k" * 2**20: "x"}}))
    assert kept_bytes(store) < 1_000
    assert "too large to be evaluated" in refusal(store, "team-a/huge")


def test_one_namespaces_budgets_take_a_bounded_sum_and_no_others_are_left_out() -> None:
    store = BudgetStore()
    large: dict[str, Any] = {"matchLabels": {"k" * 300_000: "x"}}  # of before the CRD's bounds
    for number in range(40):
        store.seen(BUDGET, "ADDED", named(f"b{number}", selector=large))
    store.seen(BUDGET, "ADDED", named("mine", namespace="team-b"))
    assert kept_bytes(store) < 4.2 * 2**20
    assert prepare_budget(store.snapshot()["team-b/mine"], NOW, Namespaces())
    assert prepare_budget(store.snapshot()["team-a/b0"], NOW, Namespaces())
    assert "are together larger than the limit of 4 MiB" in refusal(store, "team-a/b39")
    for number in range(10):
        store.seen(BUDGET, "DELETED", named(f"b{number}", selector=large))
    store.seen(BUDGET, "MODIFIED", named("b39", selector=large))
    assert prepare_budget(store.snapshot()["team-a/b39"], NOW, Namespaces())  # there is room again
    for number in range(10, 40):
        store.seen(BUDGET, "DELETED", named(f"b{number}", selector=large))
    store.seen(BUDGET, "DELETED", named("mine", namespace="team-b"))
    assert store._sums == store._bytes == {}
