"""Budgets, transfers and credits on one ledger: the three loops of the controller as they run together."""

from __future__ import annotations

import asyncio
import copy
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from aiohttp import web
from aiohttp.test_utils import TestServer
from prometheus_client import CollectorRegistry
from tests.controller.evaluation_bench import HOUR, World
from tests.controller.test_credit_loop import a_target, window
from tests.databases import make_tables

from carbonbudget_operator.api.adjustment_bodies import AdjustmentsRequest
from carbonbudget_operator.api.times import format_time
from carbonbudget_operator.api.wire_names import BUDGET
from carbonbudget_operator.budgets.verdict import EnforcementTerms
from carbonbudget_operator.controller.budget_store import BudgetStore
from carbonbudget_operator.controller.credit_loop import CreditLoop
from carbonbudget_operator.controller.credit_proposals import CLAIMS_NAME
from carbonbudget_operator.controller.evaluation_loop import EvaluationInputs, EvaluationLoop
from carbonbudget_operator.controller.metrics import ControllerMetrics
from carbonbudget_operator.controller.suspension_conflicts import ConflictStore
from carbonbudget_operator.controller.transfer_loop import TransferLoop
from carbonbudget_operator.kube.client import KubeClient
from carbonbudget_operator.kube.credentials import Credentials
from carbonbudget_operator.ledger.adjustment_tables import adjustment
from carbonbudget_operator.ledger.ledger_engine import open_ledger
from carbonbudget_operator.namespace_labels import Namespaces
from carbonbudget_operator.server.routes.adjustment_booking import book_and_answer
from carbonbudget_operator.server_client import ServerClient, ServerUnavailable

DAY = 86_400


@dataclass
class PlayedWorld(World):
    """Use is by budget and hour, adjustments are rows of a real ledger. `loses`: answers about bookings are lost."""

    engine: sa.Engine | None = None
    used: Counter[tuple[str, int]] = field(default_factory=Counter)
    loses: bool = False

    def use(self, key: str, start: int, end: int) -> int:
        return sum(amount for (of, at), amount in self.used.items() if of == key and start <= at < end)

    async def adjustments(self, request: web.Request) -> web.Response:
        if not (self.up and self.books):
            return web.json_response({"reason": "starting"}, status=503)
        asked = AdjustmentsRequest.model_validate(await request.json())
        assert self.engine is not None
        answer = await asyncio.to_thread(book_and_answer, self.engine, "default", asked, int(self.now))
        if self.loses and asked.groups:
            return web.json_response({"reason": "starting"}, status=503)
        return web.json_response(answer.model_dump())

    def _answer(self, query: dict[str, Any]) -> dict[str, Any]:
        key, start, settled = (
            query["id"].split("@")[0].split("#")[0],
            query["start"],
            query["wishes"]["settled_through"],
        )
        counts = not query.get("selector") or not query["selector"].get("match_labels")  # a label that no pod has
        used_ug = self.use(key, start, query["end"]) if counts else 0
        settled_ug = self.use(key, start, settled) if settled and counts else 0
        return super()._answer(query) | {"used_ug": used_ug, "settled_ug": settled_ug, "settled_energy_uj": settled_ug}


class Played:
    """`pass_time` lets the controller run; `restart` replaces it by a new process."""

    def __init__(self, world: PlayedWorld, client: KubeClient, server: ServerClient) -> None:
        self.world, self.client, self.server = world, client, server
        self.transfers: dict[str, dict[str, Any]] = {}
        self.target = a_target()
        self.target["status"]["history"] = []
        self.restart()

    def restart(self) -> None:
        now, client = (lambda: self.world.now), self.client
        self.seen = EvaluationInputs(BudgetStore(), Namespaces(), ConflictStore())
        metrics = ControllerMetrics(CollectorRegistry())
        terms = EnforcementTerms(6 * HOUR, acts=True)
        self.loop = EvaluationLoop(client, self.server, self.seen, metrics, 60, terms, now=now)
        self.transfer_loop = TransferLoop(client, self.server, self.loop.transfer_figures, now=now)
        self.credits = CreditLoop(
            self.server, lambda: self.seen.budgets.snapshot().values(), lambda: [self.target], now=now
        )

    def budget(self, name: str, uid: str = "", **spec: object) -> dict[str, Any]:
        made = {
            "metadata": {"name": name, "namespace": "team-a", "uid": uid or name, "generation": 1},
            "spec": {"limit": "1g", "period": "Week"} | spec,
        }
        self.world.objects[f"namespaces/team-a/carbonbudgets/{name}"] = made
        return made

    def edit(self, name: str, **spec: object) -> None:
        body = self.world.objects[f"namespaces/team-a/carbonbudgets/{name}"]
        body["spec"].update(spec)
        body["metadata"]["generation"] += 1

    def delete(self, name: str) -> None:
        self.world.objects.pop(f"namespaces/team-a/carbonbudgets/{name}", None)
        self.seen.budgets.forget(f"team-a/{name}", name)

    def status(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.world.objects[f"namespaces/team-a/carbonbudgets/{name}"].get("status", {})
        return found

    def transfer(self, source: str, to: str, micrograms: int) -> str:
        name = f"t{len(self.transfers)}"
        self.transfers[name] = {
            "metadata": {
                "name": name, "namespace": "team-a", "uid": f"uid-{name}",
                "creationTimestamp": format_time(int(self.world.now)),
            },
            "spec": {"source": source, "to": {"namespace": "team-a", "name": to}, "amount": f"{micrograms / 1000:f}mg"},
        }  # fmt: skip
        self.world.objects[f"namespaces/team-a/carbontransfers/{name}"] = self.transfers[name]
        return name

    def saved(self, number: int, kilos: int) -> None:
        """A week of the target is over."""
        self.target["status"]["history"].insert(0, window(number, kilos))
        del self.target["status"]["history"][12:]

    def beside(self) -> Played:
        """Another controller in the same world, as one that lost its lease and does not know it yet."""
        other = Played(self.world, self.client, self.server)
        other.target, other.transfers = self.target, self.transfers
        return other

    async def run(self, times: int = 1, shown: dict[str, dict[str, Any]] | None = None) -> None:
        """What the loops do in a window: transfers, credits, then an evaluation.

        `shown`: the objects as a watch that is behind shows them.
        """
        for _ in range(times):
            for path, body in (self.world.objects if shown is None else shown).items():
                if "/carbonbudgets/" in path:
                    self.seen.budgets.seen(BUDGET, "MODIFIED", copy.deepcopy(body))
                elif "/carbontransfers/" in path:
                    self.transfer_loop.transfers.seen("MODIFIED", copy.deepcopy(body))
            for step in (self.transfer_loop.round, self.credits.round):
                try:
                    await step()
                except ServerUnavailable:
                    pass
            await self.loop.evaluate()

    def rows(self, name: str = "", start: int = 0, *reasons: str) -> list[Any]:
        """Rows of the ledger without claims."""
        assert self.world.engine is not None
        with self.world.engine.connect() as connection:
            found = connection.execute(sa.select(adjustment).where(adjustment.c.name != CLAIMS_NAME)).all()
        return [
            row
            for row in found
            if (not name or row.name == name)
            and (not start or row.period_start == start)
            and (not reasons or row.reason in reasons)
        ]

    def booked(self, name: str, start: int, *reasons: str) -> int:
        return sum(row.micrograms for row in self.rows(name, start, *reasons))


@asynccontextmanager
async def played(folder: Path) -> AsyncIterator[Played]:
    engine = open_ledger(f"sqlite:///{folder}/ledger.db")
    make_tables(engine)
    world = PlayedWorld(engine=engine)
    api, server = web.Application(), web.Application()
    api.router.add_route("*", "/{path:.*}", world.api)
    server.router.add_post("/v1/budgets/query", world.server)
    server.router.add_post("/v1/budgets/hours", world.hours)
    server.router.add_post("/v1/adjustments", world.adjustments)
    async with TestServer(api) as api_server, TestServer(server) as rest:
        client = KubeClient.connect(Credentials(str(api_server.make_url("")).rstrip("/"), lambda: ""))
        asked = ServerClient(str(rest.make_url("")), None, lambda: "")
        asked._tls = lambda: False  # type: ignore[method-assign,assignment,return-value] # plain HTTP on loopback
        yield Played(world, client, asked)
        await client.close()
    engine.dispose()
