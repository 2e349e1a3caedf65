"""What an evaluation of all budgets costs: ask, evaluate, write what changed.

The API server is the real one of `hack/cluster` where it runs (in namespaces of this benchmark's own, deleted
afterwards), else a small HTTP server. carbonbudget's own server is a small one in a process of its own: what its
answers cost is benchmarks/query_cost.py's question. CPU is this process's: the controller's.

Not in the figures: kopf's part for each write's echo, 1.8 ms of CPU (docs/design/2026-11-23-kopf.md).
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import subprocess
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from multiprocessing.connection import Connection
from pathlib import Path

from aiohttp import web
from figures import Figures, arguments, show
from prometheus_client import CollectorRegistry

from carbonbudget_operator.api.wire_names import BUDGET, GROUP
from carbonbudget_operator.api_path import ApiPath
from carbonbudget_operator.budgets.verdict import EnforcementTerms
from carbonbudget_operator.controller.budget_store import BudgetStore
from carbonbudget_operator.controller.evaluation_loop import EvaluationInputs, EvaluationLoop
from carbonbudget_operator.controller.metrics import ControllerMetrics
from carbonbudget_operator.controller.suspension_conflicts import ConflictStore
from carbonbudget_operator.garbage_collection import collect_seldom
from carbonbudget_operator.kube.client import KubeClient, KubeError
from carbonbudget_operator.kube.credentials import Credentials, find_credentials
from carbonbudget_operator.namespace_labels import Namespaces
from carbonbudget_operator.server_client import ServerClient

_ROOT = Path(__file__).resolve().parent.parent
_PER_NAMESPACE = 100
_NAMESPACES = ApiPath("", "v1", "namespaces")
_NOW = int(time.time())
# What each budget of 5 kg has used at one evaluation after the other.
_USES_UG = {
    "all are new": 3_000_000_000,
    "none changed": 3_000_000_000,
    "all changed": 3_200_000_000,
    "all changed their state: Events too": 4_100_000_000,
}


async def bench(budgets: int, client: KubeClient, server_url: str, api: str) -> list[Figures]:
    """Budgets that are new, that changed, and that did not."""
    rows: list[Figures] = []
    async with spaces(client, budgets) as namespaces:
        seen = EvaluationInputs(BudgetStore(), Namespaces(), ConflictStore())
        registry = CollectorRegistry()
        server = ServerClient(server_url, None, lambda: "")
        server._tls = lambda: False  # type: ignore[method-assign,assignment,return-value] # plain HTTP on loopback
        now = [float(_NOW)]
        loop = EvaluationLoop(
            client, server, seen, ControllerMetrics(registry), 60, EnforcementTerms(6 * 3600), now=lambda: now[0]
        )
        for later_s, case in enumerate(_USES_UG):
            now[0] = _NOW + later_s
            await look(client, seen.budgets, namespaces)
            before = _patches(registry)
            wall, cpu = time.perf_counter(), time.process_time()
            await loop.evaluate()
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            rows.append(
                {
                    "budgets": budgets,
                    "case": case,
                    "api": api,
                    "wall s": round(wall, 2),
                    "cpu s": round(cpu, 2),
                    "patches": _patches(registry) - before,
                }
            )
    return rows


async def look(client: KubeClient, inventory: BudgetStore, namespaces: set[str]) -> None:
    """What the watch would have told by now."""
    async for body in client.list(BUDGET.collection):
        if _namespace(body) in namespaces:
            inventory.seen(BUDGET, "MODIFIED", body)


@asynccontextmanager
async def spaces(client: KubeClient, budgets: int) -> AsyncIterator[set[str]]:
    """Namespaces with this many budgets in them, gone afterwards."""
    stem = f"bench-{uuid.uuid4().hex[:6]}"
    names = {f"{stem}-{index}" for index in range(-(-budgets // _PER_NAMESPACE))}
    gate = asyncio.Semaphore(16)

    async def put(path: ApiPath, body: dict[str, object]) -> None:
        async with gate:
            await client.request("POST", path, body)

    try:
        for name in names:
            await put(_NAMESPACES, {"metadata": {"name": name}})
        wanted = [(name, index) for name in sorted(names) for index in range(_PER_NAMESPACE)][:budgets]
        await asyncio.gather(*(put(BUDGET.path(name), a_budget(name, index)) for name, index in wanted))
        yield names
    finally:
        for name in names:
            await client.request("DELETE", _NAMESPACES.at(None, name))


def a_budget(namespace: str, index: int) -> dict[str, object]:
    """One that warns and blocks, of a team's label."""
    return {
        "apiVersion": "carbonbudget.dev/v1alpha1",
        "kind": BUDGET.kind,
        "metadata": {"name": f"b{index}", "namespace": namespace},
        "spec": {
            "limit": "5kg",
            "period": "Month",
            "timeZone": "Europe/Paris",
            "selector": {"matchLabels": {"team": f"t{index}"}},
            "thresholds": [{"at": 80, "action": "Warn"}, {"at": 100, "action": "Block"}],
            "contact": "#ml-platform",
        },
    }


def _namespace(body: dict[str, object]) -> str:
    metadata = body["metadata"]
    return str(metadata["namespace"]) if isinstance(metadata, dict) else ""


def _patches(registry: CollectorRegistry) -> int:
    return int(registry.get_sample_value("carbonbudget_patches_total") or 0)


# --- the servers, in processes of their own --------------------------------------------------------------------------


def serve(kind: str, pipe: Connection) -> None:
    """carbonbudget's server, or an API server, on a free port that is sent through the pipe."""

    async def run() -> None:
        app = web.Application(client_max_size=2**28)
        if kind == "server":
            app.router.add_post("/v1/budgets/query", answer)
        else:
            app.router.add_route("*", "/{path:.*}", FakeApi().answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        pipe.send(runner.addresses[0][1])
        await asyncio.Event().wait()

    asyncio.run(run())


asked = 0


async def answer(request: web.Request) -> web.Response:
    """Each evaluation finds the use of the next case."""
    global asked
    used_ug = [*_USES_UG.values()][asked % len(_USES_UG)]
    asked += 1
    queries = (await request.json())["queries"]
    uses = [
        {"namespace": "n", "workload": f"Job/train-{index}", "used_ug": used_ug // (index + 2), "energy_uj": 10**9}
        for index in range(5)
    ]
    answers = [
        {
            "id": query["id"], "used_ug": used_ug, "used_g": "4100.0", "energy_uj": 10**10, "energy_kwh": "2.8",
            "coverage_percent": 100, "measured_percent": 0, "data_from": query["start"],
            "parts": {"dynamic_ug": used_ug - 10**6, "idle_ug": 10**6, "overhead_ug": 0, "embodied_ug": 0},
            "settled_ug": 0, "settled_energy_uj": 0, "workloads": uses,
        }
        for query in queries
    ]  # fmt: skip
    return web.json_response({"data_through": _NOW - 60, "answers": answers})


class FakeApi:
    """Creates, lists and merge patches of budgets in memory."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, object]] = {}

    async def answer(self, request: web.Request) -> web.Response:
        """As an API server would."""
        path = request.path.removesuffix("/status")
        if request.method == "POST":
            body = await request.json()
            body["metadata"] |= {"uid": uuid.uuid4().hex, "generation": 1}
            self.objects[f"{path}/{body['metadata']['name']}"] = body
        elif request.method == "PATCH":
            patch = await request.json()
            self.objects[path] |= {"status": patch["status"]} if "status" in patch else {}
        elif request.method == "GET":
            items = [body for key, body in self.objects.items() if "carbonbudgets" in key]
            return web.json_response({"items": items, "metadata": {}})
        return web.json_response({})


def _start(kind: str) -> tuple[multiprocessing.Process, str]:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=serve, args=(kind, theirs), daemon=True)
    process.start()
    return process, f"http://127.0.0.1:{ours.recv()}"


def _cluster() -> bool:
    """Whether the real cluster runs; KUBECONFIG is its own then. CARBONBUDGET_TEST_CLUSTER=skip as in the tests."""
    if os.environ.get("CARBONBUDGET_TEST_CLUSTER") == "skip":
        return False
    status = subprocess.run([_ROOT / "hack/cluster", "status"], capture_output=True, text=True, check=False)
    if status.returncode:
        return False
    os.environ["KUBECONFIG"] = subprocess.run(
        [_ROOT / "hack/cluster", "kubeconfig"], capture_output=True, text=True, check=True
    ).stdout.strip()
    return True


async def known(client: KubeClient) -> bool:
    """Whether the API server has our CRD, of this version: what an older one prunes would be written each time."""
    path = ApiPath("apiextensions.k8s.io", "v1", "customresourcedefinitions", name=f"{BUDGET.plural}.{GROUP}")
    try:
        return "exhaustedAt" in json.dumps(await client.request("GET", path))
    except KubeError:
        return False


async def main() -> None:
    """Ten, a hundred, a thousand."""
    options = arguments(__doc__ or "")
    collect_seldom()  # as the controller does
    server, server_url = _start("server")
    fake, fake_url = _start("api")
    client, api = KubeClient.connect(Credentials(fake_url, lambda: "")), "small HTTP server"
    if _cluster():
        real = KubeClient.connect(find_credentials())
        if await known(real):
            await client.close()
            client, api = real, "kube-apiserver"
        else:
            await real.close()
    rows = []
    for budgets in (10, 100) if options.quick else (10, 100, 1000):
        rows += await bench(budgets, client, server_url, api)
    await client.close()
    for process in (server, fake):
        process.terminate()
    show(rows, options.json)


if __name__ == "__main__":
    asyncio.run(main())
