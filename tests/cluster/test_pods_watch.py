"""The server's watch of pods, over HTTP: after a defect of ours it is started again, counted, and knows its gap."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry
from tests.cluster.test_pods import UIDS, Clock
from tests.kube.test_client import client_of, until

from carbonbudget_operator.cluster.pods import PODS, PodIndex
from carbonbudget_operator.kube import watch_restart
from carbonbudget_operator.kube.client import JsonObject
from carbonbudget_operator.kube.watch_restart import keep_following
from carbonbudget_operator.kube.watch_status import WatchMetrics, WatchStatuses

COLUMNS = [{"name": "Name"}, {"name": "Status"}, {"name": "Node"}]


def a_row(number: int, node: str = "node-1") -> JsonObject:
    its = {"uid": UIDS[number], "namespace": "team-a", "name": f"pod-{number}", "resourceVersion": str(number)}
    return {"cells": [f"pod-{number}", "Running", node], "object": {"metadata": its}}


def a_table(*rows: JsonObject) -> JsonObject:
    return {"kind": "Table", "metadata": {"resourceVersion": "10"}, "columnDefinitions": COLUMNS, "rows": list(rows)}


@dataclass
class ApiServer:
    """Lists pods as a table, and sends an open watch what is put into `events`."""

    pods: list[JsonObject] = field(default_factory=list)
    events: asyncio.Queue[JsonObject] = field(default_factory=asyncio.Queue)
    lists: int = 0
    may_list: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        assert request.path == "/api/v1/pods"
        assert "as=Table" in request.headers["Accept"]
        if "watch" not in request.query:
            self.lists += 1
            await self.may_list.wait()
            return web.json_response(a_table(*self.pods))
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            event = await self.events.get()
            await response.write(json.dumps(event).encode() + b"\n")

    def change(self, kind: str, row: JsonObject) -> None:
        self.events.put_nowait({"type": kind, "object": a_table(row)})


class Broken(PodIndex):
    """Has a defect: one pod cannot be taken, `trips` times; `current` is up to when it was taken for current then."""

    def __init__(self, *args: Any, clock: Clock, trips: int = 1) -> None:
        super().__init__(*args, now=lambda: clock.at)
        self.clock, self.trips, self.current = clock, trips, list[float]()

    def apply(self, event: str, item: JsonObject | None) -> None:
        if self.trips and item is not None and item["metadata"]["uid"] == UIDS[7]:  # type: ignore[index] # JSON
            self.trips -= 1
            self.current.append(self.current_at)
            self.clock.at += 1_000
            raise AttributeError("a defect of ours")
        super().apply(event, item)


@dataclass
class Watching:
    """A server's watch of pods under way."""

    api: ApiServer
    pods: Broken
    clock: Clock
    registry: CollectorRegistry

    def restarts(self) -> float | None:
        return self.registry.get_sample_value("carbonbudget_watch_restarts_total", {"path": "/api/v1/pods"})


@asynccontextmanager
async def watching(*rows: JsonObject, trips: int = 1) -> AsyncIterator[Watching]:
    api, clock, registry = ApiServer(list(rows)), Clock(), CollectorRegistry()
    api.may_list.set()
    async with client_of(api.answer) as client, asyncio.timeout(20):
        client.watches = WatchStatuses(lambda: clock.at)
        WatchMetrics(registry, client.watches)
        pods = Broken(client, registry, clock=clock, trips=trips)
        task = asyncio.create_task(keep_following(client, PODS, pods.run))
        try:
            yield Watching(api, pods, clock, registry)
        finally:
            task.cancel()
            await asyncio.wait([task])


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_restart, "_FIRST_PAUSE_SECONDS", 0.01)


async def test_what_the_api_server_lists_and_reports_is_known() -> None:
    async with watching(a_row(1), a_row(2, "node-2")) as its:
        await until(lambda: its.pods.knows_all(its.clock.at + 600))
        its.api.change("ADDED", a_row(3))
        await until(lambda: its.pods.place(UIDS[3]) is not None)
        assert [its.pods.place(UIDS[n]) for n in (1, 2, 3)] == [
            "node-1/team-a/pod-1", "node-2/team-a/pod-2", "node-1/team-a/pod-3",
        ]  # fmt: skip
        assert (its.restarts(), its.api.lists) == (None, 1)


async def test_a_watch_of_pods_that_died_of_a_defect_is_started_again_counted_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with watching(a_row(1)) as its:
        await until(lambda: its.pods.knows_all(its.clock.at + 600))
        its.clock.at += 1_000
        its.api.pods.append(a_row(7))
        its.api.change("ADDED", a_row(7))
        await until(lambda: its.pods.place(UIDS[7]) is not None)
        assert (its.restarts(), its.api.lists) == (1, 2)
        # What came and went while nobody watched is not known: pods of before cannot be verified.
        await until(lambda: its.pods.knows_all(its.clock.at + 600))
        assert not its.pods.knows_all(its.clock.at + 599)
        assert its.pods.place(UIDS[1]) is not None
        its.api.change("ADDED", a_row(8))
        await until(lambda: its.pods.place(UIDS[8]) is not None)
    failures = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert failures == ["the watch of /api/v1/pods failed and restarts in 0 s"]


async def test_while_it_fails_again_and_again_it_is_not_taken_for_current_and_what_was_known_stands() -> None:
    async with watching(a_row(1), trips=3) as its:
        await until(lambda: its.pods.knows_all(its.clock.at + 600))
        before = its.clock.at
        its.api.pods.insert(0, a_row(7))
        its.api.may_list.clear()
        its.api.change("ADDED", a_row(7))
        await until(lambda: its.restarts() == 1)
        assert not its.pods.knows_all(its.clock.at + 600)
        assert its.pods.place(UIDS[1]) == "node-1/team-a/pod-1"
        its.api.may_list.set()
        await until(lambda: its.pods.knows_all(its.clock.at + 600))
        assert its.pods.current == [before] * 3
        assert its.pods.current_at == its.clock.at == before + 3_000
        assert its.restarts() == 3
