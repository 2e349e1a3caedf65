"""What ends or blinds an ordinary kopf operator, against a real kopf and an API server that fails in that way.

Three minutes of failure are some six of the longest backoff (30 s). Here the longest is 20 ms, and a failure
lasts for a hundred attempts.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import kopf
import pytest
from prometheus_client import CollectorRegistry
from tests.controller.api_server import ApiServer, eventually
from tests.controller.objects import Body, a_body, a_cluster_body

from carbonbudget_operator.api.wire_names import BUDGET, CLUSTER_BUDGET, RESOURCES, Resource
from carbonbudget_operator.controller.budget_store import BudgetStore
from carbonbudget_operator.controller.kopf_setup import EndlessBackoffs, configure, registry_of, stopped_watches
from carbonbudget_operator.controller.liveness_probe import serve_probe
from carbonbudget_operator.controller.watch_audit import WatchAudit
from carbonbudget_operator.controller.watch_proxy import BudgetWatchProxy
from carbonbudget_operator.kube.client import KubeClient
from carbonbudget_operator.kube.credentials import Credentials

ATTEMPTS = 100
# Times of a list are a hundredth of the real ones: kopf's limit, where it has one, and a page.
SCALE = 100
PAGE_SECONDS = 0.05


@pytest.fixture
async def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ApiServer]:
    server = ApiServer()
    await server.start()
    kubeconfig = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.port}"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    (tmp_path / "kubeconfig").write_text(json.dumps(kubeconfig))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    yield server
    await server.stop()


@pytest.fixture
async def store(api: ApiServer) -> AsyncIterator[BudgetStore]:
    """Filled by a kopf that is set up as the controller's, but for the length of its backoffs."""
    filled = BudgetStore()
    client = KubeClient.connect(Credentials(f"http://127.0.0.1:{api.port}", lambda: "t"))
    feed = BudgetWatchProxy(client, pause_seconds=0.02)
    await feed.start()
    settings = kopf.OperatorSettings()
    configure(settings, EndlessBackoffs(0.005, 0.02))
    settings.process.ultimate_exiting_timeout = 5
    if settings.networking.request_timeout is not None:
        settings.networking.request_timeout /= SCALE
    # Not kopf.operator: when that ends it cancels every task of the loop that is younger, pytest's own too.
    tasks = await kopf.spawn_tasks(
        registry=registry_of(filled, feed),
        settings=settings,
        clusterwide=True,
        standalone=True,
        identity="test",  # type: ignore[arg-type] # kopf's own alias of str
    )
    api.put(BUDGET, named("first"))
    api.put(CLUSTER_BUDGET, a_cluster_body())
    await eventually(lambda: all(api.watching(resource.plural) for resource in RESOURCES))
    await eventually(lambda: {"team-a/first", "/all"} <= filled.snapshot().keys())
    yield filled
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks, timeout=10)
    await feed.stop()
    await client.close()


def named(name: str, uid: str = "", **spec: object) -> Body:
    body = a_body(**spec)
    body["metadata"] |= {"name": name, "uid": uid or name}
    return body


def held_limit(store: BudgetStore, name: str) -> object:
    stored = store.snapshot().get(f"team-a/{name}")
    return stored.body["spec"]["limit"] if stored else None


async def sees_new_budgets(api: ApiServer, store: BudgetStore) -> None:
    """Both kinds, by the watch."""
    assert stopped_watches() == []
    api.put(BUDGET, named("later"))
    another = a_cluster_body()
    another["metadata"] |= {"name": "later", "uid": "c2"}
    api.put(CLUSTER_BUDGET, another)
    await eventually(lambda: {"team-a/later", "/later"} <= store.snapshot().keys())


async def test_objects_are_watched_and_never_written_to(api: ApiServer, store: BudgetStore) -> None:
    """No finalizer and no annotation: a namespace that is deleted while the operator is away waits for nobody."""
    await sees_new_budgets(api, store)
    api.delete(BUDGET, "first")
    await eventually(lambda: "team-a/first" not in store.snapshot())
    assert api.writes == []


async def test_an_event_that_was_handled_is_no_line_of_the_log_unless_one_debugs(
    api: ApiServer, store: BudgetStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for limit in ("1kg", "2kg"):  # the events of one object come one after another: by the second the first is told of
        api.put(BUDGET, named("quiet", limit=limit))
        await eventually(lambda limit=limit: held_limit(store, "quiet") == limit)
    assert "succeeded" not in caplog.text

    caplog.set_level(logging.NOTSET, logger="kopf")
    caplog.set_level(logging.DEBUG)
    configure(kopf.OperatorSettings())
    api.put(BUDGET, named("debugged"))
    await eventually(lambda: "succeeded" in caplog.text)


async def test_an_api_server_that_is_away_for_long_is_watched_again(api: ApiServer, store: BudgetStore) -> None:
    await api.stop()
    await asyncio.sleep(ATTEMPTS * 0.02)  # nobody counts the attempts at a port on which nobody listens
    await api.start()
    await eventually(lambda: all(api.watching(resource.plural) for resource in RESOURCES))
    await sees_new_budgets(api, store)


async def test_an_api_server_that_answers_5xx_for_long_is_watched_again(api: ApiServer, store: BudgetStore) -> None:
    api.status, api.requests = 503, 0
    api.gone()
    await eventually(lambda: api.requests >= ATTEMPTS)
    api.status = 0
    await eventually(lambda: all(api.watching(resource.plural) for resource in RESOURCES))
    await sees_new_budgets(api, store)


async def test_after_410_gone_all_is_listed_again_and_an_audit_finds_what_went(
    api: ApiServer, store: BudgetStore
) -> None:
    lists = dict(api.lists)
    api.status = 503  # so that the watch is away while the objects go
    api.gone()
    del api.objects["carbonbudgets"]["first"]
    del api.objects["clustercarbonbudgets"]["c"]
    api.status = 0
    await eventually(lambda: all(api.lists[plural] > before for plural, before in lists.items()))
    await sees_new_budgets(api, store)
    assert {"team-a/first", "/all"} <= store.snapshot().keys()  # kopf does not tell
    client = KubeClient.connect(Credentials(f"http://127.0.0.1:{api.port}", lambda: ""))
    await WatchAudit(client, store).compare()
    await client.close()
    assert sorted(store.snapshot()) == ["/later", "team-a/later"]


async def test_a_list_that_takes_longer_than_any_single_request_is_read_once_to_its_end(
    api: ApiServer, store: BudgetStore
) -> None:
    """Each page is answered in time, and all of them together are not: kopf would begin again for ever."""
    for number in range(40):
        api.put(BUDGET, named(f"b{number}"))
    api.status = 503  # the watch is away, so that only a list shows what comes now
    api.gone()
    api.put(BUDGET, named("only-listed"))
    lists, api.page_seconds = api.lists["carbonbudgets"], PAGE_SECONDS
    api.status = 0
    await eventually(lambda: "team-a/only-listed" in store.snapshot(), seconds=30)
    await eventually(lambda: api.watching("carbonbudgets"))
    assert api.lists["carbonbudgets"] == lists + 1


async def test_a_list_whose_page_is_refused_halfway_begins_again(api: ApiServer, store: BudgetStore) -> None:
    for number in range(20):
        api.put(BUDGET, named(f"b{number}"))
    api.status = 503
    api.gone()
    lists, api.page_seconds = api.lists["carbonbudgets"], PAGE_SECONDS
    api.put(BUDGET, named("only-listed"))
    api.status = 0
    await eventually(lambda: api.lists["carbonbudgets"] > lists)
    api.status = 503
    await asyncio.sleep(2 * PAGE_SECONDS)  # the next page is refused
    api.status = 0
    await eventually(lambda: "team-a/only-listed" in store.snapshot(), seconds=30)
    await eventually(lambda: api.watching("carbonbudgets"))
    assert stopped_watches() == []


async def test_a_budget_made_anew_while_the_watch_was_away_takes_the_place_of_the_former(
    api: ApiServer, store: BudgetStore
) -> None:
    api.status = 503
    api.gone()
    del api.objects["carbonbudgets"]["first"]
    api.status = 0
    api.put(BUDGET, named("first", "another", limit="1t"))
    await eventually(lambda: store.snapshot()["team-a/first"].uid == "another")


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda resource: str(resource.plural))
async def test_a_watcher_that_ends_fails_the_probe_whichever_kind_it_is_of(
    api: ApiServer, store: BudgetStore, resource: Resource
) -> None:
    runner = await serve_probe("127.0.0.1", 0, CollectorRegistry(), [], patience_seconds=0)
    address = f"http://127.0.0.1:{runner.addresses[0][1]}/healthz"

    async def probe() -> tuple[int, str]:
        async with aiohttp.ClientSession() as session, session.get(address) as response:
            return response.status, await response.text()

    assert await probe() == (200, "ok")
    for task in asyncio.all_tasks():  # as by a defect of kopf's: what the API server answers ends none
        if task.get_name().startswith(f"watcher for {resource.plural}."):
            task.cancel()
    await eventually(lambda: stopped_watches() == [resource.plural])
    assert await probe() == (500, f"ended: the watch of {resource.plural}")
    await runner.cleanup()


@pytest.mark.parametrize("status", [401, 403, 404, 422])
async def test_no_answer_of_the_api_server_ends_a_watch_for_good(
    api: ApiServer, store: BudgetStore, status: int
) -> None:
    """404 is what a deleted CRD answers. kopf by itself gives up, or logs in again and again."""
    api.status, api.requests = status, 0
    api.gone()
    await eventually(lambda: api.requests >= ATTEMPTS // 4)
    assert stopped_watches() == []
    api.status = 0
    await eventually(lambda: all(api.watching(resource.plural) for resource in RESOURCES))
    await sees_new_budgets(api, store)
