"""Which version of Kueue's API is used, against an API server that is a small HTTP server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from prometheus_client import CollectorRegistry

from carbonbudget_operator.controller.suspension_conflicts import ConflictStore
from carbonbudget_operator.enforcement.budget_effects_removal import AUTO, BudgetEffectsRemoval, RemovalScope
from carbonbudget_operator.enforcement.enforcement_loop import EnforcementLoop
from carbonbudget_operator.enforcement.kueue_versions import served_version
from carbonbudget_operator.enforcement.metrics import EnforcementMetrics
from carbonbudget_operator.kube.client import KubeClient
from carbonbudget_operator.kube.credentials import Credentials
from carbonbudget_operator.server_client import ServerClient
from carbonbudget_operator.settings import EnforcementSettings

GROUP_PATH = "/apis/kueue.x-k8s.io"
NEWEST_FIRST = ["v1", "v1beta2", "v1beta1", "v1alpha1"]


@asynccontextmanager
async def an_api_server(
    statuses: dict[str, int], without_workloads: Collection[str] = (), preferred: str = ""
) -> AsyncIterator[tuple[KubeClient, list[str]]]:
    """By version of Kueue's API the status of the answer, 404 for others; and the paths that were asked.

    `preferred`: the version that the API server prefers; the newest if it is empty. "group" has the group's status.
    """
    asked: list[str] = []

    def the_group() -> web.Response:
        listed = sorted((version for version in statuses if version != "group"), key=NEWEST_FIRST.index)
        names = [{"groupVersion": f"kueue.x-k8s.io/{version}", "version": version} for version in listed]
        first = {"version": preferred or listed[0]} if listed else {}
        body = {"kind": "APIGroup", "versions": names, "preferredVersion": first}
        return web.json_response(body, status=statuses.get("group", 200 if listed else 404))

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        if request.path == GROUP_PATH:
            return the_group()
        version = request.path.split("/")[3]
        status = statuses.get(version, 404)
        resources = [{"name": "clusterqueues"}, {"name": "workloads/status"}]
        if version not in without_workloads:
            resources.append({"name": "workloads"})
        body = {"items": [], "metadata": {}, "message": "refused", "resources": resources}
        return web.json_response(body, status=status)

    api = web.Application()
    api.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(api) as server:
        client = KubeClient.connect(Credentials(str(server.make_url("")).rstrip("/"), lambda: ""))
        try:
            yield client, asked
        finally:
            await client.close()


@pytest.mark.parametrize(
    ("served", "used"),
    [
        (["v1beta1"], "v1beta1"),
        (["v1beta1", "v1beta2"], "v1beta2"),
        (["v1", "v1beta2"], "v1"),
        (["v1alpha1"], ""),
        ([], ""),
    ],
)
async def test_it_is_the_newest_that_is_served(served: list[str], used: str) -> None:
    async with an_api_server(dict.fromkeys(served, 200)) as (client, _):
        assert await served_version(client) == used


async def test_it_is_the_one_that_the_api_server_prefers_even_if_it_serves_a_newer_one() -> None:
    """A new version is served some releases before it is preferred, and may have other fields until then."""
    served = dict.fromkeys(["v1", "v1beta2", "v1beta1"], 200)
    async with an_api_server(served, preferred="v1beta2") as (client, _):
        assert await served_version(client) == "v1beta2"


async def test_a_preferred_version_without_workloads_or_unknown_to_us_gives_way_to_the_newest_other() -> None:
    served = dict.fromkeys(["v1beta2", "v1beta1", "v1alpha1"], 200)
    async with an_api_server(served, ["v1beta2"], preferred="v1beta2") as (client, _):
        assert await served_version(client) == "v1beta1"
    async with an_api_server(served, preferred="v1alpha1") as (client, _):
        assert await served_version(client) == "v1beta2"


async def test_a_version_that_the_api_server_does_not_list_is_not_asked_for() -> None:
    async with an_api_server({"v1beta2": 200}) as (client, asked):
        assert await served_version(client) == "v1beta2"
    assert asked == [GROUP_PATH, f"{GROUP_PATH}/v1beta2"]


async def test_a_version_that_a_cached_list_still_names_is_passed_over() -> None:
    async with an_api_server({"v1": 404, "v1beta2": 200}) as (client, _):
        assert await served_version(client) == "v1beta2"


async def test_a_version_that_serves_other_kinds_but_no_workloads_is_passed_over() -> None:
    async with an_api_server(dict.fromkeys(["v1", "v1beta2", "v1beta1"], 200), ["v1", "v1beta2"]) as (client, _):
        assert await served_version(client) == "v1beta1"


async def test_a_group_without_workloads_counts_as_no_kueue() -> None:
    async with an_api_server({"v1": 200, "v1beta2": 200}, ["v1", "v1beta2"]) as (client, _):
        assert await served_version(client) == ""


@pytest.mark.parametrize(
    ("statuses", "setting", "used"),
    [
        ({"v1beta1": 200, "v1beta2": 200}, "v1beta1", "v1beta2"),
        ({"v1beta1": 200}, "v1beta2", "v1beta1"),
        ({"v1": 403}, "v1beta2", "v1beta2"),
    ],
)
async def test_the_controller_goes_by_it_and_by_its_setting_where_it_is_unknown(
    statuses: dict[str, int], setting: str, used: str
) -> None:
    async with an_api_server(statuses) as (client, asked):
        settings, metrics = (
            EnforcementSettings.model_validate({"kueue": setting}),
            EnforcementMetrics(CollectorRegistry()),
        )
        loop = EnforcementLoop(
            client,
            ServerClient("http://127.0.0.1:1", None, lambda: ""),
            dict,
            asyncio.Event(),
            dict,
            ConflictStore(),
            settings,
            frozenset(),
            metrics,
            60,
            35,
        )
        following = asyncio.create_task(loop.follow_workloads())
        path = f"/apis/kueue.x-k8s.io/{used}/workloads"
        async with asyncio.timeout(10):
            while path not in asked:  # noqa: ASYNC110 - the server has no event to wait for
                await asyncio.sleep(0.01)
        following.cancel()
        await asyncio.wait([following])
        assert {one for one in asked if one.endswith("/workloads")} == {path}


async def test_an_api_server_that_is_away_at_the_start_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the setting's version Kueue 0.17 refuses writes, and nothing would change that until the next start."""
    monkeypatch.setattr("carbonbudget_operator.enforcement.enforcement_loop._KUEUE_RETRY_S", 0.01)
    statuses = {"group": 503, "v1beta1": 200, "v1beta2": 200}
    async with an_api_server(statuses) as (client, asked):
        loop = EnforcementLoop(
            client, ServerClient("http://127.0.0.1:1", None, lambda: ""), dict, asyncio.Event(), dict, ConflictStore(),
            EnforcementSettings(kueue="v1beta1"), frozenset(), EnforcementMetrics(CollectorRegistry()), 60, 35,
        )  # fmt: skip
        following = asyncio.create_task(loop.follow_workloads())
        async with asyncio.timeout(20):
            while not asked:  # noqa: ASYNC110 - the server has no event to wait for
                await asyncio.sleep(0.01)
            statuses["group"] = 200
            while not (lists := [one for one in asked if one.endswith("/workloads")]):  # noqa: ASYNC110 - the same
                await asyncio.sleep(0.01)
        following.cancel()
        await asyncio.wait([following])
    assert set(lists) == {"/apis/kueue.x-k8s.io/v1beta2/workloads"}


async def test_a_kueue_that_is_installed_later_is_used_by_its_newest_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """With GitOps the order of installation is by chance; a setting's version could be one that refuses writes."""
    monkeypatch.setattr("carbonbudget_operator.enforcement.enforcement_loop._KUEUE_LOOK_S", 0.01)
    statuses: dict[str, int] = {}
    async with an_api_server(statuses) as (client, asked):
        loop = EnforcementLoop(
            client, ServerClient("http://127.0.0.1:1", None, lambda: ""), dict, asyncio.Event(), dict, ConflictStore(),
            EnforcementSettings(kueue="v1beta1"), frozenset(), EnforcementMetrics(CollectorRegistry()), 60, 35,
        )  # fmt: skip
        following = asyncio.create_task(loop.follow_workloads())
        async with asyncio.timeout(20):
            while len(asked) < 6:  # noqa: ASYNC110 - the server has no event to wait for
                await asyncio.sleep(0.01)
            statuses |= {"v1beta1": 200, "v1beta2": 200}
            while not (lists := [one for one in asked if one.endswith("/workloads")]):  # noqa: ASYNC110 - the same
                await asyncio.sleep(0.01)
        following.cancel()
        await asyncio.wait([following])
    assert set(lists) == {"/apis/kueue.x-k8s.io/v1beta2/workloads"}


async def test_a_release_without_kueue_finds_nothing_and_one_that_may_not_look_fails() -> None:
    said: list[str] = []
    async with an_api_server({}) as (client, _):
        release = BudgetEffectsRemoval(client, False, said.append, AUTO)
        await release.run_workloads(RemovalScope(), 0)
        assert (release.done, release.failed, said) == (0, 0, [])
    async with an_api_server({"v1": 403}) as (client, _):
        release = BudgetEffectsRemoval(client, False, said.append, AUTO)
        await release.run_workloads(RemovalScope(), 0)
        assert release.failed == 1
        assert said[0].startswith("API group kueue.x-k8s.io: not released: ")
