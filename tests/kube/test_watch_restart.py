"""A watch whose follower fails goes on, and is not taken for a current one meanwhile."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry
from tests.kube.test_client import Ticks, X, an_object, client_of, stream, until

from carbonbudget_operator.kube import watch_restart
from carbonbudget_operator.kube.watch_restart import keep_following
from carbonbudget_operator.kube.watch_status import WatchMetrics, WatchStatuses


async def answer(request: web.Request) -> web.StreamResponse:
    if "watch" not in request.query:
        return web.json_response({"items": [an_object("a")], "metadata": {"resourceVersion": "10"}})
    response = await stream(request)
    await asyncio.sleep(60)
    return response


async def test_a_watch_that_died_of_any_exception_is_started_again_counted_and_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(watch_restart, "_FIRST_PAUSE_SECONDS", 0.01)
    registry, seen = CollectorRegistry(), list[str]()

    async with client_of(answer) as client, asyncio.timeout(10):
        WatchMetrics(registry, client.watches)

        async def follow() -> None:
            async for kind, _ in client.watch(X):
                seen.append(kind)
                if kind == "ADDED" and seen.count("ADDED") < 3:
                    raise AttributeError("a defect of ours")

        task = asyncio.create_task(keep_following(client, X, follow))
        await until(lambda: "LISTED" in seen)
        assert registry.get_sample_value("carbonbudget_watch_restarts_total", {"path": str(X)}) == 2
        task.cancel()
        await asyncio.wait([task])
        await until(lambda: client.watches.current_at() == {})
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == [
        f"the watch of {X} failed and restarts in 0 s"
    ] * 2


async def test_a_restart_does_not_make_it_current_only_what_it_hears_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_restart, "_FIRST_PAUSE_SECONDS", 0.01)
    fails = True
    ages: list[float] = []

    async with client_of(answer) as client, asyncio.timeout(10):
        client.watches = WatchStatuses(Ticks())

        async def follow() -> None:
            async for kind, _ in client.watch(X):
                if kind == "LISTING":
                    ages.append(client.watches.current_at()[str(X)])
                if fails and len(ages) < 4:
                    raise TypeError("a defect of ours")

        task = asyncio.create_task(keep_following(client, X, follow))
        await until(lambda: len(ages) == 4 and client.watches.current_at()[str(X)] > 1)
        assert ages == [1, 1, 1, 1]
        task.cancel()
        await asyncio.wait([task])
