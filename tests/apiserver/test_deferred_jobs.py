"""Deferred Jobs in the real API server, with the controller's own account and rights, the real server's forecast, and a
simulated clock: a day in which the fifth hour was cleaner for three weeks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from tests.apiserver.manifests import work
from tests.apiserver.test_own_writes import SPACE, Account
from tests.apiserver.test_own_writes import account as account  # the fixture: the controller's rights and policy
from tests.conftest import Cluster
from tests.e2e.conftest import budget
from tests.server.forecast_server import CLEAN_HOUR, DAY, HOUR, FaceClient, a_forecasting_server

from carbonbudget_operator.api.times import format_time
from carbonbudget_operator.enforcement.budget_effects_removal import BudgetEffectsRemoval, RemovalScope
from carbonbudget_operator.enforcement.enforcement_loop import EnforcementLoop
from carbonbudget_operator.enforcement.metrics import EnforcementMetrics
from carbonbudget_operator.kube.client import KubeClient
from carbonbudget_operator.settings import EnforcementSettings

pytestmark = [pytest.mark.cluster, pytest.mark.control_plane]

JITTER_S = 300
PREFIX = "carbonbudget.dev/"


class NoConflicts:
    """No budget suspends here."""

    def report(self, budget_key: str, message: str, managed: bool = False) -> None:
        raise AssertionError(message)

    def clear(self, budget_key: str) -> None:
        raise AssertionError(budget_key)


@dataclass
class Played:
    """The controller's deferral, its clock and the API server."""

    cluster: Cluster
    loop: EnforcementLoop
    server: FaceClient
    clock: list[int]
    bodies: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def now(self) -> int:
        return self.clock[0]

    def create(self, name: str, finish_by: int, **labels: str) -> None:
        marks = {f"{PREFIX}finish-by": format_time(finish_by), f"{PREFIX}expected-duration": "1h"}
        metadata = {"labels": {f"{PREFIX}defer": "true"} | labels, "annotations": marks}
        manifest = work("Job", SPACE, name, metadata=metadata, suspend=True)
        self.cluster.kubectl("create", "-f", "-", stdin=json.dumps(manifest))

    def job(self, name: str) -> dict[str, Any]:
        return self.cluster.get("-n", SPACE, "job", name)

    def mark(self, name: str, key: str) -> str:
        return str(self.job(name)["metadata"].get("annotations", {}).get(f"{PREFIX}{key}", ""))

    def runs(self, name: str) -> bool:
        return not self.job(name)["spec"].get("suspend", False)

    def reasons(self, name: str) -> list[str]:
        """Of our Events about a Job, in the order of their times."""
        found = self.cluster.get("-n", SPACE, "events", "--field-selector", f"involvedObject.name={name}")["items"]
        ours = [event for event in found if event["source"].get("component") == "carbonbudget-controller"]
        return [event["reason"] for event in sorted(ours, key=lambda event: event["firstTimestamp"])]

    async def until(self, what: Callable[[], bool]) -> None:
        """Decide, as the loop does on each change, until the API server shows it."""
        async with asyncio.timeout(30):
            while not what():
                await self.loop.defer()
                await asyncio.sleep(0.1)

    async def shown(self, name: str) -> None:
        """The watch has shown the Job as the API server has it now, or as somebody changed it since."""
        version = int(self.job(name)["metadata"]["resourceVersion"])
        async with asyncio.timeout(30):
            while not any(j.name == name and int(j.version) >= version for j in self.loop.store.jobs.values()):
                self.loop.store.wishes_changed.clear()
                await self.loop.store.wishes_changed.wait()


@pytest.fixture
async def played(cluster: Cluster, account: Account, tmp_path: Path) -> AsyncIterator[Played]:
    cluster.kubectl("-n", SPACE, "delete", "jobs,events,carbonbudgets", "--all", "--wait=false")
    client = KubeClient.connect(account._credentials)
    async with a_forecasting_server(tmp_path) as face:
        bodies: dict[str, dict[str, Any]] = {}
        server = FaceClient(face)
        loop = EnforcementLoop(
            client, server, lambda: bodies, asyncio.Event(), dict, NoConflicts(),
            EnforcementSettings(resume_jitter_seconds=JITTER_S), frozenset({"kube-system"}),
            EnforcementMetrics(CollectorRegistry()), 60, 35, now=lambda: float(face.clock[0]),
        )  # fmt: skip
        watch = asyncio.create_task(loop.store.follow(client))
        try:
            yield Played(cluster, loop, server, face.clock, bodies)
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
            await client.close()


def clean_start(now: int) -> int:
    return now - now % DAY + CLEAN_HOUR * HOUR + (DAY if now % DAY >= CLEAN_HOUR * HOUR else 0)


async def test_a_deferred_job_is_started_at_the_hour_that_the_forecast_names(played: Played) -> None:
    played.loop.deferral.forecasts.want({SPACE})
    assert await played.loop.deferral.forecasts.refresh()
    clean = clean_start(played.now)
    played.create("train", played.now + DAY)
    await played.until(lambda: played.mark("train", "deferred-start") != "")
    chosen = played.mark("train", "deferred-start")
    assert format_time(clean) <= chosen <= format_time(clean + JITTER_S)
    known = json.loads(played.mark("train", "deferred-forecast"))
    assert known["percentLess"] == 75
    assert known["zones"] == "DE"
    played.clock[0] = clean - 1
    await played.shown("train")
    await played.loop.defer()
    assert not played.runs("train")
    played.clock[0] = clean + JITTER_S
    await played.until(lambda: played.runs("train"))
    assert played.mark("train", "deferred-started") == format_time(played.now)
    assert played.reasons("train") == ["StartDeferred", "DeferredJobStarted"]


async def test_a_block_wins_over_the_deadline_and_an_owner_who_suspends_it_again_is_left_alone(played: Played) -> None:
    kubectl = played.cluster.kubectl
    kubectl("create", "-f", "-", stdin=json.dumps(budget(SPACE, "monthly", limit="1kg", period="Month")))
    until = format_time(played.now + 2 * DAY)
    status = {"status": {"evaluatedGeneration": 1, "enforcement": {"action": "Block", "until": until}}}
    kubectl(
        "-n",
        SPACE,
        "patch",
        "carbonbudget",
        "monthly",
        "--subresource=status",
        "--type=merge",
        "-p",
        json.dumps(status),
    )
    body = played.cluster.get("-n", SPACE, "carbonbudget", "monthly")
    played.bodies[body["metadata"]["uid"]] = body
    played.create("held", played.now + HOUR + 60)
    await played.until(lambda: played.mark("held", "deferred-start") != "" or advance(played, 600))
    played.clock[0] += 2 * HOUR
    await played.until(lambda: played.mark("held", "deferred-held-by") == f"{SPACE}/monthly")
    assert not played.runs("held")
    played.bodies.clear()
    kubectl("-n", SPACE, "delete", "carbonbudget", "monthly")
    await played.until(lambda: played.runs("held") or advance(played, 60))
    kubectl("-n", SPACE, "patch", "job", "held", "--type=merge", "-p", '{"spec":{"suspend":true}}')
    await played.shown("held")
    played.clock[0] += HOUR
    await played.loop.defer()
    assert not played.runs("held")
    assert played.reasons("held")[-2:] == ["DeferredStartHeld", "DeferredJobStarted"]


async def test_jobs_of_kueue_and_of_broken_annotations_stay_as_they_are_with_an_event(played: Played) -> None:
    played.create("queued", played.now + DAY, **{"kueue.x-k8s.io/queue-name": "q"})
    played.create("broken", played.now + DAY)
    played.cluster.kubectl("-n", SPACE, "annotate", "job", "broken", f"{PREFIX}finish-by=soon", "--overwrite")
    await played.until(lambda: played.reasons("queued") == played.reasons("broken") == ["NotDeferred"])
    for name in ("queued", "broken"):
        assert not played.runs(name)
        assert played.mark(name, "deferred-start") == ""


async def test_a_release_starts_what_waits_and_what_nobody_has_looked_at_yet(played: Played, account: Account) -> None:
    played.loop.deferral.forecasts.want({SPACE})
    assert await played.loop.deferral.forecasts.refresh()
    played.create("planned", played.now + DAY)
    await played.until(lambda: played.mark("planned", "deferred-start") != "")
    played.create("new", played.now + DAY)
    lines: list[str] = []
    client = KubeClient.connect(account._credentials)
    await BudgetEffectsRemoval(client, dry_run=False, report=lines.append).run(RemovalScope(SPACE), played.now)
    await client.close()
    assert played.runs("planned")
    assert played.runs("new")
    assert played.mark("planned", "deferred-start") == ""
    assert sorted(lines) == [f"Job {SPACE}/{name}: started, no longer deferred" for name in ("new", "planned")]


def advance(played: Played, seconds: int) -> bool:
    played.clock[0] += seconds
    return False
