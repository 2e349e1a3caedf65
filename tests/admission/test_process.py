"""The webhook as a process: its answers over HTTP, what it keeps by watches, its Events and figures."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import CollectorRegistry
from tests.admission.given import NOW, Bench, a_budget, a_review, an_object

from carbonbudget_operator.admission.admission_decision import AdmissionDecision
from carbonbudget_operator.admission.admission_events import QUEUE, QUIET_SECONDS, AdmissionEvents
from carbonbudget_operator.admission.app import make_app, make_metrics_app
from carbonbudget_operator.admission.budget_cache import MAX_AGE_SECONDS
from carbonbudget_operator.admission.metrics import AdmissionMetrics
from carbonbudget_operator.admission.projection_cache import ProjectionCache, keep_fetching
from carbonbudget_operator.admission.review_parser import BadReview, parse_review
from carbonbudget_operator.admission.watch_cache import WatchCache
from carbonbudget_operator.api.kubernetes_event import InvolvedObject
from carbonbudget_operator.api.wire_names import BUDGET, CLUSTER_BUDGET
from carbonbudget_operator.api_path import ApiPath
from carbonbudget_operator.kube.client import KubeClient
from carbonbudget_operator.kube.credentials import Credentials
from carbonbudget_operator.logs import JsonFormatter
from carbonbudget_operator.namespace_labels import NAMESPACES
from carbonbudget_operator.server_client import ServerClient

FAR = NOW + 10**9
JOB = InvolvedObject("batch/v1", "Job", "train", "team-a")


class Process:
    """The webhook's app over a bench, with its Events and figures."""

    def __init__(self, bench: Bench) -> None:
        self.registry = CollectorRegistry()
        self.metrics = AdmissionMetrics(self.registry, lambda: math.nan, {})
        self.events = AdmissionEvents(self.metrics)
        self.budgets = bench.budgets
        self.current_at: dict[str, float] = {}
        self.app = make_app(bench.handler, bench.budgets, self.events, self.metrics, lambda: self.current_at)

    def figure(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)


@asynccontextmanager
async def an_api_server(answer: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[KubeClient]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app) as server:
        client = KubeClient.connect(Credentials(url=str(server.make_url("")).rstrip("/"), token=lambda: "t"))
        try:
            yield client
        finally:
            await client.close()


@asynccontextmanager
async def running(*work: Any) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(each) for each in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - what is awaited sets no event
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("value", [None, [], {}, {"request": {}}, {"request": {"uid": 5}}, "x"])
def test_what_is_no_review_is_refused_in_a_line(value: object) -> None:
    with pytest.raises(BadReview, match="no AdmissionReview"):
        parse_review(value)


@pytest.mark.parametrize("namespace", ["../../../apis/x", "a/b", "a?x=1", "A", "-a", "a" * 64, "a\nb"])
def test_a_namespace_that_is_none_is_refused_since_it_goes_into_a_path(namespace: str) -> None:
    with pytest.raises(BadReview, match="namespace's name"):
        parse_review({"request": {"uid": "u", "operation": "CREATE", "namespace": namespace}})
    for right in ("", "a", "team-a", "a" * 63):
        assert parse_review({"request": {"uid": "u", "operation": "CREATE", "namespace": right}}).namespace == right


async def test_it_is_ready_after_the_first_lists_and_answers_garbage_with_400() -> None:
    process = Process(Bench())
    async with TestClient(TestServer(process.app)) as client:
        for kept in (process.budgets.own, process.budgets.wide):
            assert (await client.get("/readyz")).status == 503
            kept.listed.set()
        assert (await client.get("/readyz")).status == 503
        process.budgets.namespaces.listed = True
        assert (await client.get("/readyz")).status == 200
        for junk in (b"", b"{", b"[" * 100_000, b"null", b"\xff", b'{"request": {"uid": "u", "operation": "DELETE"}}'):
            answer = await client.post("/validate", data=junk)
            assert answer.status == 400
            assert "\n" not in (await answer.json())["reason"]
    assert process.figure("carbonbudget_admission_reviews_total", outcome="bad") == 6


async def test_it_is_not_ready_while_a_watch_it_relies_on_has_long_shown_nothing() -> None:
    process = Process(Bench())
    for kept in (process.budgets.own, process.budgets.wide):
        kept.listed.set()
    process.budgets.namespaces.listed = True
    async with TestClient(TestServer(process.app)) as client:
        for path in (BUDGET.collection, CLUSTER_BUDGET.collection, NAMESPACES):
            process.current_at[str(path)] = time.time() - MAX_AGE_SECONDS + 60
            assert (await client.get("/readyz")).status == 200
            process.current_at[str(path)] = time.time() - MAX_AGE_SECONDS - 1
            answer = await client.get("/readyz")
            assert answer.status == 503
            assert await answer.text() == f"the watch of {path} was last current 601 s ago"
            assert (await client.get("/healthz")).status == 200  # a restart would know no more
            process.current_at[str(path)] = time.time()
        process.current_at["/apis/apps/v1/deployments"] = 0.0  # growth that is not settled passes meanwhile
        assert (await client.get("/readyz")).status == 200


async def test_a_warning_and_a_refusal_are_told_as_the_api_server_reads_them() -> None:
    process = Process(
        Bench(a_budget("soft", ends=FAR), a_budget("hard", ends=FAR, until=FAR, enforce={"kinds": ["Pod"]}))
    )
    async with TestClient(TestServer(process.app)) as client:

        async def ask(kind: str) -> dict[str, Any]:
            answered = await client.post("/validate", data=json.dumps(a_review(kind, an_object(kind))))
            answer: dict[str, Any] = await answered.json()
            assert (answer["apiVersion"], answer["kind"]) == ("admission.k8s.io/v1", "AdmissionReview")
            return dict(answer["response"])

        warned, refused = await ask("Job"), await ask("Pod")
    assert warned == {
        "uid": "u",
        "allowed": True,
        "warnings": ["carbon budget hard: used up", "carbon budget soft: used up"],
    }
    assert refused["allowed"] is False
    assert (refused["status"]["code"], refused["status"]["reason"]) == (403, "Forbidden")
    assert refused["status"]["message"].startswith("carbon budget hard: used up; see: kubectl")
    assert process.figure("carbonbudget_admission_reviews_total", outcome="refused") == 1
    assert process.figure("carbonbudget_admission_refusals_total", basis="Used") == 1
    assert process.figure("carbonbudget_admission_warnings_total") == 2
    assert process.figure("carbonbudget_admission_duration_seconds_count") == 2


@pytest.mark.parametrize(("dry_run", "queued"), [(True, 0), (False, 1)])
async def test_a_dry_run_leaves_no_event(dry_run: bool, queued: int) -> None:
    process = Process(Bench(a_budget(ends=FAR)))
    async with TestClient(TestServer(process.app)) as client:
        review = a_review("Job", an_object(), dryRun=dry_run)
        assert (await (await client.post("/validate", data=json.dumps(review))).json())["response"]["warnings"]
    assert process.events._queue.qsize() == queued


async def test_an_event_is_posted_in_the_background_about_what_was_refused() -> None:
    posted: list[tuple[str, dict[str, Any]]] = []

    async def answer(request: web.Request) -> web.Response:
        posted.append((request.path, await request.json()))
        return web.json_response({}, status=201)

    process = Process(Bench())
    process.events.record(AdmissionDecision(refusal="no", basis="Used", about=JOB), 0)
    async with an_api_server(answer) as client, running(process.events.post(client)):
        await until(lambda: process.figure("carbonbudget_admission_events_total", fate="posted") == 1)
    path, event = posted[0]
    assert path == "/api/v1/namespaces/team-a/events"
    assert (event["reason"], event["message"], event["type"]) == ("WorkRefused", "no", "Warning")
    assert event["involvedObject"] == {
        "apiVersion": "batch/v1", "kind": "Job", "name": "train", "namespace": "team-a",
    }  # fmt: skip


def test_the_same_about_the_same_object_is_told_once_in_ten_minutes() -> None:
    process = Process(Bench())
    refused = AdmissionDecision(refusal="no", about=JOB)
    for now in (0.0, 1.0, QUIET_SECONDS - 1, QUIET_SECONDS):
        process.events.record(refused, now)
    assert process.events._queue.qsize() == 2
    assert process.figure("carbonbudget_admission_events_total", fate="repeated") == 2


def test_nothing_is_remembered_or_posted_about_what_no_object_can_be_called() -> None:
    process = Process(Bench())
    for number in range(3):
        owner = InvolvedObject("batch/v1", "CronJob", f"{number}" * 100_000, "team-a")
        process.events.record(AdmissionDecision(refusal="no", about=owner), 0)
    assert (process.events._queue.qsize(), len(process.events._recorded)) == (0, 0)
    assert process.figure("carbonbudget_admission_events_total", fate="dropped") == 3


def test_events_beyond_the_queue_are_dropped_and_counted() -> None:
    process = Process(Bench())
    for number in range(QUEUE + 7):
        process.events.record(
            AdmissionDecision(refusal="no", about=InvolvedObject("batch/v1", "Job", f"j{number}", "team-a")), 0
        )
    assert process.events._queue.qsize() == QUEUE
    assert process.figure("carbonbudget_admission_events_total", fate="dropped") == 7


async def test_an_event_that_the_api_server_refuses_is_counted_and_the_next_is_posted() -> None:
    codes = iter([403, 201])

    async def answer(_: web.Request) -> web.Response:
        return web.json_response({}, status=next(codes))

    process = Process(Bench())
    for name in ("a", "b"):
        process.events.record(
            AdmissionDecision(refusal="no", about=InvolvedObject("batch/v1", "Job", name, "team-a")), 0
        )
    async with an_api_server(answer) as client, running(process.events.post(client)):
        await until(lambda: process.figure("carbonbudget_admission_events_total", fate="posted") == 1)
    assert process.figure("carbonbudget_admission_events_total", fate="failed") == 1


async def test_after_a_new_list_what_is_not_in_it_is_gone_and_what_is_not_understood_is_left_out() -> None:
    class Watch:
        async def watch(self, _: ApiPath, most_parsed: int) -> Any:
            yield "LISTING", None
            for name in "ab":
                yield "ADDED", a_budget(name)
            yield "LISTED", None
            yield "DELETED", a_budget("b")
            yield "ADDED", a_budget("d")
            yield "LISTING", None
            yield "ADDED", a_budget("c")
            yield "ADDED", a_budget("odd", limit="five kilos")
            yield "LISTED", None

    kept = Bench().budgets.own
    changes: list[int] = []
    kept.changed = lambda: changes.append(len(kept.all()))
    await kept.follow(Watch(), "/x")  # type: ignore[arg-type] # one method of it
    assert list(kept.of("team-a")) == ["c"]
    assert changes == [2, 1, 2, 3, 3, 1]


async def test_a_kept_object_that_becomes_unreadable_is_no_longer_kept() -> None:
    kept = WatchCache[int]("x", lambda body: int(str(body["n"])))
    kept.put("ADDED", {"metadata": {"namespace": "a", "name": "x"}, "n": 1})
    kept.put("MODIFIED", {"metadata": {"namespace": "a", "name": "x"}, "n": "odd"})
    assert kept.all() == []


async def test_workloads_are_watched_while_a_budget_blocks_and_no_longer() -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        if "watch" in request.query:
            await asyncio.sleep(30)
        web_ = an_object("Deployment", {"project": "x"}, metadata={"name": "web", "namespace": "team-a"})
        return web.json_response({"metadata": {"resourceVersion": "1"}, "items": [web_]})

    bench = Bench()
    bench.budgets.own.listed.set()
    bench.budgets.wide.listed.set()
    bench.budgets.namespaces.listed = True
    workload_kind = bench.workloads.kinds["Deployment"]
    async with an_api_server(answer) as client, running(bench.workloads.follow(client, bench.budgets)):
        await asyncio.sleep(0)
        bench.budgets.own.put("ADDED", a_budget(ends=FAR, until=FAR, enforce={"kinds": ["Deployment"]}))
        bench.budgets.own.changed()
        await until(lambda: bench.workloads.find(workload_kind, "team-a", "web") is not None)
        bench.budgets.own.put("MODIFIED", a_budget(ends=FAR))
        bench.budgets.own.changed()
        await until(lambda: bench.workloads.find(workload_kind, "team-a", "web") is None)
        bench.workloads.stop()
    assert set(asked) == {"/apis/apps/v1/namespaces/team-a/deployments"}


async def test_ten_namespaces_that_block_three_kinds_leave_every_watch_of_budgets_current() -> None:
    watching: set[str] = set()

    async def answer(request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            return web.json_response({"metadata": {"resourceVersion": "1"}, "items": []})
        watching.add(request.path)
        response = web.StreamResponse()
        await response.prepare(request)
        await asyncio.sleep(30)
        return response

    kinds = ["Deployment", "StatefulSet", "ReplicaSet"]
    bench = Bench(
        *(a_budget(namespace=f"n{n}", ends=FAR, until=FAR, enforce={"kinds": kinds}) for n in range(10)),
        a_budget("x", namespace="n0", ends=FAR, until=FAR, enforce={"kinds": ["TrainJob"]}),
    )
    bench.budgets.own.listed.set()
    bench.budgets.wide.listed.set()
    bench.budgets.namespaces.listed = True
    async with an_api_server(answer) as client, running(bench.workloads.follow(client, bench.budgets)):
        budgets = bench.budgets.watches(client)
        await until(lambda: len(watching) == 7)
        assert (await client.request("GET", BUDGET.collection))["items"] == []
        bench.workloads.stop()
        for task in budgets:
            task.cancel()
        await asyncio.gather(*budgets, return_exceptions=True)
    assert {path for path in watching if "/apis/apps" in path} == {
        "/apis/apps/v1/deployments", "/apis/apps/v1/statefulsets", "/apis/apps/v1/replicasets"
    }  # fmt: skip


@pytest.mark.parametrize("error", [TypeError, AttributeError, RecursionError, ValueError, KeyError])
async def test_one_object_that_any_defect_trips_over_does_not_end_the_watch_of_the_others(
    error: type[Exception],
) -> None:
    def parse(body: Any) -> str:
        if body["metadata"]["name"] == "odd":
            raise error("odd\x1b")
        return str(body["metadata"]["name"])

    kept = WatchCache[str]("x", parse)
    for name in ("a", "odd", "b"):
        kept.put("ADDED", {"metadata": {"namespace": "n", "name": name}})
    assert kept.all() == ["a", "b"]


async def test_the_table_stands_while_the_server_is_away_and_tells_its_age(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("carbonbudget_operator.admission.projection_cache.FETCH_SECONDS", 0.02)
    calls = 0

    async def answer(_: web.Request) -> web.Response:
        nonlocal calls
        calls += 1
        first = {"as_of": NOW, "rates": [], "runs": []}
        return web.json_response(first) if calls == 1 else web.json_response({"reason": "busy"}, status=503)

    app = web.Application()
    app.router.add_get("/v1/projection", answer)
    table = ProjectionCache()
    assert table.age_s(NOW) is None
    async with TestServer(app) as server:
        asked = ServerClient(str(server.make_url("")), None, a_bundle)
        async with running(keep_fetching(table, asked)):
            await until(lambda: calls >= 3)
    assert table.age_s(NOW + 90) == 90


def a_bundle() -> str:
    """Any CA: the test's server speaks plain HTTP."""
    paths = ssl.get_default_verify_paths()
    assert paths.cafile is not None
    return Path(paths.cafile).read_text(encoding="utf-8")


async def test_the_metrics_are_on_a_port_of_their_own() -> None:
    process = Process(Bench())
    async with TestClient(TestServer(make_metrics_app(process.registry))) as client:
        text = await (await client.get("/metrics")).text()
        assert (await client.post("/validate", data=b"{}")).status == 404
    assert 'carbonbudget_admission_reviews_total{outcome="refused"} 0.0' in text
    assert "carbonbudget_admission_projection_age_seconds NaN" in text


def test_a_refusal_is_one_line_and_of_many_in_a_second_ten_are_with_how_many_were_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    process = Process(Bench())
    refused = AdmissionDecision(
        refusal="carbon budget b: no", about=InvolvedObject("batch/v1", "Job", "tr\nain", "team-a")
    )
    with caplog.at_level(logging.INFO):
        for number in range(100):
            process.events.record(refused, number / 1000)
        process.events.record(refused, 1.5)
        process.events.record(AdmissionDecision(warnings=("near",), about=JOB), 2.5)
    records = [record for record in caplog.records if getattr(record, "action", "") == "refuse"]
    assert len(records) == 11
    assert records[0].getMessage() == "refused Job team-a/tr\nain: carbon budget b: no"
    assert records[10].getMessage().endswith(" (90 refusals before it are not logged)")
    line = json.loads(JsonFormatter().format(records[10]))
    assert (line["action"], line["name"], line["namespace"], line["suppressed"]) == ("refuse", "tr\\nain", "team-a", 90)
