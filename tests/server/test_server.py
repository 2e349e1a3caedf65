"""The server's REST face, whole, with an API server that is a small HTTP server at the lowest seam."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from aiohttp import web
from aiohttp.test_utils import TestServer
from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from tests.ledger.reports import HOUR, a_report

from carbonbudget_core.node_report_json import encode_report
from carbonbudget_operator.ingest.connection_peers import ConnectionPeers
from carbonbudget_operator.ingest.report_receiver import ReportReceiver
from carbonbudget_operator.kube.access_reviews import Access
from carbonbudget_operator.kube.client import KubeClient
from carbonbudget_operator.kube.credentials import Credentials
from carbonbudget_operator.ledger.store import migrate
from carbonbudget_operator.ledger.writer import LedgerWriter
from carbonbudget_operator.server.app import make_app
from carbonbudget_operator.server.ledger_answers import LedgerAnswers
from carbonbudget_operator.server.metrics import ServerMetrics
from carbonbudget_operator.server.wiring import make_pools
from carbonbudget_operator.server.worker_pools import WorkerPools
from carbonbudget_operator.server.worker_process import Setup
from carbonbudget_operator.server.worker_queue import QuestionQueue
from carbonbudget_operator.server_settings import QuestionSettings, ServerSettings
from carbonbudget_operator.settings import CarbonSettings, Settings

AGENT = "system:serviceaccount:carbonbudget-agent:carbonbudget-agent"
NOW = HOUR + 600
MAX = 200_000
QUESTIONS = QuestionSettings()
CARBON = CarbonSettings(zone="WORLD", pue=1.0)


@dataclass
class ApiServer:
    """TokenReview and SubjectAccessReview: tokens are "node:NAME", "user:NAME@ns1,ns2", "scoped:NAME@ns1,ns2:ns1"."""

    up: bool = True
    reviews: list[str] = field(default_factory=list)
    rights: int = 0  # how often a right was asked for
    unmetered: dict[str, int] = field(default_factory=dict)  # pods on nodes without an agent, by namespace
    namespaces: set[str] | None = field(default_factory=set)  # those that run pods; None: not known yet

    async def running(self) -> set[str] | None:
        return self.namespaces

    async def answer(self, request: web.Request) -> web.Response:
        if not self.up:
            return web.json_response({"message": "down"}, status=500)
        body = await request.json()
        spec = body["spec"]
        if body["kind"] == "TokenReview":
            self.reviews.append(spec["token"])
            return web.json_response({"status": self._token(spec)})
        who, _, where = spec["user"].partition("@")
        self.rights += 1
        where = next(iter(spec.get("extra", {}).get("scopes", ())), where)
        if "nonResourceAttributes" in spec:
            return web.json_response({"status": {"allowed": who == "prometheus"}})
        namespace = spec["resourceAttributes"].get("namespace", "")
        allowed = where == "*" or (bool(namespace) and namespace in where.split(","))
        if spec["resourceAttributes"]["resource"] == "closedreports":
            allowed = where == "*" and who == "closer"
        if spec["resourceAttributes"]["verb"] == "import":
            allowed = where == "*" and who.startswith("importer") and not namespace
        elif who == "importer-only":
            allowed = False
        return web.json_response({"status": {"allowed": allowed}})

    @staticmethod
    def _token(spec: dict[str, Any]) -> dict[str, Any]:
        kind, _, rest = spec["token"].partition(":")
        if kind == "node":
            user = {"username": AGENT, "extra": {"authentication.kubernetes.io/node-name": [rest]}}
        elif kind == "user":
            user = {"username": rest, "groups": ["g"]}
        elif kind == "scoped":  # scoped:USER:the namespaces that are left of the user's
            name, _, scopes = rest.partition(":")
            user = {"username": name, "groups": ["g"], "extra": {"scopes": [scopes]}}
        else:
            return {"authenticated": False}
        audiences = ["another"] if rest.startswith("foreign") else spec["audiences"]
        return {"authenticated": True, "user": user, "audiences": audiences}


class Face:
    """The app, and short words for its requests."""

    def __init__(
        self, client: httpx.AsyncClient, api: ApiServer, pools: WorkerPools, people: QuestionQueue, clock: list[int]
    ) -> None:
        self.client, self.api, self.pools, self.people, self.clock = client, api, pools, people, clock
        self.engine = pools.upkeep

    async def report(self, body: object, token: str = "node:node-1", **headers: str) -> httpx.Response:
        content = body if isinstance(body, bytes) else encode_report(body).encode()  # type: ignore[arg-type] # or a report
        return await self.client.post(
            "/v1/reports", content=content, headers={"Authorization": f"Bearer {token}"} | headers
        )

    async def ask(self, token: str = "user:controller@*", **query: object) -> httpx.Response:
        whole = {"id": "q", "namespaces": ["team-a"], "start": HOUR, "end": HOUR + 86_400} | query
        return await self.client.post(
            "/v1/budgets/query", json={"queries": [whole]}, headers={"Authorization": f"Bearer {token}"}
        )

    async def answer(self, **query: object) -> dict[str, Any]:
        response = await self.ask(**query)
        assert response.status_code == 200, response.text
        return dict(response.json()["answers"][0])

    def windows(self) -> int:
        with self.engine.connect() as connection:
            sizes = connection.scalars(sa.text("SELECT length(windows) FROM node_windows"))
            return sum(sizes) // 16


@dataclass
class Made:
    """The application with all that it is made of; `clock` holds the UTC second."""

    app: FastAPI
    api: ApiServer
    pools: WorkerPools
    people: QuestionQueue
    clock: list[int]


@asynccontextmanager
async def a_server(
    url: str, questions: QuestionSettings = QUESTIONS, answers: type[LedgerAnswers] = LedgerAnswers,
    carbon: CarbonSettings = CARBON,
) -> AsyncIterator[Made]:  # fmt: skip
    api, clock = ApiServer(), [NOW]
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", api.answer)
    server = ServerSettings(operator_accounts=["controller@*"], questions=questions, max_report_bytes=MAX)
    registry = CollectorRegistry()
    settings = Settings(server=server, carbon=carbon)
    pools, people = make_pools(Setup(url, settings, answers=answers), registry)
    migrate(pools.upkeep)
    async with TestServer(app) as api_server:
        kube = KubeClient.connect(Credentials(str(api_server.make_url("")).rstrip("/"), lambda: ""))
        access, writer = Access(kube, "carbonbudget-server"), LedgerWriter(pools.ingest)
        registry.register(ServerMetrics(writer, pools.probes.queries, ConnectionPeers(1_000)))
        receiver = ReportReceiver(
            access, pools.reports, writer, "default", AGENT, MAX, 20_000, registry, lambda report, _: report,
            now=lambda: clock[0],
        )  # fmt: skip
        made = make_app(
            receiver, access, writer, pools, registry, now=lambda: clock[0], pods_without_agent=lambda: api.unmetered,
            namespaces=api.running,
        )  # fmt: skip
        try:
            yield Made(made, api, pools, people, clock)
        finally:
            writer.close()
            await kube.close()
            people.close()
            pools.close()


@asynccontextmanager
async def a_face(
    url: str, questions: QuestionSettings = QUESTIONS, answers: type[LedgerAnswers] = LedgerAnswers,
    carbon: CarbonSettings = CARBON,
) -> AsyncIterator[Face]:  # fmt: skip
    async with a_server(url, questions, answers, carbon) as made:
        transport = httpx.ASGITransport(made.app)
        async with httpx.AsyncClient(transport=transport, base_url="https://server") as client:
            yield Face(client, made.api, made.pools, made.people, made.clock)


@pytest.fixture
async def face(tmp_path: Path) -> AsyncIterator[Face]:
    async with a_face(f"sqlite:///{tmp_path}/ledger.db") as made:
        yield made


async def test_a_report_is_stored_then_known(face: Face) -> None:
    assert (await face.report(a_report())).json() == {"result": "stored"}
    packed = gzip.compress(encode_report(a_report()).encode())
    assert (await face.report(packed, **{"Content-Encoding": "gzip"})).json() == {"result": "duplicate"}
    assert face.windows() == 1
    assert face.api.reviews == ["node:node-1"]  # the second answer came from the cache


async def test_what_the_controller_asks_by_is_in_the_ledger_and_what_a_tenant_asks_by_is_not(face: Face) -> None:
    await face.ask(selector={"matchLabels": {"app": "a"}, "matchExpressions": [{"key": "run", "operator": "Exists"}]})
    await face.ask("user:dev@team-a", selector={"matchLabels": {"mine": "a"}})
    with face.engine.connect() as connection:
        rows = connection.execute(sa.text("SELECT namespace, several, key, value FROM selected_label")).all()
    assert sorted(map(tuple, rows)) == [("team-a", 0, *pair) for pair in (("app", "*"), ("app", "a"), ("run", "*"))]


def spoilt(**change: object) -> bytes:
    return json.dumps(json.loads(encode_report(a_report())) | change).encode()


FUTURE = spoilt(window_start=HOUR + 6000, window_end=HOUR + 6060, since=HOUR + 6000)
BOMB = gzip.compress(b" " * (50 * MAX))
REFUSALS: list[tuple[str, bytes, str, dict[str, str], int, str]] = [
    ("no token", spoilt(), "", {}, 401, "a bearer token is needed"),
    ("foreign token", spoilt(), "junk", {}, 401, "invalid, or not for the audience"),
    ("another audience", spoilt(), "node:foreign", {}, 401, "not for the audience carbonbudget-server"),
    ("another account", spoilt(), "user:eve@*", {}, 403, "eve@* is not the agents' account"),
    ("another node", spoilt(), "node:node-2", {}, 403, "bound to node 'node-2', the report is of node 'node-1'"),
    ("not JSON", b"{", "node:node-1", {}, 400, "not JSON"),
    ("not conserving", spoilt(domains=[]), "node:node-1", {}, 400, "which the report lacks"),
    ("misaligned", spoilt(window_start=HOUR + 1), "node:node-1", {}, 400, "aligned to UTC"),
    ("not gzip", spoilt(), "node:node-1", {"Content-Encoding": "gzip"}, 400, "not gzip"),
    ("cut-off gzip", gzip.compress(spoilt())[:-9], "node:node-1", {"Content-Encoding": "gzip"}, 400, "ends too early"),
    ("unknown encoding", spoilt(), "node:node-1", {"Content-Encoding": "br"}, 415, "use gzip or none"),
    ("too large", b" " * (MAX + 1), "node:node-1", {}, 413, "larger than"),
    ("gzip bomb", BOMB, "node:node-1", {"Content-Encoding": "gzip"}, 413, "larger than"),
    ("another cluster", spoilt(cluster="other"), "node:node-1", {}, 422, "of cluster 'other', this is 'default'"),
    ("future", FUTURE, "node:node-1", {}, 425, "in the future and is taken then"),
    ("too old", spoilt(since=HOUR - 40 * 86_400), "node:node-1", {}, 422, "older than 35 days"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "token", "headers", "status", "sentence"), [r[1:] for r in REFUSALS], ids=[r[0] for r in REFUSALS]
)
async def test_a_bad_report_is_refused_in_a_line_and_stores_nothing(
    face: Face, body: bytes, token: str, headers: dict[str, str], status: int, sentence: str
) -> None:
    answer = await face.report(body, token, **headers)
    assert answer.status_code == status
    assert sentence in answer.json()["reason"]
    assert "\n" not in answer.json()["reason"]
    assert face.windows() == 0
    assert (await face.report(a_report())).status_code == 200  # good ones beside it are unharmed


async def test_a_defect_of_our_own_says_in_the_log_where_it_is_and_harms_no_later_report(
    face: Face, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr("carbonbudget_operator.ingest.report_checks.check_report_is_possible", lambda *_: 1 // 0)
        for _ in range(3):
            answer = await face.report(a_report())
            assert answer.status_code == 500
            assert "its log says where" in answer.json()["reason"]
    assert caplog.text.count("a report of node-1 cannot be read") == 1
    assert "in _checked" in caplog.text
    assert (await face.report(a_report())).json() == {"result": "stored"}


async def test_more_power_than_a_node_can_draw_is_refused(face: Face) -> None:
    answer = await face.report(a_report(pods={"p": 20_001 * 60_000_000}))
    assert (answer.status_code, "is above the limit of 20000 W" in answer.json()["reason"]) == (422, True)


async def test_requests_that_no_database_integer_can_hold_are_refused(face: Face) -> None:
    value = json.loads(encode_report(a_report()))
    value["pods"][0]["requests"] = {"cpu_millicores": 2**59}
    answer = await face.report(json.dumps(value).encode())
    assert (answer.status_code, "that cannot be" in answer.json()["reason"]) == (422, True)
    assert (await face.report(a_report())).status_code == 200


@pytest.mark.parametrize("change", [{"cpu_us": 2**59}, {"memory_byte_seconds": 2**59}, {"gpu_ms": 2**59}])
async def test_use_that_would_not_add_up_in_a_database_is_refused(face: Face, change: dict[str, int]) -> None:
    """SQLite turns a sum beyond 64 bits into a float without a word."""
    value = json.loads(encode_report(a_report()))
    value["pods"][0] |= change
    answer = await face.report(json.dumps(value).encode())
    assert (answer.status_code, "that cannot be" in answer.json()["reason"]) == (422, True)


async def test_a_pod_cannot_pass_for_what_nobody_bears(face: Face) -> None:
    answer = await face.report(a_report(namespace="__idle__"))
    assert (answer.status_code, "'__idle__'" in answer.json()["reason"]) == (422, True)


@pytest.mark.parametrize(
    ("path", "token", "status"),
    [("/v1/reports", "", 401), ("/v1/reports", "junk", 401), ("/v1/reports", "user:eve@*", 403),
     ("/v1/budgets/query", "", 401), ("/v1/budgets/query", "junk", 401)],
)  # fmt: skip
async def test_nobodys_body_is_read(face: Face, path: str, token: str, status: int) -> None:
    """Two thousand connections of eight megabytes each would be the whole memory."""
    read: list[int] = []

    async def body() -> AsyncIterator[bytes]:
        for part in range(3):
            read.append(part)
            yield b" " * 1000

    answer = await face.client.post(path, content=body(), headers={"Authorization": f"Bearer {token}"})
    assert (answer.status_code, read) == (status, [])


async def test_one_node_sends_a_few_reports_at_once_and_no_more(face: Face) -> None:
    held, all_in = asyncio.Event(), asyncio.Barrier(9)

    async def slow() -> AsyncIterator[bytes]:
        await all_in.wait()
        await held.wait()
        yield encode_report(a_report()).encode()

    async def send() -> httpx.Response:
        return await face.client.post("/v1/reports", content=slow(), headers={"Authorization": "Bearer node:node-1"})

    waiting = [asyncio.ensure_future(send()) for _ in range(8)]
    await all_in.wait()
    refused = await face.report(a_report())
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "2")
    assert (await face.report(a_report(node="node-2"), "node:node-2")).status_code == 200
    held.set()
    assert {answer.status_code for answer in await asyncio.gather(*waiting)} == {200}
    assert (await face.report(a_report())).json() == {"result": "duplicate"}


async def test_a_tenants_question_makes_no_cut(face: Face) -> None:
    await face.ask("user:dev@team-a", start=HOUR + 1001)
    with face.engine.connect() as connection:
        assert connection.scalars(sa.text("SELECT at FROM cut")).all() == []
        await face.ask("user:controller@*", start=HOUR + 1001)
    with face.engine.connect() as connection:
        assert connection.scalars(sa.text("SELECT at FROM cut")).all() == [HOUR + 1001]


async def test_one_key_with_two_contents_is_a_conflict(face: Face) -> None:
    await face.report(a_report())
    answer = await face.report(a_report(pods={"pod-1": 301}))
    assert (answer.status_code, face.windows()) == (409, 1)


async def test_while_the_api_server_is_away_reports_wait_with_their_agents(face: Face) -> None:
    face.api.up = False
    answer = await face.report(a_report())
    assert (answer.status_code, answer.headers["Retry-After"], face.windows()) == (503, "5", 0)


async def test_two_thousand_malformed_bodies_are_each_refused(face: Face) -> None:
    whole = encode_report(a_report()).encode()
    for index in range(2000):
        answer = await face.report(whole[: index % len(whole)])
        assert answer.status_code == 400
    assert face.windows() == 0


async def test_a_budget_gets_its_pods_own_idle_and_overhead(face: Face) -> None:
    await face.report(a_report(pods={"a": 300_000_000, "b": 100_000_000}, idle_uj=600_000_000, system_uj=80_000_000))
    everything = await face.answer()
    # Idle: two requests of 100m on 2000m, 5 % each. System: by own energy, all of it.
    assert everything["energy_uj"] == 400_000_000 + 60_000_000 + 80_000_000
    one = await face.answer(selector={"matchLabels": {"app": "a"}})
    assert one["energy_uj"] == 300_000_000 + 30_000_000 + 60_000_000
    # 390 J x 458.29 g/kWh at PUE 1: 49.648 mg
    assert one["used_ug"] == 49_648
    assert one["used_g"] == "0.049648"
    assert (await face.answer(selector={"matchLabels": {"app": "a"}}, include=["Dynamic"]))["energy_uj"] == 300_000_000
    assert (await face.answer(namespaces=["team-b"]))["energy_uj"] == 0
    assert (one["measured_percent"], one["coverage_percent"]) == (0, 100)
    assert "WORLD 458.29 g/kWh" in one["factors"][0]


async def test_a_budget_that_starts_now_counts_only_windows_that_start_after_it(face: Face) -> None:
    await face.report(a_report(HOUR + 480))
    start = HOUR + 545
    assert (await face.answer(start=start))["energy_uj"] == 0  # and from now on facts are split there
    await face.report(a_report(HOUR + 540))  # starts before it
    assert (await face.answer(start=start))["energy_uj"] == 0
    face.clock[0] += 60
    await face.report(a_report(HOUR + 600))
    whole = (await face.answer())["energy_uj"]
    assert (await face.answer(start=start))["energy_uj"] * 3 == pytest.approx(whole, abs=3)


async def test_a_budget_that_starts_in_the_past_counts_its_first_hour_pro_rata(face: Face) -> None:
    for index in range(10):
        await face.report(a_report(HOUR + 60 * index))
    half = (await face.answer(start=HOUR + 300))["energy_uj"]
    assert half == pytest.approx((await face.answer())["energy_uj"] / 2, abs=3)


async def test_coverage_falls_with_a_hole(face: Face) -> None:
    await face.report(a_report(HOUR))
    await face.report(a_report(HOUR + 540))
    assert (await face.answer())["coverage_percent"] == 20


async def test_reads_need_the_right_in_every_namespace_asked_for(face: Face) -> None:
    await face.report(a_report())
    assert (await face.ask("user:dev@team-a")).status_code == 200
    refused = await face.ask("user:dev@team-a", namespaces=["team-a", "team-b"])
    assert (refused.status_code, refused.json()["reason"]) == (
        403,
        "dev@team-a may not get carbonbudgets in namespace team-b",
    )
    assert (await face.ask("")).status_code == 401
    allocation = "/v1/allocation?from=0&to=2000000000"
    assert (await face.client.get(allocation, headers={"Authorization": "Bearer user:dev@team-a"})).status_code == 403


async def test_a_token_of_fewer_scopes_has_not_the_rights_of_its_users_full_one(face: Face) -> None:
    for token, status in (
        ("user:dev@team-a,team-b", 200),
        ("scoped:dev@team-a,team-b:team-b", 403),
        ("scoped:dev@team-a,team-b:team-a", 200),
        ("user:dev@team-a,team-b", 200),
    ):
        assert (await face.ask(token)).status_code == status, token


async def test_an_allocations_rows_add_up_to_its_total_whatever_is_asked(face: Face) -> None:
    for index, node in enumerate(("node-1", "node-2", "node-3")):
        pods = {f"{node}-{i}": 1_000_003 * (i + 1) for i in range(7)}
        await face.report(a_report(HOUR + 60 * index, node, pods), f"node:{node}")
    totals = set()
    for group_by in ("namespace", "workload,label:app", "node,namespace", "label:none"):
        for filter_by in ("", "namespace=team-a", "node=node-2", "label:app=node-1-3"):
            answer = await face.client.get(
                "/v1/allocation",
                params={"from": HOUR, "to": HOUR + 3600, "group_by": group_by, "filter": filter_by},
                headers={"Authorization": "Bearer user:sre@*"},
            )
            value = answer.json()
            for figure in ("energy_uj", "location_ug"):
                assert sum(row[figure] for row in value["rows"]) == value["total"][figure]
            totals.add((value["total"]["energy_uj"], value["total"]["location_ug"]))
    assert len(totals) == 1


async def test_metrics_need_their_right_and_count_refusals(face: Face) -> None:
    await face.report(b"{")
    await face.report(a_report())
    assert (await face.client.get("/metrics", headers={"Authorization": "Bearer user:dev@*"})).status_code == 403
    text = (await face.client.get("/metrics", headers={"Authorization": "Bearer user:prometheus@x"})).text
    assert 'carbonbudget_ingest_refused_total{reason="malformed"} 1.0' in text
    assert 'carbonbudget_ingest_reports_total{fate="stored"} 1.0' in text
    assert "carbonbudget_ledger_data_through_timestamp_seconds 1.76400006e+09" in text


async def test_a_question_about_nothing_needs_the_right_to_all(face: Face) -> None:
    """It is answered how far the whole cluster's record reaches."""
    for path in ("/v1/budgets/query", "/v1/budgets/hours", "/v1/runs/query"):
        for token, status in (("user:eve@nowhere", 403), ("user:dev@team-a", 403), ("user:controller@*", 200)):
            headers = {"Authorization": f"Bearer {token}"}
            answer = await face.client.post(path, json={"queries": []}, headers=headers)
            assert (answer.status_code, path) == (status, path)


@pytest.mark.parametrize("levels", [100, 400, 2_000, 100_000])
async def test_json_of_many_levels_is_malformed_wherever_it_stands(face: Face, levels: int) -> None:
    deep = b"[" * levels + b"]" * levels
    report = encode_report(a_report()).encode()
    for body in (deep, b'{"node": %s}' % deep, report[:-1] + b', "more": %s}' % deep):
        answer = await face.report(body[:MAX])
        assert answer.status_code in (400, 200)  # an unknown key of a hundred levels is ignored
        assert "\n" not in answer.json().get("reason", "")
    for path in ("/v1/budgets/query", "/v1/budgets/hours", "/v1/runs/query"):
        for body in (deep, b'{"queries": [%s]}' % deep, b'{"queries": [{"selector": %s}]}' % deep):
            headers = {"Authorization": "Bearer user:controller@*"}
            answer = await face.client.post(path, content=body[:MAX], headers=headers)
            assert (answer.status_code, "\n" in answer.json()["reason"]) == (400, False)
    assert (await face.report(a_report(node="node-2"), "node:node-2")).status_code == 200


async def test_a_reason_that_repeats_what_was_asked_is_printable(face: Face) -> None:
    answer = await face.ask(**{"\x1b[2J\u202e": 1})
    assert answer.status_code == 400
    assert answer.json()["reason"].isprintable()


async def test_how_much_a_tenant_asks_for_at_once_is_bounded_by_what_is_answered(face: Face) -> None:
    whole = {"namespaces": ["team-a"], "start": HOUR, "end": HOUR + 35 * 86_400}
    headers = {"Authorization": "Bearer user:dev@team-a"}
    for path, number, sentence in (
        ("/v1/budgets/query", 1_001, "1001 questions in one request, at most 1000"),
        ("/v1/budgets/hours", 120, "100800 hours in one request, at most 100000"),
    ):
        queries = [{"id": str(index), **whole} for index in range(number)]
        answer = await face.client.post(path, json={"queries": queries}, headers=headers)
        assert (answer.status_code, sentence in answer.json()["reason"]) == (422, True)


@pytest.mark.parametrize("query", [{"start": -1}, {"namespaces": []}, {"selector": {"matchLabel": {}}}, {"bogus": 1}])
async def test_a_malformed_question_is_refused_in_a_line(face: Face, query: dict[str, object]) -> None:
    answer = await face.ask(**query)
    assert answer.status_code == 400
    assert "\n" not in answer.json()["reason"]


async def test_a_budget_is_answered_with_the_pods_of_its_namespaces_that_no_agent_sees(face: Face) -> None:
    await face.report(a_report())
    assert (await face.answer())["pods_without_agent"] == 0
    face.api.unmetered = {"team-a": 2, "team-b": 3}
    assert (await face.answer())["pods_without_agent"] == 2
    assert (await face.answer(namespaces=["team-a", "team-c"]))["pods_without_agent"] == 2
    assert (await face.answer(namespaces=["*"]))["pods_without_agent"] == 5
    assert (await face.answer(namespaces=["team-c"]))["pods_without_agent"] == 0
