"""The loop against an API server and a server that are small HTTP servers."""

from __future__ import annotations

import asyncio
import copy
import json
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from prometheus_client import CollectorRegistry
from tests.enforcement.worlds import HOUR, NOW, Body, budget_body, finished, job_body, merged

from carbonbudget_operator.api.times import format_time
from carbonbudget_operator.enforcement.enforcement_loop import EnforcementLoop
from carbonbudget_operator.enforcement.job import parse_job
from carbonbudget_operator.enforcement.metrics import EnforcementMetrics
from carbonbudget_operator.kube.client import KubeClient
from carbonbudget_operator.kube.credentials import Credentials
from carbonbudget_operator.server_client import ServerClient
from carbonbudget_operator.settings import EnforcementSettings

JOBS = "/apis/batch/v1/namespaces/team-a/jobs/"


@dataclass
class World:
    """What the two servers hold, and what they were told."""

    jobs: dict[str, Body] = field(default_factory=dict)
    budgets: list[Body] = field(default_factory=list)
    data_through: int = NOW
    pods: int = 1
    silent: set[str] = field(default_factory=set)
    """Uids of which no pods are known."""
    up: bool = True
    failing: int = 0
    no_events: bool = False
    refused: int = 0
    """Patches that are refused from now on."""
    unwritable: str = ""
    """Objects whose name begins so refuse each patch."""
    missing: set[str] = field(default_factory=set)
    failed: asyncio.Event = field(default_factory=asyncio.Event)
    patches: list[tuple[str, Body]] = field(default_factory=list)
    events: list[tuple[str, str]] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)
    meanwhile: Callable[[Body], None] = lambda _: None
    """Called with a Job that was patched, before the answer is on its way."""

    async def api(self, request: web.Request) -> web.StreamResponse:
        """Jobs, budgets, Events, as an API server takes them."""
        if request.path == "/apis/batch/v1/jobs":
            if "watch" not in request.query:
                return web.json_response({"items": list(self.jobs.values()), "metadata": {"resourceVersion": "1"}})
            stream = web.StreamResponse()
            await stream.prepare(request)
            await asyncio.sleep(20)
            return stream
        if request.method == "GET" and self.failing:
            self.failing -= 1
            self.failed.set()
            return web.json_response({"message": "etcd is away"}, status=500)
        if request.method == "GET":
            namespaced = request.path.endswith("/carbonbudgets")
            kind = "CarbonBudget" if namespaced else "ClusterCarbonBudget"
            return web.json_response({"items": [b for b in self.budgets if b["kind"] == kind], "metadata": {}})
        body = await request.json()
        if request.method == "POST" and self.no_events:
            return web.json_response({"message": "too many"}, status=403)
        if request.method == "POST":
            self.events.append((body["reason"], body["message"]))
            return web.json_response(body)
        if self.refused:
            self.refused -= 1
            return web.json_response({"message": "refused"}, status=403)
        if self.unwritable and request.path.rsplit("/", 1)[1].startswith(self.unwritable):
            return web.json_response(
                {"message": "annotations: Too long: may not be more than 262144 bytes"}, status=422
            )
        self.patches.append((request.path, body))
        assert request.query["fieldManager"] == "carbonbudget"
        if request.path in self.missing:
            return web.json_response({"message": "not found"}, status=404)
        if not request.path.startswith(JOBS):
            return web.json_response({})
        name = request.path.removeprefix(JOBS)
        if name not in self.jobs:
            return web.json_response({"message": "not found"}, status=404)
        job = self.jobs[name]
        asked, version = body["metadata"].pop("resourceVersion", None), job["metadata"]["resourceVersion"]
        if asked not in (None, version):
            return web.json_response({"message": "the object has been modified"}, status=409)
        self.jobs[name] = merged(job, body) | {}
        self.jobs[name]["metadata"]["resourceVersion"] = str(int(version) + 1)
        answer = copy.deepcopy(self.jobs[name])
        self.meanwhile(self.jobs[name])
        return web.json_response(answer)

    async def runs(self, request: web.Request) -> web.Response:
        """The server's figures of runs."""
        if not self.up:
            return web.json_response({"reason": "starting"}, status=503)
        queries = (await request.json())["queries"]
        self.asked.append(len(queries))
        answers = [
            {
                "id": query["id"], "pods": 0 if query["id"] in self.silent else self.pods,
                "energy_uj": 3_600_000_000_000, "location_ug": 400_000_000,
                "market_ug": 0, "embodied_ug": 0, "gpu_ms": 0, "measured_percent": 100,
            }
            for query in queries
        ]  # fmt: skip
        return web.json_response({"data_through": self.data_through, "answers": answers})


@dataclass
class Told:
    """Conflicts as the controller would keep them."""

    sentences: dict[str, str] = field(default_factory=dict)

    def report(self, budget_key: str, sentence: str, managed: bool = False) -> None:
        self.sentences[budget_key] = sentence

    def clear(self, budget_key: str) -> None:
        self.sentences.pop(budget_key, None)


@dataclass
class Bench:
    """The loop in its world; `step` shows it the objects as watches would, then lets it decide once."""

    world: World
    loop: EnforcementLoop
    bodies: dict[str, Body]
    told: Told
    registry: CollectorRegistry
    time: list[float]
    changed: asyncio.Event
    namespaces: dict[str, dict[str, str]]
    judged: set[str] | None = None
    """Budgets that were judged since the start; None for all."""

    def show(self) -> None:
        self.loop.store.jobs = {body["metadata"]["uid"]: parse_job(body) for body in self.world.jobs.values()}
        self.loop.store.listed = True
        self.bodies.clear()
        self.bodies.update({body["metadata"]["uid"]: json.loads(json.dumps(body)) for body in self.world.budgets})

    async def step(self) -> list[tuple[str, Body]]:
        self.show()
        self.world.patches.clear()
        await self.loop.step()
        return list(self.world.patches)

    async def annotate(self) -> list[tuple[str, Body]]:
        self.show()
        self.world.patches.clear()
        await self.loop.annotate()
        return list(self.world.patches)

    def add(self, name: str = "train", **more: Any) -> None:
        self.world.jobs[name] = job_body(name, **more)

    def remembered(self) -> set[Any]:
        return set(self.loop._annotator._written)

    def metric(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"carbonbudget_enforcement_{name}", labels) or 0.0


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    world, told, bodies, time = World(), Told(), dict[str, Body](), [float(NOW)]
    changed, namespaces = asyncio.Event(), dict[str, dict[str, str]]()
    api, server, registry = web.Application(), web.Application(), CollectorRegistry()
    api.router.add_route("*", "/{path:.*}", world.api)
    server.router.add_post("/v1/runs/query", world.runs)
    async with TestServer(api) as api_server, TestServer(server) as rest:
        client = KubeClient.connect(Credentials(str(api_server.make_url("")).rstrip("/"), lambda: ""))
        asked = ServerClient(str(rest.make_url("")), None, lambda: "")
        asked._tls = lambda: False  # type: ignore[method-assign,assignment,return-value] # plain HTTP on loopback
        loop = EnforcementLoop(
            client,
            asked,
            lambda: bodies,
            changed,
            lambda: namespaces,
            told,
            EnforcementSettings(resume_jitter_seconds=0),
            frozenset({"kube-system"}),
            EnforcementMetrics(registry),
            60,
            35,
            judged=lambda key: made.judged is None or key in made.judged,
            now=lambda: time[0],
        )
        made = Bench(world, loop, bodies, told, registry, time, changed, namespaces)
        yield made
        await client.close()


def annotations(bench: Bench, name: str = "train") -> Body:
    found: Body = bench.world.jobs[name]["metadata"]["annotations"]
    return found


async def test_a_job_is_announced_suspended_and_resumed_each_with_its_event(bench: Bench) -> None:
    bench.add()
    bench.world.budgets = [budget_body(suspend_from=NOW + 60)]
    await bench.step()
    assert annotations(bench)["carbonbudget.dev/suspend-at"].endswith("Z")
    bench.time[0] = NOW + 60
    await bench.step()
    train = bench.world.jobs["train"]
    assert train["spec"]["suspend"] is True
    assert train["metadata"]["labels"]["carbonbudget.dev/suspended"] == "true"
    assert annotations(bench) == {"carbonbudget.dev/suspended-by": "team-a/monthly"}
    assert await bench.step() == []
    assert bench.metric("suspended_jobs") == 1
    bench.world.budgets = []
    await bench.step()
    train = bench.world.jobs["train"]
    assert train["spec"]["suspend"] is False
    assert train["metadata"]["labels"] == {"carbonbudget.dev/suspendable": "true"}
    assert [reason for reason, _ in bench.world.events] == [
        "SuspendAnnounced", "SuspendedByCarbonBudget", "ResumedByCarbonBudget",
    ]  # fmt: skip
    assert bench.metric("suspended_jobs") == 0
    assert [bench.metric("actions_total", action=a) for a in ("announce", "suspend", "resume")] == [1, 1, 1]


async def test_before_all_jobs_and_budgets_were_seen_nothing_is_resumed(bench: Bench) -> None:
    marked = {"carbonbudget.dev/suspendable": "true", "carbonbudget.dev/suspended": "true"}
    bench.add(labels=marked, suspend=True)
    bench.world.budgets = [budget_body(suspend_from=NOW - 60)]
    bench.show()
    bench.loop.store.listed = False
    await bench.loop.step()
    bench.loop.store.listed = True
    seen = dict(bench.bodies)
    bench.bodies.clear()  # as right after a start
    await bench.loop.step()
    assert bench.world.patches == []
    bench.bodies.update(seen)
    await bench.loop.step()
    assert bench.world.jobs["train"]["spec"]["suspend"] is True


async def test_after_a_start_nothing_is_done_before_each_budget_was_judged_but_not_for_ever(bench: Bench) -> None:
    """A block whose `until` passed while the controller was away is renewed by the first verdict."""
    marked = {"carbonbudget.dev/suspendable": "true", "carbonbudget.dev/suspended": "true"}
    bench.add(labels=marked, annotations={"carbonbudget.dev/suspended-by": "team-a/monthly"}, suspend=True)
    lapsed = [budget_body(suspend_from=NOW - HOUR, until=NOW - 60), budget_body("other")]
    bench.world.budgets = lapsed
    bench.judged = {"team-a/other"}
    assert await bench.step() == []
    bench.world.budgets = [budget_body(suspend_from=NOW - HOUR), budget_body("other")]
    bench.judged.add("team-a/monthly")
    assert await bench.step() == []
    bench.judged.clear()  # once is enough
    bench.world.budgets = []
    assert len(await bench.step()) == 1


async def test_a_controller_that_can_judge_nothing_lets_go_in_the_end(bench: Bench) -> None:
    marked = {"carbonbudget.dev/suspendable": "true", "carbonbudget.dev/suspended": "true"}
    bench.add(labels=marked, annotations={"carbonbudget.dev/suspended-by": "team-a/monthly"}, suspend=True)
    bench.world.budgets = [budget_body(suspend_from=NOW - HOUR, until=NOW - 60)]
    bench.judged = set()
    assert await bench.step() == []
    bench.time[0] += 299
    assert await bench.step() == []
    bench.time[0] += 1
    assert len(await bench.step()) == 1


async def test_a_job_that_changed_meanwhile_is_left_to_the_next_decision(bench: Bench) -> None:
    bench.add()
    bench.world.budgets = [budget_body(suspend_from=NOW - 60)]
    bench.show()
    bench.world.jobs["train"]["metadata"]["resourceVersion"] = "8"  # the watch has not said so yet
    await bench.loop.step()
    assert bench.world.jobs["train"]["spec"]["suspend"] is False
    assert bench.world.events == []
    assert (bench.metric("failures_total"), bench.metric("overtaken_total")) == (0, 1)
    await bench.step()
    assert bench.world.jobs["train"]["spec"]["suspend"] is True


async def test_what_the_watch_showed_while_a_patch_was_under_way_is_newer_than_its_answer(bench: Bench) -> None:
    def resumed(body: Body) -> None:
        body["spec"]["suspend"] = False
        body["metadata"]["resourceVersion"] = "9"
        bench.loop.store.seen(parse_job(body))

    bench.add()
    bench.world.budgets = [budget_body(suspend_from=NOW - 60)]
    bench.world.meanwhile = resumed
    bench.show()
    await bench.loop.step()
    (job,) = bench.loop.store.jobs.values()
    assert (job.version, job.suspended) == ("9", False)
    bench.world.budgets = []  # and so the next write is of that version, and is taken
    bench.bodies.clear()
    await bench.loop.step()
    assert "carbonbudget.dev/suspended" not in bench.world.jobs["train"]["metadata"]["labels"]


async def test_a_job_that_was_deleted_while_a_patch_was_under_way_is_not_revived(bench: Bench) -> None:
    bench.add()
    bench.world.budgets = [budget_body(suspend_from=NOW - 60)]
    bench.world.meanwhile = lambda body: bench.loop.store.forget(body["metadata"]["uid"])
    bench.show()
    await bench.loop.step()
    assert bench.loop.store.jobs == {}


async def test_a_job_that_is_gone_is_forgotten(bench: Bench) -> None:
    bench.add()
    bench.world.budgets = [budget_body(suspend_from=NOW - 60)]
    bench.show()
    bench.world.jobs.clear()
    await bench.loop.step()
    assert bench.loop.store.jobs == {}


async def test_a_reverted_suspension_is_reported_not_fought_and_cleared_in_the_end(bench: Bench) -> None:
    bench.add()
    bench.world.budgets = [budget_body(suspend_from=NOW - 60)]
    await bench.step()
    train = bench.world.jobs["train"]
    train["spec"]["suspend"] = False
    train["metadata"]["managedFields"] = [{"manager": "argocd", "fieldsV1": {"f:spec": {"f:suspend": {}}}}]
    for _ in range(3):
        assert await bench.step() == []
    assert bench.told.sentences == {
        "team-a/monthly": "suspended Jobs were resumed and are left running: team-a/train by argocd"
    }
    bench.world.budgets = [budget_body()]
    await bench.step()
    assert bench.told.sentences == {}
    assert "carbonbudget.dev/suspended" not in bench.world.jobs["train"]["metadata"]["labels"]


async def test_a_finished_job_gets_its_figures_once_when_the_data_has_passed_its_end(bench: Bench) -> None:
    bench.add(labels={}, status=finished(NOW - 30, NOW - HOUR))
    bench.world.data_through = NOW - 31
    assert await bench.annotate() == []
    bench.world.data_through = NOW - 30
    await bench.annotate()
    assert annotations(bench) == {
        "carbonbudget.dev/emissions": "400g",
        "carbonbudget.dev/energy": "1.00 kWh",
        "carbonbudget.dev/accounting": "LocationBased",
        "carbonbudget.dev/as-of": "2026-11-23T18:52:50Z",
        "carbonbudget.dev/final": "true",
    }
    ((reason, message),) = bench.world.events
    assert reason == "CarbonEmitted"
    assert message == (
        "train emitted 400g CO2e: 1.00 kWh, 1.0 h; location-based, by reports up to 2026-11-23T18:52:50Z"
    )
    bench.world.asked.clear()
    assert await bench.annotate() == []
    assert bench.world.asked == []  # nobody is asked in vain
    assert bench.metric("final_figures_total", fate="annotated") == 1


async def test_while_the_server_is_away_figures_wait(bench: Bench) -> None:
    bench.add(labels={}, status=finished(NOW - 30, NOW - HOUR))
    bench.world.up = False
    assert await bench.annotate() == []
    bench.world.up = True
    assert len(await bench.annotate()) == 1


async def test_a_job_without_data_gets_no_figure_and_is_asked_for_an_hour(bench: Bench) -> None:
    bench.add(labels={}, status=finished(NOW - 30, NOW - HOUR))
    bench.world.pods = 0
    assert await bench.annotate() == []
    bench.world.data_through = NOW + HOUR
    assert await bench.annotate() == []
    assert bench.metric("final_figures_total", fate="nodata") == 1
    bench.world.asked.clear()
    await bench.annotate()
    assert bench.world.asked == []


async def test_no_more_runs_are_asked_for_than_can_be_told_and_those_without_data_hold_up_nobody(bench: Bench) -> None:
    for n in range(250):
        bench.add(f"silent{n}", labels={}, status=finished(NOW - 90, NOW - HOUR))
    bench.add("heard", labels={}, status=finished(NOW - 30, NOW - HOUR))  # the youngest
    bench.world.silent = {f"uid-silent{n}" for n in range(250)}
    await bench.annotate()
    assert bench.world.asked == [0, 200]
    bench.time[0] += 60
    await bench.annotate()
    assert [path for path, _ in bench.world.patches] == [f"{JOBS}heard"]
    assert bench.world.asked == [0, 200, 0, 200]


async def test_a_job_that_went_with_its_end_still_has_its_event_and_is_counted(bench: Bench) -> None:
    """ttlSecondsAfterFinished: 0 deletes the object in the second in which it ends."""
    done = parse_job(job_body(status=finished(NOW - 30, NOW - HOUR)))
    bench.show()
    bench.loop.store.jobs[done.uid] = done
    bench.loop.store._gone(done.uid)
    await bench.loop.annotate()
    assert bench.world.patches == []
    assert [reason for reason, _ in bench.world.events] == ["CarbonEmitted"]
    assert bench.metric("final_figures_total", fate="event") == 1
    await bench.loop.annotate()
    assert len(bench.world.events) == 1
    assert bench.metric("failures_total") == 0


async def test_a_running_workload_is_told_of_a_change_at_most_every_ten_minutes(bench: Bench) -> None:
    def standing(state: str, emissions: str) -> None:
        use = {"kind": "Deployment", "name": "web", "emissions": emissions}
        status = {"state": state, "topWorkloads": [use], "dataThrough": format_time(int(bench.time[0]) - 90)}
        bench.world.budgets = [budget_body(status=status)]

    standing("WithinBudget", "1kg")
    ((path, patch),) = await bench.annotate()
    assert path == "/apis/apps/v1/namespaces/team-a/deployments/web"
    assert patch["metadata"]["annotations"]["carbonbudget.dev/state"] == "WithinBudget"
    bench.time[0] += 599
    standing("WithinBudget", "2kg")
    assert await bench.annotate() == []
    bench.time[0] += 1
    ((_, patch),) = await bench.annotate()
    assert patch["metadata"]["annotations"]["carbonbudget.dev/emissions"] == "2kg"
    bench.time[0] += HOUR
    standing("WithinBudget", "2kg")
    assert await bench.annotate() == []  # the instant alone is no reason
    standing("Warning", "3kg")
    assert len(await bench.annotate()) == 1
    bench.time[0] += 599
    standing("Exceeded", "4kg")
    assert await bench.annotate() == []
    bench.time[0] += 1
    ((_, patch),) = await bench.annotate()
    assert patch["metadata"]["annotations"] == {
        "carbonbudget.dev/emissions": "4kg",
        "carbonbudget.dev/accounting": "LocationBased",
        "carbonbudget.dev/as-of": format_time(int(bench.time[0]) - 1 - 90),
        "carbonbudget.dev/budget": "team-a/monthly",
        "carbonbudget.dev/state": "Exceeded",
    }


async def test_no_more_than_200_workloads_are_written_in_a_window_and_a_change_of_state_comes_first(
    bench: Bench,
) -> None:
    def standing(emissions: str, state: str) -> None:
        def use(n: int) -> Body:
            return {"kind": "Deployment", "name": f"d{n}", "emissions": emissions, "namespace": "team-a"}

        bench.world.budgets = [
            budget_body(f"b{part}", "", status={
                "state": state if part == 2 else "WithinBudget",
                "topWorkloads": [use(n) for n in range(100 * part, 100 * part + 100)],
            })
            for part in range(3)
        ]  # fmt: skip

    written: set[str] = set()
    standing("1g", "WithinBudget")
    for _ in range(2):
        found = await bench.annotate()
        assert len(found) <= 200
        written |= {path for path, _ in found}
        bench.time[0] += 60
    assert len(written) == 300
    bench.time[0] += 600
    standing("2g", "Warning")
    found = await bench.annotate()
    assert len(found) == 200
    assert {f"d{n}" for n in range(200, 300)} <= {path.rsplit("/", 1)[1] for path, _ in found}
    rest = {path for path, _ in await bench.annotate()}
    assert len(rest) == 100
    assert not rest & {path for path, _ in found}


async def test_workloads_that_cannot_be_written_hold_up_no_others(bench: Bench) -> None:
    """Whoever fills the annotations of 200 workloads has each write of ours refused: those of others still come."""

    def use(name: str, emissions: str) -> Body:
        return {"kind": "Deployment", "name": name, "emissions": emissions}

    full = []
    for part in range(3):
        tops = [use(f"full-{part}-{n}", "1g") for n in range(100)]
        full.append(budget_body(f"a{part}", status={"state": "WithinBudget", "topWorkloads": tops}))
    bench.world.unwritable = "full-"

    def others(emissions: str) -> None:
        status = {"state": "WithinBudget", "topWorkloads": [use("web", emissions)]}
        bench.world.budgets = [*full, budget_body("own", "team-b", status=status)]

    for emissions in ("1g", "2g"):
        others(emissions)
        found = [path for _ in range(3) for path, _ in await bench.annotate()]
        assert found == ["/apis/apps/v1/namespaces/team-b/deployments/web"]
        bench.time[0] += 600
    bench.world.unwritable = ""
    assert len({path for _ in range(2) for path, _ in await bench.annotate()}) == 300


async def test_a_figure_is_never_further_behind_the_status_than_ten_minutes(bench: Bench) -> None:
    """For few workloads; the issue's annotation said 8.9mg 75 minutes after it."""
    behind = 0
    said = ""
    for minute in range(90):
        bench.time[0] = NOW + 60 * minute
        emissions = f"{minute + 1}mg"
        use = {"kind": "Deployment", "name": "web", "emissions": emissions}
        bench.world.budgets = [budget_body(status={"state": "WithinBudget", "topWorkloads": [use]})]
        for _, patch in await bench.annotate():
            said = patch["metadata"]["annotations"]["carbonbudget.dev/emissions"]
        behind = max(behind, minute + 1 - int(said.removesuffix("mg")))
    assert behind < 10


async def test_what_fell_out_of_the_status_loses_its_annotations_and_is_forgotten(bench: Bench) -> None:
    """A state that nobody follows would be wrong one day, and after a restart nobody would know of it."""
    named = budget_body(status={"topWorkloads": [{"kind": "Deployment", "name": "web", "emissions": "1kg"}]})
    bench.world.budgets = [named]
    await bench.annotate()
    bench.world.budgets = [budget_body()]
    bench.time[0] += 599
    assert await bench.annotate() == []  # a workload at the edge of the list comes and goes
    bench.time[0] += 1
    ((_, patch),) = await bench.annotate()
    assert set(patch["metadata"]["annotations"].values()) == {None}
    bench.time[0] += HOUR
    assert await bench.annotate() == []
    assert bench.remembered() == set()
    bench.world.budgets = [named]
    assert len(await bench.annotate()) == 1


async def test_a_running_job_that_fell_out_loses_its_annotations_also_after_a_restart(bench: Bench) -> None:
    bench.add(annotations={"carbonbudget.dev/budget": "team-a/monthly", "carbonbudget.dev/state": "Exceeded"})
    bench.world.budgets = [budget_body()]
    ((path, patch),) = await bench.annotate()
    assert path == f"{JOBS}train"
    assert set(patch["metadata"]["annotations"].values()) == {None}


async def test_what_is_gone_is_tried_every_ten_minutes_while_it_is_named_and_then_forgotten(bench: Bench) -> None:
    bench.add(labels={})
    tops = [
        {"kind": kind, "name": name, "emissions": "1kg"} for kind, name in (("Deployment", "web"), ("Job", "train"))
    ]
    bench.world.budgets = [budget_body(status={"topWorkloads": tops})]
    bench.world.missing = {"/apis/apps/v1/namespaces/team-a/deployments/web"}
    assert len(await bench.annotate()) == 2
    assert bench.metric("annotations_total") == 1
    bench.world.jobs.clear()
    assert await bench.annotate() == []
    bench.time[0] += 600
    bench.world.missing = set()  # made anew under its name
    assert [path for path, _ in await bench.annotate()] == ["/apis/apps/v1/namespaces/team-a/deployments/web"]
    bench.world.missing = {"/apis/apps/v1/namespaces/team-a/deployments/web"}
    bench.world.budgets = [budget_body()]
    bench.time[0] += 600
    await bench.annotate()
    assert bench.remembered() == set()


async def test_nothing_is_written_in_a_namespace_that_is_not_judged(bench: Bench) -> None:
    done = finished(NOW - 30, NOW - HOUR)
    bench.add("system", namespace="kube-system", labels={}, status=done)
    bench.add("off", namespace="team-off", labels={}, status=done)
    gone = parse_job(job_body("gone", "kube-system", status=done))
    top = [
        {"kind": "Deployment", "name": "web", "emissions": "1kg", "namespace": namespace}
        for namespace in ("kube-system", "team-off", "team-a")
    ]
    bench.world.budgets = [budget_body("all", "", status={"topWorkloads": top})]
    bench.namespaces["team-off"] = {"carbonbudget.dev/enforcement": "off"}
    bench.show()
    bench.loop.store.departed[gone.uid] = gone
    await bench.loop.annotate()
    assert [path for path, _ in bench.world.patches] == ["/apis/apps/v1/namespaces/team-a/deployments/web"]
    assert bench.world.events == []
    assert bench.loop.store.departed == {}


async def test_a_running_job_that_says_it_already_is_not_written_again_after_a_restart(bench: Bench) -> None:
    said = {
        "carbonbudget.dev/budget": "team-a/monthly", "carbonbudget.dev/state": "Exceeded",
        "carbonbudget.dev/emissions": "1kg", "carbonbudget.dev/as-of": format_time(NOW - 60),
    }  # fmt: skip
    bench.add(annotations=said)
    use = {"kind": "Job", "name": "train", "emissions": "1kg"}
    bench.world.budgets = [budget_body(status={"topWorkloads": [use]})]
    assert await bench.annotate() == []
    bench.world.budgets = [budget_body(status={"topWorkloads": [use | {"emissions": "2kg"}]})]
    assert await bench.annotate() == [], "its figure is a minute old"
    bench.time[0] += 600
    assert len(await bench.annotate()) == 1


async def test_a_budget_with_an_odd_grace_stops_nobody_elses_round(bench: Bench) -> None:
    bench.add()
    odd = budget_body("odd", suspend_from=NOW - 60, spec={"enforce": {"grace": "abc"}})
    bench.world.budgets = [odd, budget_body(suspend_from=NOW - 60)]
    await bench.step()
    assert annotations(bench) == {"carbonbudget.dev/suspended-by": "team-a/monthly"}


async def test_it_acts_within_seconds_of_a_change_and_a_round_that_fails_ends_nothing(bench: Bench) -> None:
    bench.add()
    bench.world.budgets = [budget_body(suspend_from=NOW - 60)]
    bench.world.failing = 1
    bodies = {body["metadata"]["uid"]: body for body in bench.world.budgets}
    running = asyncio.create_task(bench.loop.run())
    try:
        async with asyncio.timeout(20):
            await asyncio.wait_for(bench.world.failed.wait(), 10)
            bench.bodies.update({"bad": {"metadata": None}} | bodies)  # one that cannot be read beside it
            while not bench.world.patches:
                bench.changed.set()
                await asyncio.sleep(0.05)
        assert not running.done()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert bench.world.patches[0][1]["spec"] == {"suspend": True}


# An owner's name in a pod's ownerReferences is free text, and so is what a report calls a workload.
FORGED = (
    "../../attack-c/deployments/victim", "../../attack-c/cronjobs/vcj?fieldManager=attacker&x=", "web/scale", "..",
    "web#", "web%2Fscale", "", "Web", "a" * 254, "web\n",
)  # fmt: skip


@pytest.mark.parametrize("kind", ["Deployment", "CronJob"])
@pytest.mark.parametrize("name", FORGED)
async def test_a_name_that_no_object_can_have_is_never_written_to(bench: Bench, kind: str, name: str) -> None:
    top = [{"kind": kind, "name": name, "emissions": "1kg"}, {"kind": kind, "name": "web", "emissions": "1g"}]
    bench.world.budgets = [budget_body(status={"topWorkloads": top})]
    plural = f"{kind.lower()}s"
    group = "batch" if kind == "CronJob" else "apps"
    assert [path for path, _ in await bench.annotate()] == [f"/apis/{group}/v1/namespaces/team-a/{plural}/web"]
    assert bench.metric("failures_total") == 0  # nothing failed: there is no such object
    assert bench.metric("annotations_total") == 1


@pytest.mark.parametrize("namespace", ["../team-b", "team-b/deployments", "Team", "a" * 64, ".", "team.b"])
async def test_a_namespace_that_cannot_be_is_never_written_in(bench: Bench, namespace: str) -> None:
    top = [{"kind": "Deployment", "name": "web", "emissions": "1kg", "namespace": namespace}]
    bench.world.budgets = [budget_body("all", "", status={"topWorkloads": top})]
    assert await bench.annotate() == []


async def test_a_namespaces_own_budget_writes_in_its_namespace_alone(bench: Bench) -> None:
    top = [{"kind": "Deployment", "name": "web", "emissions": "1kg", "namespace": "team-b"}]
    bench.world.budgets = [budget_body(status={"topWorkloads": top})]
    assert [path for path, _ in await bench.annotate()] == ["/apis/apps/v1/namespaces/team-a/deployments/web"]


def actions_logged(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    found = [(getattr(record, "action", ""), record.getMessage()) for record in caplog.records]
    return [one for one in found if one[0]]


async def test_each_step_with_a_job_is_one_line(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.add()
    bench.world.budgets = [budget_body(suspend_from=NOW + 60)]
    with caplog.at_level(logging.INFO):
        await bench.step()
        bench.time[0] = NOW + 60
        await bench.step()
        await bench.step()
        bench.world.budgets = []
        await bench.step()
    assert actions_logged(caplog) == [
        ("announce", "announce Job team-a/train by budget team-a/monthly"),
        ("suspend", "suspend Job team-a/train by budget team-a/monthly"),
        ("resume", "resume Job team-a/train"),
    ]


async def test_a_write_that_fails_again_and_again_is_logged_once_and_when_it_works(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.add()
    bench.world.budgets = [budget_body(suspend_from=NOW - 60)]
    bench.world.refused = 3
    with caplog.at_level(logging.INFO):
        for _ in range(5):
            await bench.step()
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("carbonbudget")]
    path = "/apis/batch/v1/namespaces/team-a/jobs/train"
    assert lines == [
        f"{path} not updated, tried again later: refused",
        f"{path} updated again",
        "suspend Job team-a/train by budget team-a/monthly",
    ]
    assert bench.metric("failures_total") == 3


async def test_events_that_cannot_be_posted_are_one_line(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(3):
        bench.add(f"j{number}")
    bench.world.budgets, bench.world.no_events = [budget_body(suspend_from=NOW - 60)], True
    await bench.step()
    assert len([record for record in caplog.records if "not posted" in record.getMessage()]) == 1
    assert all(job["spec"]["suspend"] for job in bench.world.jobs.values())
