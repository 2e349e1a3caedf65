"""The evaluation loop against an API server and a server that are small HTTP servers."""

from __future__ import annotations

import copy
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from prometheus_client import CollectorRegistry, generate_latest
from tests.controller.objects import NOW, merge

from carbonbudget_operator.api.budget_query_bodies import BudgetQuery
from carbonbudget_operator.api.wire_names import BUDGET, CLUSTER_BUDGET
from carbonbudget_operator.budgets.verdict import EnforcementTerms
from carbonbudget_operator.controller.budget_store import BudgetStore
from carbonbudget_operator.controller.conflicts import ConflictStore
from carbonbudget_operator.controller.evaluation_loop import EvaluationInputs, EvaluationLoop
from carbonbudget_operator.controller.metrics import ControllerMetrics
from carbonbudget_operator.controller.query_sender import _batches
from carbonbudget_operator.controller.run_events import RunEvents
from carbonbudget_operator.controller.watch_audit import WatchAudit
from carbonbudget_operator.kube.client import KubeClient
from carbonbudget_operator.kube.credentials import Credentials
from carbonbudget_operator.namespace_labels import Namespaces
from carbonbudget_operator.printable import is_printable
from carbonbudget_operator.server_client import ServerClient

BLOCK = [{"at": 100, "action": "Block"}]
HOUR = 3600


@dataclass
class World:
    """What the two servers hold and were told. Objects are by path below the API group's version."""

    now: float = float(NOW)
    used_ug: int = 0
    uses_ug: dict[str, int] = field(default_factory=dict)  # by question, where it differs
    data_lag_s: int = 0
    up: bool = True
    reports: bool = True
    hours_ug: list[int] = field(default_factory=list)
    workloads: list[dict[str, Any]] = field(default_factory=list)
    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    events: list[tuple[str, str]] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)  # Events of runs
    writing: int = 0
    most_writing: int = 0

    async def api(self, request: web.Request) -> web.Response:
        """Metadata lists, merge patches and events, as an API server takes them."""
        self.calls.append((request.method, request.path))
        if request.method == "GET":
            kind = request.path.rsplit("/", 1)[1]
            items = [{"metadata": o["metadata"]} for p, o in self.objects.items() if f"/{p}".rsplit("/", 2)[1] == kind]
            return web.json_response({"items": items, "metadata": {}})
        body = await request.json()
        if request.path.endswith("/events"):
            if body["reason"].startswith("Run"):
                self.bodies.append(body)
                return web.json_response(body)
            self.events.append((body["metadata"]["namespace"], body["reason"]))
            self.messages.append(body["message"])
            return web.json_response(body)
        path = request.path.removeprefix("/apis/carbonbudget.dev/v1alpha1/").removesuffix("/status")
        if path not in self.objects:
            return web.json_response({"message": "not found"}, status=404)
        if body["metadata"]["uid"] != self.objects[path]["metadata"]["uid"]:
            return web.json_response({"message": "the UID does not match"}, status=409)
        self.writing += 1
        self.most_writing = max(self.most_writing, self.writing)
        merge(self.objects[path], body)
        self.writing -= 1
        return web.json_response(self.objects[path])

    async def server(self, request: web.Request) -> web.Response:
        """The batch query."""
        if not self.up:
            return web.json_response({"reason": "starting"}, status=503)
        queries = (await request.json())["queries"]
        self.asked = queries
        answers = [self._answer(query) for query in queries]
        through = int(self.now) - self.data_lag_s if self.reports else 0
        return web.json_response({"data_through": through, "answers": answers})

    def _answer(self, query: dict[str, Any]) -> dict[str, Any]:
        used_ug = self.uses_ug.get(query["id"], self.used_ug)
        return {
            "id": query["id"], "used_ug": used_ug, "used_g": "0", "energy_uj": 9, "energy_kwh": "0",
            "coverage_percent": 100, "measured_percent": 0, "data_from": query["start"],
            "settled_ug": used_ug if query["settled_through"] else 0, "settled_energy_uj": 7,
            "workloads": self.workloads,
        }  # fmt: skip

    async def hours(self, request: web.Request) -> web.Response:
        """The hourly query."""
        queries = (await request.json())["queries"]
        answers = [
            {"id": query["id"], "first_hour": query["end"] - HOUR * len(self.hours_ug), "used_ug": self.hours_ug}
            for query in queries
        ]
        return web.json_response({"answers": answers})


class Bench:
    """The loop in its world; `evaluate` shows the loop the objects as a watch would, then judges once."""

    def __init__(
        self,
        world: World,
        client: KubeClient,
        loop: EvaluationLoop,
        seen: EvaluationInputs,
        registry: CollectorRegistry,
    ) -> None:
        self.world, self.client, self.loop, self.seen, self._registry = world, client, loop, seen, registry

    def add(self, name: str, uid: str = "", **spec: object) -> dict[str, Any]:
        made = {
            "metadata": {"name": name, "namespace": "team-a", "uid": uid or name, "generation": 1},
            "spec": {"limit": "1g", "period": "Month"} | spec,
        }
        self.world.objects[f"namespaces/team-a/carbonbudgets/{name}"] = made
        return made

    def add_cluster_wide(self, name: str, **spec: object) -> dict[str, Any]:
        made = {
            "metadata": {"name": name, "uid": f"cluster-{name}", "generation": 1},
            "spec": {"limit": "1g", "period": "Month"} | spec,
        }
        self.world.objects[f"clustercarbonbudgets/{name}"] = made
        return made

    def show(self) -> None:
        """What a watch would tell."""
        for body in self.world.objects.values():
            resource = BUDGET if "namespace" in body["metadata"] else CLUSTER_BUDGET
            self.seen.budgets.seen(resource, "MODIFIED", copy.deepcopy(body))

    async def evaluate(self) -> list[tuple[str, str]]:
        """The calls that one evaluation made."""
        self.show()
        self.world.calls.clear()
        await self.loop.evaluate()
        return list(self.world.calls)

    def run_events(self) -> list[tuple[str, str, str]]:
        """Kind, name and uid of what Events of runs were about, since this was asked last."""
        found, self.world.bodies = [one["involvedObject"] for one in self.world.bodies], []
        return sorted((one["kind"], one["name"], one.get("uid", "")) for one in found)

    def failures(self) -> float:
        """How many were counted."""
        return self._registry.get_sample_value("carbonbudget_evaluation_failures_total") or 0

    def metrics(self) -> list[str]:
        """Series of budgets."""
        lines = generate_latest(self._registry).decode().splitlines()
        return [line for line in lines if line.startswith("carbonbudget_budget_")]


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    world = World()
    api, server = web.Application(), web.Application()
    api.router.add_route("*", "/{path:.*}", world.api)
    server.router.add_post("/v1/budgets/query", world.server)
    server.router.add_post("/v1/budgets/hours", world.hours)
    async with TestServer(api) as api_server, TestServer(server) as rest:
        client = KubeClient.connect(Credentials(str(api_server.make_url("")).rstrip("/"), lambda: ""))
        seen = EvaluationInputs(BudgetStore(), Namespaces(), ConflictStore())
        asked = ServerClient(str(rest.make_url("")), None, lambda: "")
        asked._tls = lambda: False  # type: ignore[method-assign,assignment,return-value] # plain HTTP on loopback
        registry = CollectorRegistry()
        loop = EvaluationLoop(
            client, asked, seen, ControllerMetrics(registry), 60, EnforcementTerms(6 * HOUR), now=lambda: world.now
        )
        yield Bench(world, client, loop, seen, registry)
        await client.close()


async def test_a_verdict_is_written_once_and_then_nothing_until_it_changes(bench: Bench) -> None:
    monthly = bench.add("monthly")
    assert await bench.evaluate() == [
        ("PATCH", "/apis/carbonbudget.dev/v1alpha1/namespaces/team-a/carbonbudgets/monthly/status")
    ]
    assert monthly["status"]["state"] == "WithinBudget"
    assert await bench.evaluate() == []


async def test_a_block_writes_status_label_and_event_and_its_end_takes_both_back(bench: Bench) -> None:
    tight = bench.add("tight", thresholds=BLOCK)
    bench.world.used_ug = 2_000_000
    await bench.evaluate()
    assert tight["status"]["enforcement"]["action"] == "Block"
    assert tight["metadata"]["labels"] == {"carbonbudget.dev/blocking": "true"}
    assert bench.world.events == [("team-a", "BudgetExceeded")]
    tight["spec"]["limit"] = "1kg"
    tight["metadata"]["generation"] = 2
    await bench.evaluate()
    assert "enforcement" not in tight["status"]
    assert tight["metadata"]["labels"] == {}
    assert bench.world.events == [("team-a", "BudgetExceeded"), ("team-a", "BudgetWithinLimit")]


async def test_a_cluster_wide_budget_goes_the_same_way(bench: Bench) -> None:
    everything = bench.add_cluster_wide("all", thresholds=BLOCK)
    bench.add("all")
    bench.world.used_ug = 2_000_000
    await bench.evaluate()
    assert sorted(query["id"] for query in bench.world.asked) == ["/all", "team-a/all"]
    assert everything["status"]["state"] == "Exceeded"
    assert everything["metadata"]["labels"] == {"carbonbudget.dev/blocking": "true"}
    assert sorted(bench.world.events) == [("default", "BudgetExceeded"), ("team-a", "BudgetExceeded")]
    assert await bench.evaluate() == []


async def test_a_cluster_wide_budget_with_a_selector_waits_for_the_namespaces(bench: Bench) -> None:
    teams = bench.add_cluster_wide("teams", namespaceSelector={"matchLabels": {"kind": "team"}})
    await bench.evaluate()
    assert {c["type"]: c["reason"] for c in teams["status"]["conditions"]}["DataComplete"] == "NamespacesUnknown"
    bench.seen.namespaces.seen("ADDED", {"metadata": {"name": "team-a", "labels": {"kind": "team"}}})
    bench.seen.namespaces.listed = True
    await bench.evaluate()
    assert teams["status"]["namespaces"] == ["team-a"]
    bench.seen.namespaces.seen("DELETED", {"metadata": {"name": "team-a"}})
    await bench.evaluate()
    assert bench.world.asked[0]["namespaces"] == ["team-a"]


async def test_a_label_that_somebody_took_off_is_put_back(bench: Bench) -> None:
    tight = bench.add("tight", thresholds=BLOCK)
    bench.world.used_ug = 2_000_000
    await bench.evaluate()
    tight["metadata"]["labels"].clear()
    await bench.evaluate()
    assert tight["metadata"]["labels"] == {"carbonbudget.dev/blocking": "true"}


async def test_while_the_server_is_away_the_last_verdict_stands(bench: Bench) -> None:
    tight = bench.add("tight", thresholds=BLOCK)
    bench.world.used_ug = 2_000_000
    await bench.evaluate()
    bench.world.up = False
    await bench.evaluate()
    assert tight["status"]["state"] == "Exceeded"
    assert "enforcement" in tight["status"]
    assert tight["metadata"]["labels"] == {"carbonbudget.dev/blocking": "true"}
    reasons = {c["type"]: c["reason"] for c in tight["status"]["conditions"]}
    assert reasons["DataComplete"] == "ServerUnavailable"
    assert await bench.evaluate() == []  # said once


def runs(*used_g: float) -> list[dict[str, Any]]:
    return [
        {"namespace": "team-a", "workload": f"Job/run-{n}", "used_ug": int(used * 10**6), "energy_uj": 1}
        for n, used in enumerate(used_g)
    ]


async def test_each_run_over_its_limit_has_its_own_event_on_the_budget_and_on_the_job(bench: Bench) -> None:
    own = bench.add("own", per="Workload")
    bench.loop.run_events.uids = lambda: {("team-a", "Job", "run-1"): "uid-1"}
    bench.world.workloads = runs(2, 0.5)
    await bench.evaluate()
    assert bench.run_events() == [("CarbonBudget", "own", "own"), ("Job", "run-0", "")]
    bench.world.workloads = runs(3, 1.1, 0.9)
    await bench.evaluate()
    sentences = {event["involvedObject"]["name"]: (event["reason"], event["message"]) for event in bench.world.bodies}
    assert bench.run_events() == [
        ("CarbonBudget", "own", "own"), ("CarbonBudget", "own", "own"), ("Job", "run-1", "uid-1"), ("Job", "run-2", ""),
    ]  # fmt: skip
    assert sentences["run-1"][0] == "RunExceeded"
    assert sentences["run-1"][1].startswith("carbon budget own: Job/run-1 used 1.1g of 1g CO2e (110 %), resets ")
    assert sentences["run-2"][0] == "RunWarning"
    assert [top["state"] for top in own["status"]["topWorkloads"]] == ["Exceeded", "Exceeded", "Warning"]
    await bench.evaluate()
    assert bench.run_events() == []


async def test_a_restarted_controller_repeats_no_runs_event(bench: Bench) -> None:
    bench.add("own", per="Workload")
    bench.world.workloads = runs(2, 2)
    await bench.evaluate()
    bench.run_events()
    bench.loop.run_events = RunEvents(bench.client)
    await bench.evaluate()
    assert bench.run_events() == []
    bench.world.workloads = runs(2, 2, 2)
    await bench.evaluate()
    assert {name for _, name, _ in bench.run_events()} == {"own", "run-2"}


async def test_runs_events_are_bounded_in_each_window_and_none_is_lost(bench: Bench) -> None:
    for n in range(3):
        bench.add(f"own-{n}", per="Workload")
    bench.world.workloads = runs(*[2] * 100)
    found: list[int] = []
    for _ in range(4):
        await bench.evaluate()
        found.append(sum(kind == "Job" for kind, _, _ in bench.run_events()))
    assert found == [100, 100, 100, 0]


async def test_a_run_in_a_namespace_that_is_not_judged_or_with_an_impossible_name_is_told_on_the_budget_alone(
    bench: Bench,
) -> None:
    bench.add_cluster_wide("own", per="Workload")
    bench.loop.run_events.enforced = lambda namespace: namespace != "off"
    one = {"used_ug": 2 * 10**6, "energy_uj": 1}
    bench.world.workloads = [
        one | {"namespace": "off", "workload": "Job/a"}, one | {"namespace": "team-a", "workload": "Job/../b"},
        one | {"namespace": "team-a", "workload": "RayJob/c"}, one | {"namespace": "team-a", "workload": "Job/d"},
    ]  # fmt: skip
    await bench.evaluate()
    events = bench.run_events()
    assert [kind for kind, _, _ in events].count("ClusterCarbonBudget") == 4
    assert [one for one in events if one[0] != "ClusterCarbonBudget"] == [("Job", "d", "")]


def test_questions_go_in_parts_that_the_server_names_all_workloads_of() -> None:
    def query(n: int, workloads: int) -> BudgetQuery:
        return BudgetQuery(id=str(n), namespaces=["a"], start=0, end=1, workloads=workloads)

    parts = _batches([query(n, 100) for n in range(3000)])
    assert [len(part) for part in parts] == [1000, 1000, 1000]
    assert [len(part) for part in _batches([query(n, 5) for n in range(5001)])] == [5000, 1]
    assert _batches([]) == [[]]


async def test_only_what_blocks_is_renewed(bench: Bench) -> None:
    bench.add("calm")
    tight = bench.add("tight", thresholds=BLOCK)
    bench.world.uses_ug = {"team-a/tight": 2_000_000}
    await bench.evaluate()
    bench.world.now += 4 * HOUR
    calls = await bench.evaluate()
    assert [path.rsplit("/", 2)[1] for _, path in calls] == ["tight"]
    assert tight["status"]["enforcement"]["until"] == "2026-11-24T04:53:20Z"


async def test_before_any_report_nothing_is_judged(bench: Bench) -> None:
    tight = bench.add("tight", thresholds=BLOCK, limit="0g")
    bench.world.reports = False
    await bench.evaluate()
    assert tight["status"]["state"] == "Unknown"
    assert bench.world.events == []


async def test_unknown_is_told_once_when_something_was_known(bench: Bench) -> None:
    bench.add("careful", thresholds=BLOCK, onMissingData="Unknown")
    bench.world.used_ug = 2_000_000
    await bench.evaluate()
    bench.world.data_lag_s = 901
    await bench.evaluate()
    await bench.evaluate()
    assert bench.world.events == [("team-a", "BudgetExceeded"), ("team-a", "BudgetUnknown")]


async def test_a_bad_budget_holds_up_nobody_else(bench: Bench) -> None:
    bad, good = bench.add("bad", limit="much"), bench.add("good")
    await bench.evaluate()
    assert bad["status"]["conditions"][0]["reason"] == "BadSpec"
    assert good["status"]["state"] == "WithinBudget"
    assert await bench.evaluate() == []


SPAN = {"period": None, "start": "2026-01-01T00:00:00Z", "end": "2027-01-01T00:00:00Z"}
# What none of our controllers writes: no question to the server can be of that period, no text of that year.
BEFORE_1970 = {"period": {"start": "1960-01-01T00:00:00Z", "end": "1961-01-01T00:00:00Z"}, "state": "Exceeded"}
YEAR_10000 = {
    "history": [{"start": "2026-10-01T00:00:00Z", "end": "9999-12-31T23:59:59-05:00", "used": "1g", "limit": "1g"}]
}


@pytest.mark.parametrize("status", [BEFORE_1970, YEAR_10000])
async def test_what_nobody_foresaw_of_one_budget_holds_up_nobody_else(
    bench: Bench, caplog: pytest.LogCaptureFixture, status: dict[str, Any]
) -> None:
    odd, good = bench.add("odd", **SPAN), bench.add("good")
    odd["status"] = dict(status)
    await bench.evaluate()
    await bench.evaluate()
    assert good["status"]["state"] == "WithinBudget"
    assert odd["status"]["conditions"][0]["reason"] == "BadSpec"
    assert odd["status"]["message"].startswith("this budget cannot be evaluated")
    assert bench.failures() == 2
    assert [record.getMessage() for record in caplog.records if record.exc_info] == ["team-a/odd cannot be evaluated"]


async def test_a_budget_that_nobody_foresaw_is_judged_once_it_is_mended(bench: Bench) -> None:
    odd = bench.add("odd", **SPAN)
    odd["status"] = dict(BEFORE_1970)
    await bench.evaluate()
    del odd["status"]["period"]
    await bench.evaluate()
    assert odd["status"]["state"] == "WithinBudget"


async def test_a_budget_that_is_gone_is_forgotten_by_the_write_that_misses_it(bench: Bench) -> None:
    bench.add("gone")
    bench.show()
    bench.world.objects.clear()
    await bench.loop.evaluate()
    assert bench.seen.budgets.snapshot() == {}


async def test_a_budget_whose_end_the_watch_missed_is_forgotten_by_the_next_census(bench: Bench) -> None:
    bench.add("kept")
    bench.add("gone")
    bench.add_cluster_wide("kept")
    await bench.evaluate()
    await bench.evaluate()
    del bench.world.objects["namespaces/team-a/carbonbudgets/gone"]
    await bench.loop.evaluate()
    assert "team-a/gone" in bench.seen.budgets.snapshot()  # nothing to write, so no 404 tells
    await WatchAudit(bench.client, bench.seen.budgets).take()
    assert sorted(bench.seen.budgets.snapshot()) == ["/kept", "team-a/kept"]


async def test_a_budget_that_is_too_large_is_told_so_once_and_blocks_nothing(bench: Bench) -> None:
    """Not all of its status is kept, so that it cannot be compared."""
    body = bench.add("huge")
    body["metadata"]["labels"] = {"carbonbudget.dev/blocking": "true"}
    spec = body["spec"]
    body["spec"] = spec | {"selector": {"matchLabels": {"k" * 2**20: "x"}}}
    assert [call for call in await bench.evaluate() if call[0] == "PATCH"] == [
        ("PATCH", "/apis/carbonbudget.dev/v1alpha1/namespaces/team-a/carbonbudgets/huge/status"),
        ("PATCH", "/apis/carbonbudget.dev/v1alpha1/namespaces/team-a/carbonbudgets/huge"),
    ]
    assert "too large" in body["status"]["message"]
    assert body["metadata"]["labels"] == {}
    del body["status"]
    assert [call for call in await bench.evaluate() if call[0] == "PATCH"] == []
    body["spec"] = spec
    body["metadata"]["generation"] = 2
    await bench.evaluate()
    assert body["status"]["state"] == "WithinBudget"


async def test_a_budget_made_anew_under_its_name_is_another_one(bench: Bench) -> None:
    bench.add("monthly", thresholds=BLOCK)
    bench.world.used_ug = 2_000_000
    await bench.evaluate()
    bench.world.used_ug = 1_000
    again = bench.add("monthly", uid="another", thresholds=BLOCK)
    await bench.loop.evaluate()  # the watch has not told yet: what it would write is refused by the uid
    assert "status" not in again
    await bench.evaluate()
    assert again["status"]["state"] == "WithinBudget"


async def test_a_revised_factor_acts_on_nothing_in_the_loop_too(bench: Bench) -> None:
    tight = bench.add("tight", thresholds=BLOCK)
    bench.world.used_ug = 700_000
    await bench.evaluate()
    await bench.evaluate()
    bench.world.used_ug = 1_400_000  # at the same energy
    await bench.evaluate()
    assert (tight["status"]["percentUsed"], tight["status"]["state"]) == (140, "WithinBudget")
    assert "(140 %, 700mg of it by revised factors)" in tight["status"]["message"]
    assert tight["status"]["settled"]["revisedMicrograms"] == 700_000
    assert "enforcement" not in tight["status"]


async def test_a_forecast_goes_by_the_hours_of_a_week_once_they_are_known(bench: Bench) -> None:
    monthly = bench.add("monthly", limit="1kg")
    bench.world.used_ug = 10_000_000
    await bench.evaluate()
    assert monthly["status"]["forecast"] == "13.1g"
    bench.world.hours_ug = [1_000_000] * 672
    await bench.loop.profiles.refresh()
    await bench.evaluate()
    assert monthly["status"]["forecast"] == "183g"


async def test_no_more_than_sixteen_writes_are_under_way_at_once(bench: Bench) -> None:
    for index in range(60):
        bench.add(f"b{index}")
    assert len(await bench.evaluate()) == 60
    assert bench.world.most_writing <= 16


async def test_series_come_with_a_budget_and_go_with_it(bench: Bench) -> None:
    bench.add("monthly", limit="2g", thresholds=BLOCK)
    bench.add_cluster_wide("all")
    bench.world.used_ug = 2_500_000
    await bench.evaluate()
    labels = 'kind="CarbonBudget",name="monthly",namespace="team-a"'
    series = bench.metrics()
    for expected in (
        f"carbonbudget_budget_limit_grams{{{labels}}} 2.0",
        f"carbonbudget_budget_used_grams{{{labels}}} 2.5",
        f'carbonbudget_budget_state{{{labels},state="Exceeded"}} 1.0',
        f'carbonbudget_budget_state{{{labels},state="Warning"}} 0.0',
        f"carbonbudget_budget_blocking{{{labels}}} 1.0",
        f"carbonbudget_budget_used_fell{{{labels}}} 0.0",
        f"carbonbudget_budget_data_through_timestamp_seconds{{{labels}}} 1.79546e+09",
        'carbonbudget_budget_limit_grams{kind="ClusterCarbonBudget",name="all",namespace=""} 1.0',
    ):
        assert expected in series, expected
    assert any(line.startswith(f"carbonbudget_budget_forecast_grams{{{labels}}}") for line in series)
    bench.seen.budgets.forget("team-a/monthly", "monthly")
    await bench.loop.evaluate()
    assert all('name="all"' in line for line in bench.metrics())


async def test_a_conflict_is_shown_until_it_is_cleared(bench: Bench) -> None:
    monthly = bench.add("monthly")
    bench.seen.conflicts.report("team-a/monthly", "argocd reverts Job/train")
    await bench.evaluate()
    bench.seen.conflicts.clear("team-a/monthly")
    shown = {c["type"]: c["status"] for c in monthly["status"]["conditions"]}
    await bench.evaluate()
    after = {c["type"]: c["status"] for c in monthly["status"]["conditions"]}
    assert (shown["EnforcementConflict"], after["EnforcementConflict"]) == ("True", "False")


async def test_a_budget_shows_our_verdict_once_the_watch_has_given_the_status_back(bench: Bench) -> None:
    bench.add("monthly", limit="2g", thresholds=BLOCK)
    bench.world.used_ug = 2_500_000
    bench.show()
    assert not bench.loop.shows_verdict("team-a/monthly")
    await bench.evaluate()
    former = bench.seen.budgets.snapshot()["team-a/monthly"]
    bench.show()
    assert bench.loop.shows_verdict("team-a/monthly")
    bench.seen.budgets.seen(former.resource, "MODIFIED", {**former.body, "status": {}})  # a late echo
    assert not bench.loop.shows_verdict("team-a/monthly")
    assert not bench.loop.shows_verdict("team-a/other")


def texts_of(value: object) -> list[str]:
    if isinstance(value, dict):
        return [text for item in value.values() for text in texts_of(item)]
    if isinstance(value, list):
        return [text for item in value for text in texts_of(item)]
    return [value] if isinstance(value, str) else []


async def test_an_owners_name_and_a_contact_are_shown_and_neither_acts_nor_deceives(bench: Bench) -> None:
    """A pod's ownerReferences and a budget's contact are free text: a terminal would act on what is in them."""
    hostile = "\x1b[2J\x1b[31mPWNED\x1b[0m\nDeployment/fake-row  0mg\x1b]0;title\a\u202e"
    bench.world.used_ug = 2_000_000
    bench.world.workloads = [
        {"namespace": "team-a", "workload": f"{kind}/{hostile}", "used_ug": 9, "energy_uj": 9}
        for kind in ("CronJob", hostile.replace("/", ""))
    ]
    bench.add("tight", per="Workload", contact=hostile[:64])
    await bench.evaluate()
    status = bench.world.objects["namespaces/team-a/carbonbudgets/tight"]["status"]
    assert status["topWorkloads"][0]["name"].startswith("\\x1b[2J\\x1b[31mPWNED")
    assert [text for text in texts_of(status) + bench.world.messages if not is_printable(text)] == []
    assert [call for call in await bench.evaluate() if call[0] == "PATCH"] == []  # the same again is no change


def actions_logged(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    found = [(getattr(record, "action", ""), record.getMessage()) for record in caplog.records]
    return [one for one in found if one[0]]


async def test_a_change_of_verdict_is_one_line(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    tight = bench.add("tight", thresholds=BLOCK)
    with caplog.at_level(logging.INFO):
        await bench.evaluate()
        bench.world.used_ug = 2_000_000
        await bench.evaluate()
        await bench.evaluate()
    (line,) = actions_logged(caplog)
    assert line == ("verdict", f"team-a/tight is Exceeded, was WithinBudget: {tight['status']['message']}")


async def test_the_server_away_and_back_is_a_line_each(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.add("monthly")
    with caplog.at_level(logging.INFO):
        for up in (True, False, False, True, True):
            bench.world.up = up
            await bench.evaluate()
    assert [action for action, _ in actions_logged(caplog)] == ["server-away", "server-back"]
    assert actions_logged(caplog)[0][1].endswith("; the last verdicts stand")


async def test_a_status_that_is_refused_again_and_again_is_logged_once(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    made = bench.add("monthly")
    bench.show()
    made["metadata"]["uid"] = "another"  # the API server refuses writes to the former
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            await bench.loop.evaluate()
    assert len([record for record in caplog.records if "not updated" in record.getMessage()]) == 1
    assert bench.failures() == 3
    made["metadata"]["uid"] = "monthly"
    with caplog.at_level(logging.INFO):
        await bench.loop.evaluate()
    assert [record.getMessage() for record in caplog.records][-1] == "team-a/monthly updated again"
