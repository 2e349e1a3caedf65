"""A small world for transfers: an API server with CarbonTransfers, a ledger, budgets, and controllers that die."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Mapping
from itertools import count
from typing import Any, cast

from tests.controller.objects import merge

from carbonbudget_operator.api.adjustment_bodies import Adjustment, AdjustmentsAnswer, AdjustmentsRequest
from carbonbudget_operator.api.times import format_time
from carbonbudget_operator.api_path import ApiPath
from carbonbudget_operator.budgets.period import Period
from carbonbudget_operator.budgets.transfers import BudgetFigures
from carbonbudget_operator.controller.transfer_loop import TransferLoop
from carbonbudget_operator.kube.client import KubeClient, KubeError
from carbonbudget_operator.server_client import ServerUnavailable

KG = 10**9
NOVEMBER = Period(1793491200, 1796083200)
NOW = 1795460000


class Ledger:
    """As the server books: the first of a key stays, a group is booked whole or not at all.

    `fails`: "before" the next request, or "after" the next booking, nothing is answered.
    """

    def __init__(self) -> None:
        self.rows: list[Adjustment] = []
        self.fails = ""
        self.asked = 0

    async def adjustments(self, request: AdjustmentsRequest) -> AdjustmentsAnswer:
        self.asked += 1
        fails = self.fails if request.groups or self.fails == "before" else ""
        self.fails = "" if fails else self.fails
        if fails == "before":
            raise ServerUnavailable("the server is away")
        for group in request.groups:
            if not {_key(leg) for leg in group.adjustments} & {_key(row) for row in self.rows}:
                self.rows += group.adjustments
        if fails:
            raise ServerUnavailable("the answer was lost")
        asked = {(one.namespace, one.name, one.period_start) for one in request.budgets}
        found = [row for row in self.rows if (row.budget.namespace, row.budget.name, row.budget.period_start) in asked]
        return AdjustmentsAnswer.model_validate({"adjustments": [each.model_dump() for each in found]})

    def change(self, budget: str) -> int:
        """The sum of a budget's adjustments."""
        return sum(row.micrograms for row in self.rows if f"{row.budget.namespace}/{row.budget.name}" == budget)


def _key(leg: Adjustment) -> tuple[object, ...]:
    return leg.budget.namespace, leg.budget.name, leg.budget.period_start, leg.reason, leg.source


class World:
    """The objects as they are; `loop` is the present controller. It is a KubeClient where the loop needs one."""

    def __init__(self) -> None:
        self.now = NOW
        self.ledger = Ledger()
        self.budgets: dict[str, BudgetFigures] = {}
        self.objects: dict[str, dict[str, Any]] = {}
        self.events: list[tuple[str, str, str, str]] = []  # kind, namespace/name, reason, message
        self.patch_fails = 0
        self._numbers = count()
        self.patches: list[dict[str, Any]] = []
        self.loop = self.start()

    def start(self) -> TransferLoop:
        """A new controller: it lists what there is."""
        client = cast("KubeClient", self)
        self.loop = TransferLoop(client, self.ledger, lambda: dict(self.budgets), now=lambda: self.now)
        for body in self.objects.values():
            self.loop.transfers.seen("ADDED", copy.deepcopy(body))
        return self.loop

    def budget(self, name: str, limit_kg: int = 10, used_kg: int | None = 0, **more: Any) -> None:
        used_ug = None if used_kg is None else used_kg * KG
        self.budgets[f"team/{name}"] = BudgetFigures(NOVEMBER, limit_kg * KG, used_ug, uid=f"uid-{name}", **more)

    def transfer(self, source: str, to: str, kg: int, reason: str = "") -> str:
        """Create a transfer; its uid is its name, which no other has, also after it is deleted."""
        name = f"t{next(self._numbers)}-{self.now}"
        self.objects[name] = {
            "metadata": {
                "name": name, "namespace": "team", "uid": name, "creationTimestamp": format_time(self.now),
            },
            "spec": {"source": source, "to": {"namespace": "team", "name": to}, "amount": f"{kg}kg", "reason": reason},
        }  # fmt: skip
        self.loop.transfers.seen("ADDED", copy.deepcopy(self.objects[name]))
        return name

    def delete(self, name: str) -> None:
        self.loop.transfers.seen("DELETED", self.objects.pop(name))

    def status(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.objects[name].get("status", {})
        return found

    def round(self) -> bool:
        """One round; whether the server answered."""
        try:
            asyncio.run(self.loop.round())
        except ServerUnavailable:
            return False
        return True

    async def send(self, method: str, path: ApiPath, body: Mapping[str, Any], content_type: str = "") -> None:
        """A request of the controller."""
        if method == "POST":
            about = body["involvedObject"]
            where = f"{about['namespace']}/{about['name']}"
            self.events.append((about["kind"], where, body["reason"], body["message"]))
            return
        if self.patch_fails:
            self.patch_fails -= 1
            raise KubeError(500, "not now")
        uid = body["metadata"]["uid"]
        if uid not in self.objects:
            raise KubeError(404, "not found")
        assert str(path).endswith(f"/namespaces/team/carbontransfers/{uid}/status"), path
        target = self.objects[uid]
        assert "state" not in target.get("status", {}), "a decision is final"
        self.patches.append(dict(body["status"]))
        merge(target, {"status": dict(body["status"])})
        self.loop.transfers.seen("MODIFIED", copy.deepcopy(target))
