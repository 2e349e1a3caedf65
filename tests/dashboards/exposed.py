"""What our real exporters expose, for a real Prometheus: the server as a process, the others' exporters on one port."""

from __future__ import annotations

import asyncio
import http.server
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import yaml
from aiohttp import ClientSession, TCPConnector, web
from prometheus_client import CollectorRegistry, generate_latest
from tests.databases import make_tables
from tests.fake_http_server import FakeHttpServer
from tests.ledger.reports import a_report, book
from tests.serving import Serving, serving

from carbonbudget_agent.exporter import Exporter
from carbonbudget_agent.outbox import Outbox
from carbonbudget_agent.work_counters import WorkCounters
from carbonbudget_operator.admission.metrics import AdmissionMetrics
from carbonbudget_operator.budgets.verdict import State
from carbonbudget_operator.controller.metrics import ControllerMetrics
from carbonbudget_operator.controller.target_evaluation import TargetEvaluation
from carbonbudget_operator.controller.target_metrics import TargetMetrics
from carbonbudget_operator.enforcement.deferral_actions import DeferredJobSummary
from carbonbudget_operator.enforcement.metrics import EnforcementMetrics
from carbonbudget_operator.kube.watch_status import WatchMetrics, WatchStatuses
from carbonbudget_operator.ledger.booking import Booker
from carbonbudget_operator.ledger.ledger_engine import open_ledger
from carbonbudget_operator.targets.target_verdict import TargetState

AGENT = "system:serviceaccount:carbonbudget-agent:carbonbudget-agent"
SETTINGS = {
    "carbon": {
        "zone": "DE",
        "intensity": {
            "sources": [
                {"name": "local", "type": "http", "url": "", "value": "g", "time": "at", "basis": "lifecycle"},
                # It has forecasts too; nothing is found at its addresses.
                {"name": "maps", "type": "electricityMaps", "url": "", "key_file": ""},
            ],
        },
    },
    "server": {"nodes_without_agent": {"kind": ["virtual"]}},
    "reports": {"required_labels": ["team"]},
    # Nobody listens there: attempts fail, and the hour waits.
    "exports": [{"name": "history", "kind": "influx", "url": "http://127.0.0.1:9", "database": "cb"}],
}


def last_hour() -> int:
    """The start of the last whole hour."""
    return int(time.time()) // 3600 * 3600 - 3600


def fill(url: str) -> None:
    """A whole hour of two teams' pods on one node, and the minute after it."""
    engine = open_ledger(url, 1)
    make_tables(engine)
    booker = Booker(engine)
    for minute in range(61):
        team = f"team-{minute % 2}"
        labels = {"team": team, "project": "x", "model": "m"} if minute % 3 else {"project": "x"}
        labels |= {"carbonbudget.dev/model": "chat", "carbonbudget.dev/model-version": "1.3"}
        start = last_hour() + 60 * minute
        if start + 60 <= time.time():
            book(booker, a_report(start, pods={f"{team}-pod": 1_000_000_000}, namespace=team, labels=labels))
    engine.dispose()


async def review(request: web.Request) -> web.Response:
    """TokenReview and SubjectAccessReview: a token is who it says, `prometheus` and `lead` may read everything."""
    spec = (await request.json())["spec"]
    if "token" in spec:
        node = spec["token"].startswith("node-")
        extra = {"authentication.kubernetes.io/node-name": [spec["token"]]} if node else {}
        user = {"username": AGENT if node else spec["token"], "extra": extra}
        return web.json_response({"status": {"authenticated": True, "audiences": spec["audiences"], "user": user}})
    return web.json_response({"status": {"allowed": spec["user"] in ("prometheus", "lead")}})


async def read(request: web.Request) -> web.StreamResponse:
    """One node that reports, one that cannot have an agent; no pods; and the grid's intensities."""
    if request.path == "/intensity":
        at = time.strftime("%Y-%m-%dT%H:00:00Z", time.gmtime(last_hour()))
        return web.json_response([{"at": at, "g": 321}])
    has = {"cpu": "2", "memory": "1Gi"}

    def node(name: str, **labels: str) -> dict[str, Any]:
        return {"metadata": {"name": name, "uid": name, "labels": labels}, "status": {"capacity": has}}

    metadata = {"resourceVersion": "1"}
    if request.path == "/api/v1/nodes":
        return web.json_response({"metadata": metadata, "items": [node("node-1"), node("virtual", kind="virtual")]})
    if request.path == "/api/v1/pods" and "watch" not in request.query:
        return web.json_response({"metadata": metadata, "columnDefinitions": [], "rows": []})
    if request.path == "/api/v1/pods":
        answer = web.StreamResponse()
        await answer.prepare(request)
        while True:
            bookmark = {
                "type": "BOOKMARK",
                "object": {**metadata, "rows": [{"cells": [], "object": {"metadata": metadata}}]},
            }
            await answer.write(json.dumps(bookmark).encode() + b"\n")
            await web_sleep()
    raise web.HTTPNotFound


async def web_sleep() -> None:
    """Between two bookmarks."""

    await asyncio.sleep(1)


@asynccontextmanager
async def a_server(base: Path, port: int) -> AsyncIterator[Serving]:
    """The server on a ledger that holds the last hour."""
    ledger = f"sqlite:///{base}/ledger.db"
    fill(ledger)
    config = base / "settings.yaml"
    async with grid() as url:
        settings = json.loads(json.dumps(SETTINGS))
        (base / "key").write_text("played")
        local, maps = settings["carbon"]["intensity"]["sources"]
        local["url"] = url
        maps.update(url=f"{url}/maps", key_file=str(base / "key"))
        config.write_text(yaml.safe_dump(settings))
        async with serving(base, ledger, review, read, port, config) as made:
            yield made


@asynccontextmanager
async def grid() -> AsyncIterator[str]:
    """A source of intensities on this machine."""
    app = web.Application()
    app.router.add_get("/{path:.*}", read)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/intensity"
    finally:
        await runner.cleanup()


async def use(made: Serving, port: int) -> None:
    """One of each: a question that is answered, one that is refused, a report that is stored, one that is refused."""
    start = last_hour()
    url = f"https://localhost:{port}"
    async with ClientSession(connector=TCPConnector(ssl=made.trust)) as session:
        for token in ("lead", "nobody"):
            headers = {"Authorization": f"Bearer {token}"}
            window = {"from": start, "to": start + 3600}
            async with session.get(f"{url}/v1/allocation", params=window, headers=headers) as answer:
                assert answer.status == {"lead": 200, "nobody": 403}[token]
        from carbonbudget_core.node_report_json import encode_report

        for body, status in ((encode_report(a_report(start - 60)), 200), ("{", 400)):
            async with session.post(
                f"{url}/v1/reports", data=body, headers={"Authorization": "Bearer node-1"}
            ) as answer:
                assert answer.status == status


def a_target(registry: CollectorRegistry) -> None:
    """A target that is behind, as the controller shows it."""
    stored = cast(Any, SimpleNamespace(resource=SimpleNamespace(kind="CarbonTarget"), namespace="team-a", name="chat"))
    made = TargetEvaluation(
        {}, TargetState.BEHIND, "", 42_000_000, 40_000_000, 50_000_000, known_percent=96, saved_ug=-12_000_000
    )
    TargetMetrics(registry).evaluated(stored, made)


def deferred_jobs(metrics: EnforcementMetrics) -> None:
    """A Job that waits for its start."""
    waiting = DeferredJobSummary()
    waiting.add(int(time.time()) + 3600, int(time.time()) + 7200)
    metrics.report_waiting({"team-a": waiting})


def exporters(directory: Path) -> Mapping[str, Callable[[], bytes]]:
    """The texts of agent, controller and webhook, by path."""
    agent, controller, admission = CollectorRegistry(), CollectorRegistry(), CollectorRegistry()
    counts = WorkCounters()
    exporter = Exporter(counts, Outbox(directory, counts))
    agent.register(exporter)
    exporter.add(a_report(0))
    budgets = ControllerMetrics(controller)
    stored = cast(Any, SimpleNamespace(resource=SimpleNamespace(kind="CarbonBudget"), namespace="team-a", name="month"))
    verdict = cast(Any, SimpleNamespace(used_ug=700_000_000, acts_until=0, state=State.WARNING))
    use = cast(Any, SimpleNamespace(forecast_ug=1_100_000_000, lost=False))
    budgets.evaluated(stored, 1_000_000_000, verdict, use)
    above = SimpleNamespace(resource=SimpleNamespace(kind="ClusterCarbonBudget"), namespace="", name="company")
    budgets.evaluated(cast(Any, above), 800_000_000, verdict, None)
    budgets.adjusted(stored, [SimpleNamespace(reason="CarryOver", source="", micrograms=100_000_000)], None)
    budgets.adjusted(cast(Any, above), [], 900_000_000)
    budgets.data_through([stored], int(time.time()))
    a_target(controller)
    deferred_jobs(EnforcementMetrics(controller))
    watches = WatchStatuses()
    WatchMetrics(controller, watches)
    watching = watches.of("/api/v1/namespaces")
    watching.__enter__()
    reviews = AdmissionMetrics(admission, lambda: 1.0, {"budgets": lambda: 0.0})
    registries = {"/agent": agent, "/controller": controller, "/admission": admission}

    def text(registry: CollectorRegistry) -> bytes:
        """After one more evaluation and one more review."""
        budgets.evaluations.inc()
        budgets.duration.observe(0.1)
        reviews.reviews.labels("allowed").inc()
        reviews.duration.observe(0.002)
        return generate_latest(registry)

    return {path: partial(text, registry) for path, registry in registries.items()}


@contextmanager
def served(texts: Mapping[str, Callable[[], bytes]]) -> Iterator[int]:
    """The port where they are."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.end_headers()
            self.wfile.write(texts[self.path]())

        def log_message(self, *_: object) -> None:
            pass

    server = FakeHttpServer(Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
