"""The whole server for tests, with an API server that is a small HTTP server at the lowest seam."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import sqlalchemy as sa
from aiohttp import web
from aiohttp.test_utils import TestServer
from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from tests.databases import make_tables
from tests.ledger.reports import HOUR

from carbonbudget_core.node_report_json import encode_report
from carbonbudget_operator.ingest.connection_peers import ConnectionPeers
from carbonbudget_operator.ingest.report_receiver import ReportReceiver
from carbonbudget_operator.kube.access_reviews import Access
from carbonbudget_operator.kube.client import KubeClient
from carbonbudget_operator.kube.credentials import Credentials
from carbonbudget_operator.ledger.writer import LedgerWriter
from carbonbudget_operator.server import readiness
from carbonbudget_operator.server.app import make_app
from carbonbudget_operator.server.ledger_answers import LedgerAnswers
from carbonbudget_operator.server.metrics import ServerMetrics
from carbonbudget_operator.server.public.listed_objects import ListedBudgets, ListedTargets
from carbonbudget_operator.server.wiring import make_pools
from carbonbudget_operator.server.worker_pools import WorkerPools
from carbonbudget_operator.server.worker_process import Setup
from carbonbudget_operator.server.worker_queue import QuestionQueue
from carbonbudget_operator.server_settings import QuestionSettings, ServerSettings
from carbonbudget_operator.settings import CarbonSettings, Settings

# A database counts as silent after five seconds; a machine that is busy with other tests may take longer to answer.
readiness._SILENT_SECONDS = 60.0  # type: ignore[misc] # Final
AGENT = "system:serviceaccount:carbonbudget-agent:carbonbudget-agent"
NOW = HOUR + 600
MAX = 200_000
QUESTIONS = QuestionSettings()
CARBON = CarbonSettings(zone="WORLD", pue=1.0)


@dataclass
class ApiServer:
    """TokenReview and SubjectAccessReview: tokens are "node:NAME", "user:NAME@ns1,ns2", "scoped:NAME@ns1,ns2:ns1".

    "person:NAME@ns1" is a token for the API server itself, "pod:NAMESPACE/NAME/UID" one of a pod.
    """

    up: bool = True
    reviews: list[str] = field(default_factory=list)
    rights: int = 0  # how often a right was asked for
    unmetered: dict[str, int] = field(default_factory=dict)  # pods on nodes without an agent, by namespace
    namespaces: set[str] | None = field(default_factory=set)  # those that run pods; None: not known yet

    async def running(self) -> set[str] | None:
        return self.namespaces

    objects: dict[str, list[dict[str, Any]]] = field(default_factory=dict)  # of the kinds that are listed, by plural
    lists: list[str] = field(default_factory=list)  # the paths that were listed

    async def answer(self, request: web.Request) -> web.Response:
        if not self.up:
            return web.json_response({"message": "down"}, status=500)
        if request.method == "GET":
            return self._listed(request)
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
            allowed = who.startswith("importer") and (namespace in where.split(",") if namespace else where == "*")
        elif spec["resourceAttributes"]["verb"] == "share":
            allowed = allowed and who == "sharer"
        elif spec["resourceAttributes"]["resource"] == "clustercarbonbudgets":
            allowed = where == "*" or "%cluster" in where.split(",")
        elif who == "importer-only":
            allowed = False
        return web.json_response({"status": {"allowed": allowed}})

    def _listed(self, request: web.Request) -> web.Response:
        """One page of a list, as the API server cuts it."""
        *before, plural = request.path.rstrip("/").split("/")
        namespace = before[-1] if before[-2] == "namespaces" else ""
        name = request.query.get("fieldSelector", "").removeprefix("metadata.name=")
        self.lists.append(f"{request.path} {name}".strip())
        found = [
            one
            for one in self.objects.get(plural, [])
            if (not namespace or one["metadata"]["namespace"] == namespace)
            and (not name or one["metadata"]["name"] == name)
        ]
        start, limit = int(request.query.get("continue") or 0), int(request.query["limit"])
        following = str(start + limit) if start + limit < len(found) else ""
        return web.json_response({"metadata": {"continue": following}, "items": found[start : start + limit]})

    @staticmethod
    def _token(spec: dict[str, Any]) -> dict[str, Any]:
        kind, _, rest = spec["token"].partition(":")
        if kind == "node":
            user = {"username": AGENT, "extra": {"authentication.kubernetes.io/node-name": [rest]}}
        elif kind in ("user", "person"):
            user = {"username": rest, "groups": ["g"]}
        elif kind == "pod":
            namespace, name, uid = rest.split("/")
            bound = {
                f"authentication.kubernetes.io/pod-{key}": [value] for key, value in (("name", name), ("uid", uid))
            } | {"authentication.kubernetes.io/node-name": ["node-1"]}  # as in every pod's token
            user = {"username": f"system:serviceaccount:{namespace}:default", "extra": bound}
        elif kind == "scoped":  # scoped:USER:the namespaces that are left of the user's
            name, _, scopes = rest.partition(":")
            user = {"username": name, "groups": ["g"], "extra": {"scopes": [scopes]}}
        else:
            return {"authenticated": False}
        if (kind == "person") != ("audiences" not in spec):  # a token for the API server has its audience alone
            return {"authenticated": False}
        audiences = ["another"] if rest.startswith("foreign") else spec.get("audiences", ["https://kubernetes"])
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
    carbon: CarbonSettings = CARBON, user_tokens: bool = False, **more: Any,
) -> AsyncIterator[Made]:  # fmt: skip
    api, clock = ApiServer(), [NOW]
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", api.answer)
    server = ServerSettings(
        operator_accounts=["controller@*"], questions=questions, max_report_bytes=MAX, user_tokens=user_tokens
    )
    registry = CollectorRegistry()
    settings = Settings(server=server, carbon=carbon, **more)
    pools, people = make_pools(Setup(url, settings, answers=answers), registry)
    make_tables(pools.upkeep)
    async with TestServer(app) as api_server:
        kube = KubeClient.connect(Credentials(str(api_server.make_url("")).rstrip("/"), lambda: ""))
        access, writer = Access(kube, "carbonbudget-server"), LedgerWriter(pools.ingest)
        registry.register(ServerMetrics(writer, pools.probes.queries, ConnectionPeers(1_000)))
        receiver = ReportReceiver(
            access,
            pools.reports,
            writer,
            "default",
            AGENT,
            MAX,
            20_000,
            registry,
            lambda report, _: report,
            now=lambda: clock[0],
        )
        made = make_app(
            receiver, access, writer, pools, registry, ListedBudgets(kube), ListedTargets(kube), now=lambda: clock[0],
            pods_without_agent=lambda: api.unmetered, namespaces=api.running,
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
    carbon: CarbonSettings = CARBON, user_tokens: bool = False, **more: Any,
) -> AsyncIterator[Face]:  # fmt: skip
    async with a_server(url, questions, answers, carbon, user_tokens, **more) as made:
        transport = httpx.ASGITransport(made.app)
        async with httpx.AsyncClient(transport=transport, base_url="https://server") as client:
            yield Face(client, made.api, made.pools, made.people, made.clock)
