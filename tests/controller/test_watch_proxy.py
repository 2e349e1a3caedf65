"""What kopf is shown of budgets: reduced, and bounded for each namespace, whatever their authors wrote."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from tests.controller.api_server import ApiServer, eventually
from tests.controller.objects import Body, a_body

from carbonbudget_operator.api.wire_names import BLOCKING_LABEL, BUDGET
from carbonbudget_operator.controller.budget_store import BudgetStore
from carbonbudget_operator.controller.object_trimming import CROWDED, MOST_OF_A_NAMESPACE, TOO_LARGE
from carbonbudget_operator.controller.watch_proxy import BudgetWatchProxy
from carbonbudget_operator.kube.client import KubeClient
from carbonbudget_operator.kube.credentials import Credentials

LIST = "http://localhost/apis/carbonbudget.dev/v1alpha1/carbonbudgets"
PADDED = {"f:spec": {f"f:{n}": {} for n in range(20_000)}}


@pytest.fixture
async def api() -> AsyncIterator[ApiServer]:
    server = ApiServer()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def session(api: ApiServer) -> AsyncIterator[aiohttp.ClientSession]:
    client = KubeClient.connect(Credentials(f"http://127.0.0.1:{api.port}", lambda: "t"))
    feed = BudgetWatchProxy(client)
    await feed.start()
    async with feed.login().aiohttp_session as made:
        yield made
    await feed.stop()
    await client.close()


def a_budget(name: str, namespace: str = "team-a", size: int = 0, **metadata: object) -> Body:
    """`size` bytes of its spec are its selector's."""
    body = a_body(**({"selector": {"matchLabels": {"a": "x" * size}}} if size else {}))
    body["metadata"] |= {"name": name, "uid": f"{namespace}-{name}", "namespace": namespace} | metadata
    return body


async def listed(session: aiohttp.ClientSession) -> tuple[list[dict[str, Any]], int]:
    async with session.get(LIST) as answer:
        assert answer.status == 200
        text = await answer.read()
    return json.loads(text)["items"], len(text)


async def test_of_the_metadata_kopf_is_shown_what_is_used(api: ApiServer, session: aiohttp.ClientSession) -> None:
    labels = {BLOCKING_LABEL: "true"} | {f"k{n}": "v" for n in range(1_000)}
    api.put(BUDGET, a_budget("a", managedFields=[{"fieldsV1": PADDED}], labels=labels, annotations={"a": "b" * 9_000}))
    (item,), size = await listed(session)
    assert size < 2_000
    assert set(item["metadata"]) <= {"name", "namespace", "uid", "generation", "resourceVersion", "labels"}
    assert item["metadata"]["labels"] == {BLOCKING_LABEL: "true"}
    assert item["spec"] == api.objects["carbonbudgets"]["team-a-a"]["spec"]
    assert (item["apiVersion"], item["kind"]) == ("carbonbudget.dev/v1alpha1", "CarbonBudget")


async def test_of_a_namespace_kopf_is_shown_a_bounded_sum_and_others_are_whole(
    api: ApiServer, session: aiohttp.ClientSession
) -> None:
    for n in range(30):
        api.put(BUDGET, a_budget(f"x{n}", "attacker", size=300_000))
    api.put(BUDGET, a_budget("mine", "team-b"))
    items, size = await listed(session)
    assert len(items) == 31
    assert size < MOST_OF_A_NAMESPACE + 100_000
    kept = [item for item in items if "spec" in item]
    assert {item["metadata"]["namespace"] for item in kept} == {"attacker", "team-b"}
    assert 10 < len(kept) < 16

    store = BudgetStore()
    for item in items:
        store.seen(BUDGET, None, item)
    reasons = [stored.missing_spec_reason for stored in store.snapshot().values() if stored.namespace == "attacker"]
    assert set(reasons) == {"", CROWDED}
    assert store.snapshot()["team-b/mine"].missing_spec_reason == ""


async def test_an_object_of_the_watch_is_shown_in_the_same_way(api: ApiServer, session: aiohttp.ClientSession) -> None:
    async with session.get(LIST, params={"watch": "true", "resourceVersion": "1"}) as answer:
        await eventually(lambda: api.watching("carbonbudgets"))
        api.put(BUDGET, a_budget("a", managedFields=[{"fieldsV1": PADDED}]))
        api.put(BUDGET, a_budget("b", size=2**20))
        small, large = [json.loads(await answer.content.readline()) for _ in range(2)]
    assert (small["type"], "managedFields" in small["object"]["metadata"]) == ("ADDED", False)
    assert (large["object"]["leftOut"], "spec" in large["object"]) == (TOO_LARGE, False)


async def test_a_version_that_is_too_old_is_said_as_kopf_reads_it(
    api: ApiServer, session: aiohttp.ClientSession
) -> None:
    api.status = 410
    async with session.get(LIST, params={"watch": "true", "resourceVersion": "1"}) as answer:
        said = json.loads(await answer.content.readline())
    assert (said["type"], said["object"]["code"]) == ("ERROR", 410)


@pytest.mark.parametrize("status", [401, 403, 404, 500, 503])
async def test_a_list_that_fails_is_one_to_be_tried_again(
    api: ApiServer, session: aiohttp.ClientSession, status: int
) -> None:
    api.status = status
    async with session.get(LIST) as answer:
        assert (answer.status, (await answer.json())["message"]) == (503, "not now")


async def test_without_its_socket_it_ends_and_does_not_leave_kopf_to_try_for_ever(api: ApiServer) -> None:
    client = KubeClient.connect(Credentials(f"http://127.0.0.1:{api.port}", lambda: "t"))
    feed = BudgetWatchProxy(client)
    await feed.start()
    running = asyncio.create_task(feed.run(0.01))
    done, _ = await asyncio.wait([running], timeout=0.1)
    assert not done
    async with feed.login().aiohttp_session as session:
        assert isinstance(session.connector, aiohttp.UnixConnector)
        os.unlink(session.connector.path)
        with pytest.raises(RuntimeError, match="no budget is seen"):
            await asyncio.wait_for(running, 10)
    await feed.stop()
    await client.close()


async def test_nothing_is_written_by_way_of_it(api: ApiServer, session: aiohttp.ClientSession) -> None:
    api.put(BUDGET, a_budget("a"))
    async with session.patch(f"{LIST}/a", json={"metadata": {"finalizers": []}}) as answer:
        assert answer.status in (404, 405)
    assert api.writes == []
