"""The controller's process with all its loops, on a real API server: targets, credits, transfers and budgets."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port
from tests.conftest import Cluster
from tests.controller.target_bench import DAY, PlayedServer
from tests.controller.transfer_world import Ledger
from tests.e2e.conftest import budget

from carbonbudget_operator.api.adjustment_bodies import AdjustmentsRequest
from carbonbudget_operator.api.target_query_bodies import TargetQueries
from carbonbudget_operator.api.times import format_time
from carbonbudget_operator.api.wire_names import TARGET
from carbonbudget_operator.controller.prepared_target import prepare_target
from carbonbudget_operator.controller.target_store import StoredTarget
from carbonbudget_operator.namespace_labels import Namespaces

pytestmark = [pytest.mark.cluster, pytest.mark.control_plane]

SPACE = "wired-loops"
# Credits are booked each five minutes; the test does not wait for that.
PROCESS = (
    "from carbonbudget_operator.controller import credit_loop\n"
    "credit_loop._ROUND_SECONDS = 1.0\n"
    "from carbonbudget_operator.cli.main import main\n"
    "main()\n"
)


def now() -> int:
    return int(dt.datetime.now(dt.UTC).timestamp())


class Server:
    """What the controller asks, played: 50 g an hour for 1,000 units, budgets that used nothing, a ledger."""

    def __init__(self) -> None:
        self.played = PlayedServer(grams={0: 50}, energy_j=50)
        self.ledger = Ledger()

    def app(self) -> web.Application:
        made = web.Application()
        made.router.add_post("/v1/targets/query", self._targets)
        made.router.add_post("/v1/budgets/query", self._budgets)
        made.router.add_post("/v1/adjustments", self._adjustments)
        return made

    async def _targets(self, request: web.Request) -> web.Response:
        self.played.through = now() // 60 * 60
        queries = TargetQueries.model_validate_json(await request.read()).queries
        return web.Response(body=(await self.played.targets(queries)).model_dump_json())

    async def _budgets(self, request: web.Request) -> web.Response:
        queries = (await request.json())["queries"]
        answers = [
            {"id": query["id"], "used_ug": 0, "used_g": "0", "energy_uj": 0, "energy_kwh": "0",
             "coverage_percent": 100, "measured_percent": 100, "data_from": query["start"]}
            for query in queries
        ]  # fmt: skip
        return web.json_response({"data_through": now() // 60 * 60, "answers": answers})

    async def _adjustments(self, request: web.Request) -> web.Response:
        asked = AdjustmentsRequest.model_validate_json(await request.read())
        return web.Response(body=(await self.ledger.adjustments(asked)).model_dump_json())


class Wired:
    """The running process, its API server, and the server that it asks."""

    def __init__(self, cluster: Cluster, server: Server, port: int) -> None:
        self.cluster, self.server, self.port = cluster, server, port

    def read(self, kind: str, name: str) -> Any:
        return self.cluster.get("-n", SPACE, kind, name)

    def reasons(self, name: str) -> list[str]:
        events = self.cluster.get("-n", SPACE, "events")["items"]
        return [one["reason"] for one in events if one["involvedObject"]["name"] == name]

    async def metrics(self) -> str:
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{self.port}/metrics") as answer:
            return await answer.text()


async def until(holds: Any, seconds: float = 120) -> None:
    """Wait until it holds; it asks kubectl, so not too often."""
    async with asyncio.timeout(seconds):
        while not await asyncio.to_thread(holds):  # noqa: ASYNC110 - what it waits for is in another process
            await asyncio.sleep(0.5)


@asynccontextmanager
async def controller(cluster: Cluster, directory: Path) -> AsyncIterator[Wired]:
    config = json.loads(cluster.kubectl("config", "view", "--raw", "-o", "json").stdout)["clusters"][0]["cluster"]
    (directory / "ca.crt").write_bytes(base64.b64decode(config["certificate-authority-data"]))
    server, port = Server(), unused_port()
    async with TestServer(server.app()) as rest:
        settings = {
            "certificates": False, "namespace": SPACE, "window_seconds": 10, "listen": f"127.0.0.1:{port}",
            "server_url": str(rest.make_url("")).rstrip("/"), "server_ca": str(directory / "ca.crt"),
        }  # fmt: skip
        (directory / "config.yaml").write_text(json.dumps({"controller": settings}))
        log = (directory / "controller.log").open("wb")
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", PROCESS, "controller", "--config", str(directory / "config.yaml"),
            env=os.environ | {"KUBECONFIG": str(cluster.kubeconfig)}, stderr=log,
        )  # fmt: skip
        try:
            yield Wired(cluster, server, port)
            process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), 30) == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
            log.close()
    said = (directory / "controller.log").read_text()
    assert "Traceback" not in said, said


def target(name: str, baseline: dict[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": "carbonbudget.dev/v1alpha1",
        "kind": "CarbonTarget",
        "metadata": {"name": name, "namespace": SPACE},
        "spec": {
            "unit": {"name": "token", "per": 1000, "source": {"preset": "vLLMOutputTokens"}},
            "window": "Day",
            "selector": {"matchLabels": {"app": name}},
            "baseline": baseline,
            "target": {"reduction": 20, "by": format_time(now() + 100 * DAY)},
        },
    }


def with_frozen_baseline(cluster: Cluster, name: str) -> None:
    """A target as a controller left it ten days ago: 100 g and 100 J an hour for 1,000 units."""
    end = now() // DAY * DAY - 10 * DAY
    start = end - 10 * DAY
    body = target(name, {"start": format_time(start), "end": format_time(end)})
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(body))
    made = cluster.get("-n", SPACE, "carbontarget", name)
    hours = 240
    measured = {
        "start": format_time(start), "end": format_time(end), "perUnit": "100g", "perUnitMicrograms": 10**8,
        "units": str(1000 * hours), "emissions": "24kg", "emissionsMicrograms": 10**8 * hours,
        "energyMicrojoules": 10**8 * hours, "knownHours": hours,
    }  # fmt: skip
    frozen = {
        "perUnit": "100g", "perUnitMicrograms": 10**8, "measured": measured, "frozenAt": format_time(end),
        "hash": prepare_target(StoredTarget(TARGET, made), Namespaces(), now()).hash,
    }  # fmt: skip
    status = {"status": {"baseline": frozen, "evaluatedGeneration": made["metadata"]["generation"]}}
    patch = ("patch", "carbontarget", name, "--subresource=status", "--type=merge", "-p", json.dumps(status))
    cluster.kubectl("-n", SPACE, *patch)


async def test_each_loop_of_the_running_controller_does_its_work(cluster: Cluster, tmp_path: Path) -> None:
    if now() % DAY > DAY - 600:
        pytest.skip("budgets by the day end within ten minutes")
    cluster.kubectl("create", "namespace", SPACE)
    try:
        with_frozen_baseline(cluster, "saving")
        cluster.kubectl("apply", "-f", "-", stdin=json.dumps(target("stated", {"value": "100g"})))
        credits = [{"target": "saving", "cap": 50}]
        for made in (
            budget(SPACE, "first", limit="10kg", period="Day", credits=credits),
            budget(SPACE, "second", limit="10kg", period="Day", credits=[{"target": "stated", "cap": 50}]),
        ):
            cluster.kubectl("apply", "-f", "-", stdin=json.dumps(made))
        async with controller(cluster, tmp_path) as wired:
            await until(lambda: wired.read("carbontarget", "saving")["status"].get("state") == "Achieved")
            await until(lambda: wired.read("carbonbudget", "first").get("status", {}).get("effectiveLimit") == "11.2kg")
            history = wired.read("carbontarget", "saving")["status"]["history"]
            assert history[0]["savings"]["micrograms"] == 50 * 24 * 10**6
            transfer = {
                "apiVersion": "carbonbudget.dev/v1alpha1", "kind": "CarbonTransfer",
                "metadata": {"name": "moved", "namespace": SPACE},
                "spec": {"source": "first", "to": {"namespace": SPACE, "name": "second"}, "amount": "1kg"},
            }  # fmt: skip
            cluster.kubectl("apply", "-f", "-", stdin=json.dumps(transfer))
            await until(lambda: wired.read("carbontransfer", "moved").get("status", {}).get("state") == "Applied")
            await until(lambda: wired.read("carbonbudget", "second")["status"].get("effectiveLimit") == "11kg")
            await until(lambda: {"CreditApplied", "TransferApplied"} <= set(wired.reasons("first")))
            assert "TargetAchieved" in wired.reasons("saving")
            (found,) = [
                one for one in wired.read("carbonbudget", "second")["status"]["conditions"]
                if one["type"] == "CreditsAvailable"
            ]  # fmt: skip
            assert (found["status"], found["reason"]) == ("False", "BaselineNotMeasured")
            metrics = await wired.metrics()
            assert "carbonbudget_credits_total 1.0" in metrics
            assert "carbonbudget_credited_grams_total 1200.0" in metrics
            assert 'carbonbudget_transfers_total{state="Applied"} 1.0' in metrics
            assert 'kind="CarbonTarget",name="saving"' in metrics
            rows = [row for row in wired.server.ledger.rows if row.reason == "Credit" and row.budget.name == "first"]
            assert [row.micrograms for row in rows] == [50 * 24 * 10**6]
    finally:
        cluster.kubectl("delete", "namespace", SPACE, "--wait=false")
