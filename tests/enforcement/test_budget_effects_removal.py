"""`carbonbudget release` against an API server that is a small HTTP server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from tests.enforcement.deferred_worlds import DEFER, FORECAST, HELD, START, STARTED, deferred_body
from tests.enforcement.worlds import NOW, Body, budget_body, job_body, merged
from typer.testing import CliRunner

from carbonbudget_operator.cli.main import app
from carbonbudget_operator.enforcement import budget_effects_removal
from carbonbudget_operator.enforcement.budget_effects_removal import BudgetEffectsRemoval, RemovalScope
from carbonbudget_operator.kube.client import KubeClient
from carbonbudget_operator.kube.credentials import Credentials

MARKED = {"carbonbudget.dev/suspendable": "true", "carbonbudget.dev/suspended": "true"}


def blocking(name: str, namespace: str) -> Body:
    body = budget_body(name, namespace, suspend_from=NOW)
    body["metadata"]["labels"] = {"carbonbudget.dev/blocking": "true", "team": "a"}
    return body


def suspended(name: str, namespace: str, by: str, **labels: str) -> Body:
    annotations = {"carbonbudget.dev/suspended-by": by}
    return job_body(name, namespace, labels=MARKED | labels, annotations=annotations, suspend=True)


@dataclass
class World:
    """Objects by path."""

    objects: dict[str, Body] = field(default_factory=dict)
    pods: int = 0
    patched: list[str] = field(default_factory=list)
    refusals: int = 0

    def add(self, body: Body) -> None:
        group = {"Job": "batch/v1", "CarbonBudget": "carbonbudget.dev/v1alpha1"}.get(body["kind"])
        group, plural = group or "carbonbudget.dev/v1alpha1", body["kind"].lower() + "s"
        namespace, name = body["metadata"].get("namespace"), body["metadata"]["name"]
        within = f"namespaces/{namespace}/" if namespace else ""
        self.objects[f"/apis/{group}/{within}{plural}/{name}"] = body

    async def answer(self, request: web.Request) -> web.Response:
        if request.method == "PATCH":
            return await self._patch(request)
        if request.path.endswith("/pods"):
            self.pods -= 1
            return web.json_response({"items": [{}] * max(0, self.pods), "metadata": {}})
        *_, plural = request.path.split("/")
        before = request.path.removesuffix(plural)
        return web.json_response({
            "items": [
                body
                for path, body in self.objects.items()
                if path.startswith(before) and f"/{plural}/" in path and _selected(body, request.query)
            ],
            "metadata": {},
        })  # fmt: skip

    async def _patch(self, request: web.Request) -> web.Response:
        if request.query.get("dryRun") != "All":
            self.patched.append(request.path)
        if request.path.endswith("/scale"):
            return web.json_response({"status": {"selector": "app=controller"}})
        if self.refusals:
            self.refusals -= 1
            return web.json_response({"message": "carbon budget: refused"}, status=403)
        path = request.path.removesuffix("/status")
        if path not in self.objects:
            return web.json_response({"message": "not found"}, status=404)
        self.objects[path] = merged(self.objects[path], await request.json())
        return web.json_response(self.objects[path])

    def state(self) -> dict[str, tuple[bool, bool]]:
        """By name: whether it blocks (or is suspended), whether it is labelled so."""
        found = {}
        for body in self.objects.values():
            labels = body["metadata"].get("labels", {})
            holds = body["spec"].get("suspend") or "enforcement" in body.get("status", {})
            found[body["metadata"]["name"]] = (bool(holds), bool({*labels} & {*MARKED, "carbonbudget.dev/blocking"} - {
                "carbonbudget.dev/suspendable"}))  # fmt: skip
        return found


def _selected(body: Body, query: object) -> bool:
    text = str(query.get("labelSelector", ""))  # type: ignore[attr-defined] # aiohttp's own mapping
    labels = body["metadata"].get("labels", {})
    wanted = [term for term in text.split(",") if term and "!=" not in term]
    unwanted = [term.split("!=") for term in text.split(",") if "!=" in term]
    return all(labels.get(t.split("=")[0]) == t.split("=")[1] for t in wanted) and all(
        labels.get(key) != value for key, value in unwanted
    )


@pytest.fixture
async def bench() -> AsyncIterator[tuple[World, KubeClient]]:
    world = World()
    world.add(blocking("monthly", "team-a"))
    world.add(blocking("weekly", "team-a"))
    world.add(blocking("monthly-b", "team-b"))
    world.add(blocking("all", ""))
    world.add(suspended("one", "team-a", "team-a/monthly"))
    world.add(suspended("two", "team-a", "team-a/weekly"))
    world.add(suspended("three", "team-b", "all"))
    world.add(job_body("own", "team-a", suspend=True))  # by its owner: not ours
    api = web.Application()
    api.router.add_route("*", "/{path:.*}", world.answer)
    async with TestServer(api) as server:
        client = KubeClient.connect(Credentials(str(server.make_url("")).rstrip("/"), lambda: ""))
        yield world, client
        await client.close()


async def test_all_means_all_and_nothing_else(bench: tuple[World, KubeClient]) -> None:
    world, client = bench
    said: list[str] = []
    release = BudgetEffectsRemoval(client, dry_run=False, report=said.append)
    await release.run(RemovalScope(), NOW)
    assert world.state() == {name: (name == "own", False) for name in world.state()}
    assert all(b["metadata"]["labels"] == {"team": "a"} for b in world.objects.values() if "Budget" in b["kind"])
    assert (release.done, release.failed) == (7, 0)
    assert "Job team-a/one: resumed" in said
    assert "CarbonBudget team-a/monthly: no longer blocks or suspends" in said
    assert "ClusterCarbonBudget all: no longer blocks or suspends" in said


async def test_a_second_release_finds_nothing(bench: tuple[World, KubeClient]) -> None:
    world, client = bench
    await BudgetEffectsRemoval(client, dry_run=False, report=[].append).run(RemovalScope(), NOW)
    world.patched.clear()
    again = BudgetEffectsRemoval(client, dry_run=False, report=[].append)
    await again.run(RemovalScope(), NOW)
    assert (again.done, world.patched) == (0, [])


async def test_a_namespace_is_released_without_the_others(bench: tuple[World, KubeClient]) -> None:
    world, client = bench
    await BudgetEffectsRemoval(client, dry_run=False, report=[].append).run(RemovalScope("team-a"), NOW)
    held = {name for name, (holds, _) in world.state().items() if holds}
    assert held == {"own", "monthly-b", "all", "three"}


async def test_one_budget_is_released_with_the_jobs_that_it_suspended(bench: tuple[World, KubeClient]) -> None:
    world, client = bench
    await BudgetEffectsRemoval(client, dry_run=False, report=[].append).run(RemovalScope("team-a", "monthly"), NOW)
    held = {name for name, (holds, _) in world.state().items() if holds}
    assert held == {"own", "weekly", "two", "monthly-b", "all", "three"}


async def test_a_dry_run_says_it_all_and_writes_nothing(bench: tuple[World, KubeClient]) -> None:
    world, client = bench
    said: list[str] = []
    release = BudgetEffectsRemoval(client, dry_run=True, report=said.append)
    await release.stop_controller("carbonbudget-system", "carbonbudget-controller")
    await release.run(RemovalScope(), NOW)
    assert world.patched == []
    assert len(said) == 8
    assert all(line.endswith(" (dry run)") for line in said)


@pytest.mark.parametrize("pods", [3, 0], ids=["running", "away already"])
async def test_the_controller_is_stopped_first_and_waited_for(bench: tuple[World, KubeClient], pods: int) -> None:
    world, client = bench
    world.pods = pods
    release = BudgetEffectsRemoval(client, dry_run=False, report=[].append)
    await release.stop_controller("carbonbudget-system", "carbonbudget-controller")
    assert world.patched == ["/apis/apps/v1/namespaces/carbonbudget-system/deployments/carbonbudget-controller/scale"]
    assert world.pods <= 0


async def test_a_refusal_of_a_webhook_that_follows_late_is_tried_again(bench: tuple[World, KubeClient]) -> None:
    world, client = bench
    world.refusals = 2
    release = BudgetEffectsRemoval(client, dry_run=False, report=[].append)
    await release.run(RemovalScope("team-a", "weekly"), NOW)
    assert (release.done, release.failed) == (2, 0)


async def test_what_cannot_be_written_is_said_and_the_rest_goes_on(bench: tuple[World, KubeClient]) -> None:
    world, client = bench
    said: list[str] = []
    world.refusals = 4
    release = BudgetEffectsRemoval(client, dry_run=False, report=said.append)
    await release.run(RemovalScope("team-a"), NOW)
    assert release.failed == 1
    assert said[0] == "CarbonBudget team-a/monthly: not released: carbon budget: refused"
    assert "Job team-a/one: resumed" in said


async def test_a_job_that_kueue_took_over_only_loses_our_marks(bench: tuple[World, KubeClient]) -> None:
    world, client = bench
    world.add(suspended("queued", "team-a", "team-a/monthly", **{"kueue.x-k8s.io/queue-name": "q"}))
    await BudgetEffectsRemoval(client, dry_run=False, report=[].append).run(RemovalScope("team-a"), NOW)
    assert world.state()["queued"] == (True, False)


async def test_a_suspension_that_only_looks_like_ours_is_left_to_its_owner(bench: tuple[World, KubeClient]) -> None:
    world, client = bench
    world.add(job_body("forged", "team-a", labels=MARKED, suspend=True))
    await BudgetEffectsRemoval(client, dry_run=False, report=[].append).run(RemovalScope("team-a"), NOW)
    assert world.state()["forged"] == (True, False)


async def test_an_announcement_is_taken_back(bench: tuple[World, KubeClient]) -> None:
    world, client = bench
    world.add(job_body("soon", "team-a", annotations={"carbonbudget.dev/suspend-at": "2026-11-24T10:00:00Z"}))
    said: list[str] = []
    await BudgetEffectsRemoval(client, dry_run=False, report=said.append).run(RemovalScope("team-a"), NOW)
    assert "Job team-a/soon: will not be suspended" in said


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "write either --all, or --namespace NAME"),
        (["--all", "-n", "a"], "--all and --namespace exclude each other: write one of them"),
        (["--all", "--budget", "b"], "--budget needs --namespace"),
        (["--all", "--only-kueue"], "--only-kueue needs --kueue VERSION, or --kueue auto"),
        (["--all", "--stop-controller", "x"], "--stop-controller must be NAMESPACE/NAME, not 'x'"),
    ],
)
def test_a_bad_option_is_one_sentence_and_exit_code_2(arguments: list[str], sentence: str) -> None:
    done = CliRunner().invoke(app, ["release", *arguments])
    assert (done.exit_code, done.stderr.strip()) == (2, sentence)


def deferred_world() -> World:
    """Jobs that wait for their start, with and without one, and three that nobody but their owner may start."""
    world = World()
    kueue = DEFER | {"kueue.x-k8s.io/queue-name": "q"}
    marks = {START: "2026-11-24T02:00:00Z", FORECAST: "{}", HELD: "team-a/monthly"}
    world.add(deferred_body("planned", marks=marks))
    world.add(deferred_body("new", "team-b"))
    world.add(deferred_body("broken", annotations={}))
    world.add(deferred_body("queued", labels=kueue))
    world.add(deferred_body("again", marks=marks | {STARTED: "2026-11-24T02:00:00Z"}))
    return world


async def released(world: World, scope: RemovalScope, dry_run: bool = False) -> tuple[set[str], list[str]]:
    """Which Jobs run after a release, and its lines."""
    lines: list[str] = []
    api = web.Application()
    api.router.add_route("*", "/{path:.*}", world.answer)
    async with TestServer(api) as server:
        client = KubeClient.connect(Credentials(str(server.make_url("")).rstrip("/"), lambda: ""))
        await BudgetEffectsRemoval(client, dry_run, lines.append).run(scope, NOW)
        await client.close()
    jobs = (body for body in world.objects.values() if body["kind"] == "Job")
    return {body["metadata"]["name"] for body in jobs if not body["spec"]["suspend"]}, lines


async def test_deferred_jobs_are_started_and_what_is_not_started_is_named() -> None:
    world = deferred_world()
    running, lines = await released(world, RemovalScope())
    assert running == {"planned", "new"}
    planned = next(body for body in world.objects.values() if body["metadata"]["name"] == "planned")
    assert planned["metadata"]["annotations"].keys() & {START, FORECAST, HELD} == set()
    assert "Job team-a/planned: started, no longer deferred" in lines
    assert any(line.startswith("Job team-a/broken: not started: its annotation") for line in lines)
    assert "Job team-a/queued: not started: Kueue decides when it runs, so its start is not deferred" in lines
    assert await released(world, RemovalScope()) == (
        {"planned", "new"},
        [line for line in lines if "not started" in line],
    )


@pytest.mark.parametrize("with_budget", [False, True])
async def test_what_a_controller_does_next_is_said_only_of_what_budgets_held(
    with_budget: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Job that was only deferred is started for good."""
    world = deferred_world()
    if with_budget:
        world.add(blocking("monthly", "team-b"))
    api = web.Application()
    api.router.add_route("*", "/{path:.*}", world.answer)
    async with TestServer(api) as server:
        who = Credentials(str(server.make_url("")).rstrip("/"), lambda: "")
        monkeypatch.setattr(KubeClient, "from_environment", lambda: KubeClient.connect(who))
        done = await asyncio.to_thread(CliRunner().invoke, app, ["release", "-n", "team-b"])
    assert done.exit_code == 0, done.output
    assert "Job team-b/new: started, no longer deferred" in done.stdout
    assert ("a running controller evaluates again" in done.stdout) is with_budget


async def test_deferred_jobs_of_other_namespaces_and_of_one_budgets_release_keep_waiting() -> None:
    assert (await released(deferred_world(), RemovalScope("team-b")))[0] == {"new"}
    assert (await released(deferred_world(), RemovalScope("team-a", "monthly")))[0] == set()
    assert (await released(deferred_world(), RemovalScope(), dry_run=True))[0] == set()


async def test_deferred_jobs_start_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(budget_effects_removal.asyncio, "sleep", sleep)
    world = World()
    for number in range(300):
        world.add(deferred_body(f"j{number}", uid=f"u{number}"))
    running, _ = await released(world, RemovalScope())
    assert len(running) == 300
    assert 19 < sum(pauses) < 21
