"""The watch of budgets, against an API server that fails in every way, and what is kept of what it shows."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from prometheus_client import CollectorRegistry
from tests.controller.api_server import ApiServer, eventually
from tests.controller.objects import NOW, Body, a_body, a_cluster_body

from carbonbudget_operator.api.names import BUDGET, CLUSTER_BUDGET, RESOURCES
from carbonbudget_operator.controller.case import BadBudget, prepare
from carbonbudget_operator.controller.inventory import Inventory
from carbonbudget_operator.controller.run import serve_probe
from carbonbudget_operator.controller.watching import follow
from carbonbudget_operator.kube.client import KubeClient
from carbonbudget_operator.kube.credentials import Credentials
from carbonbudget_operator.namespaces import Namespaces


@pytest.fixture
async def api() -> AsyncIterator[ApiServer]:
    server = ApiServer()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def inventory(api: ApiServer) -> AsyncIterator[Inventory]:
    """Filled by the controller's watches of both kinds, of which one object each is there."""
    filled = Inventory()
    client = KubeClient.connect(Credentials(f"http://127.0.0.1:{api.port}", lambda: ""))
    api.put(BUDGET, named("first"))
    api.put(CLUSTER_BUDGET, a_cluster_body())
    tasks = [asyncio.create_task(follow(client, resource, filled)) for resource in RESOURCES]
    await eventually(lambda: {"team-a/first", "/all"} <= filled.held().keys())
    await eventually(lambda: all(api.watching(resource.plural) for resource in RESOURCES))
    yield filled
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks, timeout=10)
    await client.close()


def named(name: str, uid: str = "", namespace: str = "team-a", **spec: object) -> Body:
    body = a_body(**spec)
    body["metadata"] |= {"name": name, "uid": uid or name, "namespace": namespace}
    return body


async def sees_new_budgets(api: ApiServer, inventory: Inventory) -> None:
    """Both kinds, by the watch."""
    api.put(BUDGET, named("later"))
    another = a_cluster_body()
    another["metadata"] |= {"name": "later", "uid": "c2"}
    api.put(CLUSTER_BUDGET, another)
    await eventually(lambda: {"team-a/later", "/later"} <= inventory.held().keys(), seconds=60)


async def test_objects_are_watched_and_never_written_to(api: ApiServer, inventory: Inventory) -> None:
    """No finalizer and no annotation: a namespace that is deleted while the operator is away waits for nobody."""
    await sees_new_budgets(api, inventory)
    api.delete(BUDGET, "first")
    await eventually(lambda: "team-a/first" not in inventory.held())
    assert api.writes == []


async def test_an_api_server_that_is_away_is_watched_again(api: ApiServer, inventory: Inventory) -> None:
    await api.stop()
    await api.start()
    await sees_new_budgets(api, inventory)


async def test_an_api_server_that_answers_5xx_is_watched_again(api: ApiServer, inventory: Inventory) -> None:
    api.status, api.requests = 503, 0
    api.gone()
    await eventually(lambda: api.requests >= 4, seconds=30)
    api.status = 0
    await sees_new_budgets(api, inventory)


async def test_after_410_gone_what_went_meanwhile_is_gone_and_the_other_kind_stays(
    api: ApiServer, inventory: Inventory
) -> None:
    api.status = 503  # so that the watch is away while the object goes
    api.gone()
    del api.objects["carbonbudgets"]["first"]
    api.put(BUDGET, named("second"))
    api.status = 0
    await eventually(lambda: sorted(inventory.held()) == ["/all", "team-a/second"], seconds=30)


async def test_a_budget_made_anew_while_the_watch_was_away_takes_the_place_of_the_former(
    api: ApiServer, inventory: Inventory
) -> None:
    api.status = 503
    api.gone()
    del api.objects["carbonbudgets"]["first"]
    api.status = 0
    api.put(BUDGET, named("first", "another", limit="1t"))
    await eventually(lambda: inventory.held()["team-a/first"].uid == "another", seconds=30)


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
    inventory = Inventory()

    def rings(event: str, **metadata: object) -> bool:
        inventory.changed.clear()
        body = a_body()
        inventory.seen(BUDGET, event, body | {"metadata": body["metadata"] | metadata})
        return inventory.changed.is_set()

    assert rings("ADDED")
    assert not rings("MODIFIED", labels={"ours": "true"})
    assert rings("MODIFIED", generation=4)
    assert rings("ADDED", generation=4, uid="another")
    assert not rings("DELETED", uid="u")  # the end of the former one, told late
    assert list(inventory.held()) == ["team-a/monthly"]
    assert not rings("DELETED", uid="another")
    assert inventory.held() == {}


def kept_bytes(inventory: Inventory) -> int:
    return len(json.dumps([held.body for held in inventory.held().values()]))


def refusal(inventory: Inventory, key: str) -> str:
    with pytest.raises(BadBudget) as error:
        prepare(inventory.held()[key], NOW, Namespaces())
    return str(error.value)


def test_of_an_objects_metadata_only_what_is_used_is_kept() -> None:
    inventory = Inventory()
    body = named("padded")
    body["metadata"] |= {
        "labels": {f"k{n}": "x" * 60 for n in range(10_000)} | {"carbonbudget.dev/blocking": "true"},
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "x" * 250_000},
        "managedFields": [{"manager": f"m{n}"} for n in range(1000)],
    }
    inventory.seen(BUDGET, "ADDED", body)
    (held,) = inventory.held().values()
    assert kept_bytes(inventory) < 2_000
    assert held.metadata["labels"] == {"carbonbudget.dev/blocking": "true"}
    assert prepare(held, NOW, Namespaces()).spec.limit == "5kg"


def test_an_object_that_came_without_its_spec_is_said_to_be_too_large() -> None:
    inventory = Inventory()
    inventory.seen(BUDGET, "ADDED", {"metadata": named("huge")["metadata"]})
    assert "too large to be judged" in refusal(inventory, "team-a/huge")


def test_one_namespaces_budgets_take_a_bounded_sum_and_no_others_are_left_out() -> None:
    inventory = Inventory()
    large: dict[str, Any] = {"matchLabels": {"k" * 300_000: "x"}}  # of before the CRD's bounds
    for number in range(40):
        inventory.seen(BUDGET, "ADDED", named(f"b{number}", selector=large))
    inventory.seen(BUDGET, "ADDED", named("mine", namespace="team-b"))
    assert kept_bytes(inventory) < 4.2 * 2**20
    assert prepare(inventory.held()["team-b/mine"], NOW, Namespaces())
    assert prepare(inventory.held()["team-a/b0"], NOW, Namespaces())
    assert "are together larger than the 4 MiB" in refusal(inventory, "team-a/b39")
    for number in range(10):
        inventory.seen(BUDGET, "DELETED", named(f"b{number}", selector=large))
    inventory.seen(BUDGET, "MODIFIED", named("b39", selector=large))
    assert prepare(inventory.held()["team-a/b39"], NOW, Namespaces())  # there is room again
    for number in range(10, 40):
        inventory.seen(BUDGET, "DELETED", named(f"b{number}", selector=large))
    inventory.seen(BUDGET, "DELETED", named("mine", namespace="team-b"))
    assert inventory._sums == inventory._bytes == {}
