"""What an evaluation of all targets costs the controller: prepare, ask, evaluate, write what changed.

The server is played at the `TargetSource` seam, its answers parsed from JSON as the real one's are: what the ledger's
part costs is not this question. The API server is a small HTTP server in a process of its own. CPU is this process's.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection

from aiohttp import web
from figures import Figures, arguments, show
from prometheus_client import CollectorRegistry

from carbonbudget_operator.api.target_query_bodies import (
    TargetAnswer,
    TargetAnswers,
    TargetQueries,
    TargetQuery,
    TargetSpan,
    TargetSpanAnswer,
)
from carbonbudget_operator.api.wire_names import TARGET
from carbonbudget_operator.controller.target_loop import TargetLoop
from carbonbudget_operator.controller.target_metrics import TargetMetrics
from carbonbudget_operator.controller.target_store import TargetStore
from carbonbudget_operator.garbage_collection import collect_seldom
from carbonbudget_operator.kube.client import KubeClient
from carbonbudget_operator.kube.credentials import Credentials
from carbonbudget_operator.namespace_labels import Namespaces

_HOUR = 3600
_START = 1_793_491_200  # 2026-11-01T00:00:00Z
_PER_NAMESPACE = 100


class PlayedServer:
    """100 g for 1000 units in each hour; `emitted_g` of it after the baseline's span."""

    def __init__(self) -> None:
        self.through, self.emitted_g = 0, 90

    async def targets(self, queries: Sequence[TargetQuery]) -> TargetAnswers:
        """As ServerClient.targets: both bodies pass through JSON."""
        body = TargetQueries.model_validate_json(TargetQueries(queries=list(queries)).model_dump_json(by_alias=True))
        answers = [
            TargetAnswer(id=query.id, spans=[self._span(span) for span in query.spans]) for query in body.queries
        ]
        made = TargetAnswers(data_through=self.through, answers=answers)
        return TargetAnswers.model_validate_json(made.model_dump_json())

    def _span(self, span: TargetSpan) -> TargetSpanAnswer:
        hours = (span.end - span.start) // _HOUR
        grams = 100 if span.start < _START + 7 * 24 * _HOUR else self.emitted_g
        return TargetSpanAnswer(
            start=span.start, end=span.end, emissions_ug=grams * 10**6 * hours, embodied_ug=10**6 * hours,
            energy_uj=10**9 * hours, units_micro=10**9 * hours, hours=hours, known_hours=hours,
        )  # fmt: skip


def a_target(index: int) -> dict[str, object]:
    """One of a team's namespace, with a measured baseline of a week and calendar windows of a day."""
    return {
        "apiVersion": "carbonbudget.dev/v1alpha1",
        "kind": TARGET.kind,
        "metadata": {
            "name": f"t{index}",
            "namespace": f"team-{index // _PER_NAMESPACE}",
            "uid": f"uid-{index}",
            "generation": 1,
            "creationTimestamp": "2026-11-01T00:00:00Z",
        },
        "spec": {
            "selector": {"matchLabels": {"app": f"model-{index}"}},
            "unit": {"name": "token", "per": 1000, "source": {"preset": "vLLMOutputTokens"}},
            "window": "Day",
            "timeZone": "Europe/Paris",
            "baseline": {"start": "2026-11-01T00:00:00Z", "end": "2026-11-08T00:00:00Z"},
            "target": {"reduction": 20, "by": "2027-03-01T00:00:00Z"},
        },
    }


class KeptStatuses:
    """The statuses that were written, by path; they are given back as the watch would show them."""

    def __init__(self) -> None:
        self.by_path: dict[str, dict[str, object]] = {}

    async def answer(self, request: web.Request) -> web.Response:
        """Merge patches of statuses, and Events."""
        body = await request.json()
        if request.path.endswith("/status"):
            self.by_path[request.path.removesuffix("/status")] = body["status"]
        return web.json_response(body)

    async def read(self, _: web.Request) -> web.Response:
        """All of them."""
        return web.json_response(self.by_path)


def serve(pipe: Connection) -> None:
    """The API server on a free port that is sent through the pipe."""

    async def run() -> None:
        kept, app = KeptStatuses(), web.Application(client_max_size=2**28)
        app.router.add_get("/all", kept.read)
        app.router.add_route("*", "/{path:.*}", kept.answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        pipe.send(runner.addresses[0][1])
        await asyncio.Event().wait()

    asyncio.run(run())


async def bench(targets: int, client: KubeClient, url: str) -> list[Figures]:
    """An hour each: all are new, their history is asked for, none changed visibly, all changed."""
    import aiohttp  # only here: the controller has no client of its own for it

    store, server, registry = TargetStore(), PlayedServer(), CollectorRegistry()
    now = [0.0]
    loop = TargetLoop(client, server, store, Namespaces(), TargetMetrics(registry), now=lambda: now[0])
    bodies = [a_target(index) for index in range(targets)]
    rows: list[Figures] = []
    cases = (
        ("new: baseline", 20, 90), ("new: 12 windows", 20, 90), ("an hour later", 21, 90), ("all changed", 22, 70),
    )  # fmt: skip
    for minute, (case, day_hours, grams) in enumerate(cases):
        async with aiohttp.ClientSession() as session, session.get(f"{url}/all") as response:
            statuses = await response.json()
        for body in bodies:
            metadata = body["metadata"]
            assert isinstance(metadata, dict)
            path = (
                f"/apis/carbonbudget.dev/v1alpha1/namespaces/{metadata['namespace']}/carbontargets/{metadata['name']}"
            )
            store.seen(TARGET, "MODIFIED", body | ({"status": statuses[path]} if path in statuses else {}))
        server.through = _START + 20 * 24 * _HOUR + day_hours * _HOUR
        server.emitted_g = grams
        now[0] = server.through + 60.0 * (minute + 1)
        before = registry.get_sample_value("carbonbudget_target_patches_total") or 0
        wall, cpu = time.perf_counter(), time.process_time()
        await loop.evaluate()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        patches = (registry.get_sample_value("carbonbudget_target_patches_total") or 0) - before
        failed = registry.get_sample_value("carbonbudget_target_evaluation_failures_total") or 0
        rows.append(
            {
                "targets": targets, "case": case, "wall s": round(wall, 2), "cpu s": round(cpu, 2),
                "patches": int(patches), "failed": int(failed),
            }
        )  # fmt: skip
    return rows


async def main() -> None:
    """A hundred, a thousand, ten thousand."""
    options = arguments(__doc__ or "")
    collect_seldom()  # as the controller does
    ours, theirs = multiprocessing.Pipe()
    rows: list[Figures] = []
    for targets in (100, 1000) if options.quick else (100, 1000, 10_000):
        process = multiprocessing.Process(target=serve, args=(theirs,), daemon=True)
        process.start()
        url = f"http://127.0.0.1:{ours.recv()}"
        client = KubeClient.connect(Credentials(url, lambda: ""))
        rows += await bench(targets, client, url)
        await client.close()
        process.terminate()
    show(rows, options.json)


if __name__ == "__main__":
    asyncio.run(main())
